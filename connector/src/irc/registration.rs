//! The beginning of a session: which nick to ask for when one is refused, and which JOIN lines to send.

use protocol::check_destination;

use super::Channel;
use super::framing::MAX_LINE_BYTES;
use super::line::Line;

/// How many bytes of a nick are kept before a digit: any server takes nicks of 9 bytes (RFC 2812, section 1.2.1).
const STEM_BYTES: usize = 8;

/// Nicks to ask for, in turn: the one wanted, then 11 like it.
pub(super) struct Nicks {
    wanted: String,
    asked: usize,
}

impl Nicks {
    pub fn new(wanted: &str) -> Self {
        Nicks { wanted: wanted.to_owned(), asked: 0 }
    }
}

impl Iterator for Nicks {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let wanted = &self.wanted;
        let nick = match self.asked {
            0 => wanted.clone(),
            n @ 1..=2 => format!("{wanted}{}", "_".repeat(n)),
            n @ 3..=11 => format!("{}{}", &wanted[..wanted.floor_char_boundary(STEM_BYTES)], n - 2),
            _ => return None,
        };
        self.asked += 1;
        Some(nick)
    }
}

/// The lines that join all channels, as few as they fit on; those with keys come first, since the keys of a JOIN belong
/// to its first channels. A channel or key that would not stay in its place is left out and named in the log.
pub(super) fn join_lines(network: &str, channels: &[Channel]) -> Vec<Line> {
    let (mut sound, unsound): (Vec<&Channel>, Vec<&Channel>) = channels.iter().partition(|channel| is_sound(channel));
    for channel in unsound {
        tracing::error!(network, channel = channel.name, "not joined: its name or key can't be sent");
    }
    sound.sort_by_key(|channel| channel.key.is_none());
    let (mut lines, mut names, mut keys) = (Vec::new(), String::new(), String::new());
    for channel in sound {
        let key = channel.key.as_ref().map_or("", |key| key.expose());
        let length = "JOIN  \r\n".len() + names.len() + keys.len() + channel.name.len() + key.len() + 2;
        if !names.is_empty() && length > MAX_LINE_BYTES {
            lines.push(Line::join(&std::mem::take(&mut names), &std::mem::take(&mut keys)));
        }
        add(&mut names, &channel.name);
        add(&mut keys, key);
    }
    if !names.is_empty() {
        lines.push(Line::join(&names, &keys));
    }
    lines
}

fn is_sound(channel: &Channel) -> bool {
    let key = channel.key.as_ref().map(|key| key.expose());
    check_destination(&channel.name).is_ok() && key.is_none_or(|key| check_destination(key).is_ok())
}

fn add(list: &mut String, item: &str) {
    if !list.is_empty() && !item.is_empty() {
        list.push(',');
    }
    list.push_str(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn lines(channels: &[(&str, Option<&str>)]) -> Vec<String> {
        let channels: Vec<Channel> = channels
            .iter()
            .map(|(name, key)| Channel {
                name: (*name).to_owned(),
                key: key.map(Secret::new),
                answers: super::super::Answers::All,
            })
            .collect();
        join_lines("test", &channels)
            .iter()
            .map(|line| String::from_utf8(line.bytes().to_vec()).unwrap().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn a_refused_nick_is_followed_by_others_like_it_a_bounded_number_of_times() {
        let nicks: Vec<String> = Nicks::new("pubbot").collect();
        assert_eq!(nicks[..5], ["pubbot", "pubbot_", "pubbot__", "pubbot1", "pubbot2"]);
        assert_eq!(nicks.len(), 12);
        assert_eq!(Nicks::new("pubbot-the-long").nth(3).unwrap(), "pubbot-t1");
    }

    #[test]
    fn channels_are_joined_in_one_line_those_with_keys_first() {
        assert_eq!(lines(&[("#a", None), ("#b", Some("k")), ("#c", Some("l"))]), ["JOIN #b,#c,#a k,l"]);
        assert_eq!(lines(&[]), Vec::<String>::new());
    }

    #[test]
    fn more_channels_than_fit_on_a_line_take_more_lines() {
        let names: Vec<String> = (0..30).map(|n| format!("#{}{n}", "x".repeat(40))).collect();
        let channels: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), Some("key"))).collect();
        let lines = lines(&channels);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() <= MAX_LINE_BYTES - 2));
        assert_eq!(lines.iter().map(|line| line.matches('#').count()).sum::<usize>(), 30);
        assert!(lines.iter().all(|line| line.matches('#').count() == line.matches("key").count()));
    }

    #[test]
    fn a_channel_or_key_that_would_leave_its_place_is_left_out() {
        assert_eq!(lines(&[("#a,#b", None), ("#c d", None), ("#e", Some("x y")), ("#f", None)]), ["JOIN #f"]);
    }
}
