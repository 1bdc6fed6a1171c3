//! Any bytes to the line parser.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| connector::irc::fuzzing::line(bytes));
