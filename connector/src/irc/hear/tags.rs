//! What a message's tags say of it: when it was said, by which account, under which id (IRCv3 `message-tags`,
//! `server-time`, `account-tag`, `message-ids`, `bot-mode`). Tags that are not known are passed over.

use irc_proto::Message;
use protocol::Timestamp;

/// A server's clock may be ahead of ours by so many milliseconds: 60 s. What is later than that never happened.
const MAX_AHEAD_MILLIS: i64 = 60_000;
/// 2000-01-01: what is older than that was said by a clock that nobody has set.
const EARLIEST_MILLIS: i64 = 946_684_800_000;

/// What is known of a message beside what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags {
    /// When the server saw it.
    pub at: Option<Timestamp>,
    /// The services account of who sent it.
    pub account: Option<String>,
    /// The network's id of the message.
    pub msgid: Option<String>,
    /// Whoever sent it is a bot.
    pub bot: bool,
}

impl Tags {
    /// The tags of a message that was heard at `now`, by our own clock.
    pub fn of(message: &Message, now: Timestamp) -> Self {
        let mut found = Tags { at: Tags::time(message, now), ..Tags::default() };
        // of two tags of one name the last counts
        for tag in message.tags.iter().flatten() {
            let value = tag.1.as_deref().filter(|value| !value.is_empty());
            match tag.0.as_str() {
                "account" => found.account = value.filter(|account| *account != "*").map(str::to_owned),
                "msgid" => found.msgid = value.map(str::to_owned),
                "bot" | "draft/bot" | "inspircd.org/bot" => found.bot = true,
                _ => {}
            }
        }
        found
    }

    /// Only when the server saw a message that was heard at `now`, by our own clock.
    pub fn time(message: &Message, now: Timestamp) -> Option<Timestamp> {
        let tag = message.tags.iter().flatten().rfind(|tag| tag.0 == "time")?;
        tag.1.as_deref().and_then(Timestamp::parse).filter(|at| is_sound(*at, now))
    }
}

fn is_sound(at: Timestamp, now: Timestamp) -> bool {
    (EARLIEST_MILLIS..=now.millis().saturating_add(MAX_AHEAD_MILLIS)).contains(&at.millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::NOW;

    fn tags(line: &str) -> Tags {
        Tags::of(&line.parse().unwrap(), Timestamp::from_millis(NOW))
    }

    #[test]
    fn time_account_and_id_are_found_among_others_and_unescaped() {
        let found =
            tags(r"@+typing;msgid=a\:b\s\\c;account=al\sice;x/y=z;time=2027-01-15T07:59:59.500Z :a!b@c PRIVMSG #c :x");
        assert_eq!(found.msgid.as_deref(), Some(r"a;b \c"));
        assert_eq!(found.account.as_deref(), Some("al ice"));
        assert_eq!(found.at, Some(Timestamp::from_millis(NOW - 500)));
        assert_eq!(tags(":a!b@c PRIVMSG #c :x"), Tags::default());
        assert!(tags("@bot :a!b@c PRIVMSG #c :x").bot && !tags("@+bot=1 :a!b@c PRIVMSG #c :x").bot);
    }

    #[test]
    fn of_two_tags_of_one_name_the_last_counts_and_an_empty_one_is_none() {
        assert_eq!(tags("@msgid=1;msgid=2 :a!b@c PRIVMSG #c :x").msgid.as_deref(), Some("2"));
        for none in
            ["@account :a!b@c PRIVMSG #c :x", "@account= :a!b@c PRIVMSG #c :x", "@account=* :a!b@c PRIVMSG #c :x"]
        {
            assert_eq!(tags(none).account, None, "{none}");
        }
    }

    #[test]
    fn a_time_that_can_not_be_is_none() {
        let at = |time: &str| tags(&format!("@time={time} :a!b@c PRIVMSG #c :x")).at;
        assert!(at("2027-01-15T08:01:00.000Z").is_some(), "a minute ahead");
        for none in ["2027-01-15T08:01:00.001Z", "1999-12-31T23:59:59Z", "yesterday", "1800000000", "", "2027-01-15"] {
            assert_eq!(at(none), None, "{none}");
        }
        assert_eq!(at("2011-10-19T16:40:51.620Z"), Some(Timestamp::from_millis(1_319_042_451_620)), "said long ago");
    }
}
