//! Any conversation with a session and its speaker.
#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    connector::irc::fuzzing::session(script);
});
