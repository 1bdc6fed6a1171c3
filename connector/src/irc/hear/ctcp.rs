//! CTCP questions that clients ask each other: what software this is, the time, a ping. At most one in 10 s is answered,
//! so that nobody makes the bot flood; files and direct connections (DCC) never are.

use std::time::Duration;

use protocol::Timestamp;
use tokio::time::Instant;

/// How often a question is answered at most.
const ONCE_IN: Duration = Duration::from_secs(10);
/// A PING repeats what was asked, up to so many bytes.
const MAX_ECHO: usize = 64;
/// What is answered, as `CLIENTINFO` tells.
const KNOWN: &str = "ACTION CLIENTINFO PING TIME VERSION";
/// The mark around a CTCP message.
const MARK: char = '\x01';

/// When something was answered last.
#[derive(Default)]
pub(crate) struct Ctcp {
    answered: Option<Instant>,
}

impl Ctcp {
    /// The answer to a question, in its frame, for a NOTICE to whoever asked; `None` where there is none, or where the
    /// last one is not long ago.
    pub fn answer(&mut self, text: &str, now: Timestamp) -> Option<String> {
        let question = text.strip_prefix(MARK)?;
        let question = question.strip_suffix(MARK).unwrap_or(question);
        let (command, rest) = question.split_once(' ').unwrap_or((question, ""));
        let command = command.to_ascii_uppercase();
        let answer = match command.as_str() {
            "VERSION" => concat!("pubbot ", env!("CARGO_PKG_VERSION")).to_owned(),
            "PING" => rest[..rest.floor_char_boundary(MAX_ECHO)].replace(MARK, ""),
            "TIME" => now.to_string(),
            "CLIENTINFO" => KNOWN.to_owned(),
            _ => return None,
        };
        if self.answered.is_some_and(|answered| answered.elapsed() < ONCE_IN) {
            return None;
        }
        self.answered = Some(Instant::now());
        Some(format!("{MARK}{}{MARK}", format!("{command} {answer}").trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    #[tokio::test(start_paused = true)]
    async fn questions_are_answered_once_in_ten_seconds() {
        let mut ctcp = Ctcp::default();
        assert_eq!(ctcp.answer("\x01PING 123 456\x01", now()).unwrap(), "\x01PING 123 456\x01");
        assert_eq!(ctcp.answer("\x01VERSION\x01", now()), None);
        tokio::time::advance(ONCE_IN).await;
        assert_eq!(
            ctcp.answer("\x01version", now()).unwrap(),
            concat!("\x01VERSION pubbot ", env!("CARGO_PKG_VERSION"), "\x01")
        );
        tokio::time::advance(ONCE_IN).await;
        assert_eq!(ctcp.answer("\x01TIME\x01", now()).unwrap(), "\x01TIME 2023-11-14T22:13:20.000Z\x01");
        tokio::time::advance(ONCE_IN).await;
        assert_eq!(ctcp.answer("\x01PING\x01", now()).unwrap(), "\x01PING\x01");
    }

    #[tokio::test(start_paused = true)]
    async fn files_actions_and_what_is_no_question_get_no_answer() {
        let mut ctcp = Ctcp::default();
        for text in ["\x01DCC SEND a 1 2 3\x01", "\x01ACTION waves\x01", "VERSION", "\x01\x01", "", "\x01FINGER\x01"] {
            assert_eq!(ctcp.answer(text, now()), None, "{text:?}");
        }
        assert!(ctcp.answer("\x01CLIENTINFO\x01", now()).is_some(), "what gets no answer costs nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_of_any_length_is_answered_by_a_short_one() {
        let text = format!("\x01PING {}\x01", "ü".repeat(1_000));
        assert!(Ctcp::default().answer(&text, now()).unwrap().len() <= MAX_ECHO + 8);
    }
}
