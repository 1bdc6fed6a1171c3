//! Which messages belong together (IRCv3 `batch`): the answer to one of our labelled lines, a part of the network's
//! history, the lines of one message (`draft/multiline`). Others, as a netsplit's, are heard one by one. What is nested in
//! a batch is a part of it.

use std::collections::VecDeque;

use irc_proto::{BatchSubCommand, Command, Message};

/// The batches that may be open at once: of more, the one that was opened first is closed. What follows of it counts as
/// replayed, and if it answers a line of ours, a fence proves that.
const MAX_BATCHES: usize = 64;
/// The most bytes and lines of one message; what is more is left out.
const MAX_TEXT_BYTES: usize = 64 * 1024;
const MAX_TEXT_LINES: usize = 1_000;
/// The types of batches that hold history, and the names of those who said something meanwhile.
const HISTORY: [&str; 3] = ["chathistory", "draft/chathistory-targets", "znc.in/playback"];
/// On a line that goes on where the one before it ended, without a line's end between them.
const CONCAT: &str = "draft/multiline-concat";

/// The batches that are open, in the order in which they were opened.
#[derive(Default)]
pub(crate) struct Batches {
    open: VecDeque<Batch>,
}

struct Batch {
    reference: String,
    /// The line of ours that it answers, alone or with the batches around it.
    label: Option<Labelled>,
    /// It is history, or stands in it.
    replayed: bool,
    kind: Kind,
}

enum Kind {
    /// History of this channel or nick, or the names of several; whether there is no more of it.
    History {
        target: String,
        complete: bool,
    },
    /// One message: the one that opened the batch, with what was said so far.
    Multiline {
        opened: Box<Message>,
        target: String,
        is_notice: bool,
        text: String,
        lines: usize,
        is_cut: bool,
    },
    Other,
}

/// A message to be heard now, and what it is a part of.
pub(crate) struct Taken {
    pub message: Message,
    pub labelled: Labelled,
    /// It was said before this session began.
    pub replayed: bool,
    /// A page of history ends with it.
    pub page: Option<Page>,
}

/// A page of history is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The channel or nick; empty if it holds the names of those who said something.
    pub target: String,
    /// The server says that there is no more.
    pub complete: bool,
}

/// What a message says of labels (IRCv3 `labeled-response`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Labelled {
    /// It answers this line, or is a part of the answer.
    Part(u64),
    /// It ends the answer to this line.
    End(u64),
    /// It answers none.
    No,
}

impl Batches {
    /// Takes a message. The lines of one message come out as that, in place of the end of their batch.
    pub fn take(&mut self, message: Message) -> Option<Taken> {
        match &message.command {
            Command::BATCH(reference, kind, parameters) => {
                if let Some(name) = reference.strip_prefix('+') {
                    let batch = self.begin(name, kind.as_ref(), parameters.as_deref().unwrap_or_default(), &message);
                    let labelled = batch.label.map_or(Labelled::No, Labelled::as_part);
                    self.push(batch);
                    return Some(Taken { message, labelled, replayed: false, page: None });
                }
                let name = reference.strip_prefix('-').map(str::to_owned);
                Some(self.end(name.as_deref().unwrap_or_default(), message))
            }
            _ => self.part(message),
        }
    }

    fn begin(&self, name: &str, kind: Option<&BatchSubCommand>, parameters: &[String], message: &Message) -> Batch {
        let around = tag(message, "batch").and_then(|around| self.open.iter().find(|open| open.reference == around));
        let target = || parameters.first().cloned().unwrap_or_default();
        let kind = match kind.map_or("", BatchSubCommand::to_str) {
            kind if HISTORY.iter().any(|history| is(kind, history)) => {
                Kind::History { target: target(), complete: tag(message, "draft/chathistory-end").is_some() }
            }
            kind if is(kind, "draft/multiline") => Kind::Multiline {
                opened: Box::new(message.clone()),
                target: target(),
                is_notice: false,
                text: String::new(),
                lines: 0,
                is_cut: false,
            },
            _ => Kind::Other,
        };
        let label = label(message).map(Labelled::End);
        Batch {
            reference: name.to_owned(),
            label: label.or(around.and_then(|around| around.label).map(Labelled::as_part)),
            replayed: matches!(kind, Kind::History { .. }) || around.is_some_and(|around| around.replayed),
            kind,
        }
    }

    fn push(&mut self, batch: Batch) {
        self.open.retain(|open| open.reference != batch.reference);
        if self.open.len() >= MAX_BATCHES {
            self.open.pop_front();
        }
        self.open.push_back(batch);
    }

    fn end(&mut self, name: &str, message: Message) -> Taken {
        let index = self.open.iter().position(|open| open.reference == name);
        let Some(Batch { label, replayed, kind, .. }) = index.and_then(|index| self.open.remove(index)) else {
            return Taken { message, labelled: Labelled::No, replayed: false, page: None };
        };
        let labelled = label.unwrap_or(Labelled::No);
        match kind {
            Kind::Multiline { mut opened, target, is_notice, text, lines, .. } if lines > 0 => {
                let said = if is_notice { Command::NOTICE } else { Command::PRIVMSG };
                opened.command = said(target, text);
                Taken { message: *opened, labelled, replayed, page: None }
            }
            Kind::History { target, complete } => {
                Taken { message, labelled, replayed: false, page: Some(Page { target, complete }) }
            }
            Kind::Multiline { .. } | Kind::Other => Taken { message, labelled, replayed: false, page: None },
        }
    }

    fn part(&mut self, message: Message) -> Option<Taken> {
        let own = label(&message).map(Labelled::End);
        let Some(name) = tag(&message, "batch") else {
            // an answer of one message needs no batch, and ends with it
            return Some(Taken { labelled: own.unwrap_or(Labelled::No), message, replayed: false, page: None });
        };
        let Some(batch) = self.open.iter_mut().find(|open| open.reference == name) else {
            // nobody knows what it is a part of: better not answered than answered a day later
            let replayed = matches!(message.command, Command::PRIVMSG(..) | Command::NOTICE(..));
            return Some(Taken { labelled: own.unwrap_or(Labelled::No), message, replayed, page: None });
        };
        if batch.kind.collect(&message) {
            return None;
        }
        let labelled = own.or(batch.label.map(Labelled::as_part)).unwrap_or(Labelled::No);
        Some(Taken { labelled, replayed: batch.replayed, message, page: None })
    }
}

impl Kind {
    /// Adds a line to the message that it is a part of; false if it is a part of none.
    fn collect(&mut self, message: &Message) -> bool {
        let Kind::Multiline { is_notice, text, lines, is_cut, .. } = self else { return false };
        let (Command::PRIVMSG(_, line) | Command::NOTICE(_, line)) = &message.command else { return false };
        *is_notice = matches!(message.command, Command::NOTICE(..));
        let goes_on = message.tags.iter().flatten().any(|tag| tag.0 == CONCAT);
        if *lines < MAX_TEXT_LINES && text.len() + line.len() < MAX_TEXT_BYTES {
            if *lines > 0 && !goes_on {
                text.push('\n');
            }
            text.push_str(line);
            *lines += 1;
        } else if !std::mem::replace(is_cut, true) {
            tracing::warn!(from = message.source_nickname(), "a message has too many lines: the rest is left out");
        }
        true
    }
}

impl Labelled {
    /// What is a part of a batch that ends an answer does not end it.
    fn as_part(self) -> Self {
        match self {
            Labelled::Part(label) | Labelled::End(label) => Labelled::Part(label),
            Labelled::No => Labelled::No,
        }
    }
}

fn is(kind: &str, name: &str) -> bool {
    kind.eq_ignore_ascii_case(name)
}

fn label(message: &Message) -> Option<u64> {
    tag(message, "label")?.parse().ok()
}

/// The value of a tag; empty where it has none.
fn tag<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.tags.iter().flatten().find(|tag| tag.0 == name).map(|tag| tag.1.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(batches: &mut Batches, line: &str) -> Option<Taken> {
        batches.take(line.parse().unwrap())
    }

    fn labels(lines: &[&str]) -> Vec<Labelled> {
        let mut batches = Batches::default();
        lines.iter().filter_map(|line| taken(&mut batches, line)).map(|taken| taken.labelled).collect()
    }

    /// What is said in the lines, and whether it is replayed.
    fn said(lines: &[&str]) -> Vec<(String, bool)> {
        let mut batches = Batches::default();
        let taken = lines.iter().filter_map(|line| taken(&mut batches, line));
        let said = |taken: Taken| match taken.message.command {
            Command::PRIVMSG(_, text) | Command::NOTICE(_, text) => Some((text, taken.replayed)),
            _ => None,
        };
        taken.filter_map(said).collect()
    }

    #[test]
    fn an_answer_is_one_message_or_a_batch() {
        let lines = [
            "@label=3 :irc.test ACK",
            ":irc.test NOTICE * :x",
            "@label=4 :irc.test BATCH +abc labeled-response",
            "@batch=abc :irc.test 404 pubbot #a :no",
            ":a!b@c JOIN #x",
            ":irc.test BATCH -abc",
            ":irc.test BATCH -abc",
        ];
        use Labelled::{End, No, Part};
        assert_eq!(labels(&lines), [End(3), No, Part(4), Part(4), No, End(4), No]);
    }

    #[test]
    fn what_is_no_label_of_ours_is_none() {
        assert_eq!(labels(&["@label=x :irc.test ACK", "@label :irc.test ACK"]), [Labelled::No, Labelled::No]);
    }

    #[test]
    fn a_batch_within_an_answer_is_a_part_of_it_and_does_not_end_it() {
        let lines = [
            "@label=4 :irc.test BATCH +1 labeled-response",
            "@batch=1 :irc.test BATCH +2 netsplit a b",
            "@batch=2 :a!b@c QUIT :a b",
            "@batch=1 :irc.test BATCH -2",
            ":irc.test BATCH -1",
        ];
        use Labelled::{End, Part};
        assert_eq!(labels(&lines), [Part(4), Part(4), Part(4), Part(4), End(4)]);
    }

    #[test]
    fn what_stands_in_history_is_replayed_and_a_page_says_whose_it_was() {
        let mut batches = Batches::default();
        let mut take = |line| taken(&mut batches, line).unwrap();
        assert!(!take("@draft/chathistory-end :irc.test BATCH +1 chathistory #a").replayed);
        assert!(take("@batch=1 :a!b@c PRIVMSG #a :x").replayed);
        assert!(!take(":a!b@c PRIVMSG #a :now").replayed);
        assert_eq!(take(":irc.test BATCH -1").page, Some(Page { target: "#a".into(), complete: true }));
        take(":irc.test BATCH +1 znc.in/playback #b");
        assert!(take("@batch=1 :a!b@c PRIVMSG #b :x").replayed);
        assert_eq!(take(":irc.test BATCH -1").page, Some(Page { target: "#b".into(), complete: false }));
        assert!(take("@batch=1 :a!b@c PRIVMSG #b :x").replayed, "of a batch that nobody knows");
    }

    #[test]
    fn the_lines_of_one_message_are_one_and_those_beside_it_come_when_they_come() {
        let lines = [
            "@msgid=1;account=al :al!a@h BATCH +1 draft/multiline #a",
            "@batch=1 :al!a@h PRIVMSG #a :hello",
            ":bob!b@h PRIVMSG #a :beside",
            "@batch=1 :al!a@h PRIVMSG #a :",
            "@batch=1 :al!a@h PRIVMSG #a :how is ",
            "@batch=1;draft/multiline-concat :al!a@h PRIVMSG #a :everyone?",
            ":al!a@h BATCH -1",
        ];
        assert_eq!(said(&lines), [("beside".into(), false), ("hello\n\nhow is everyone?".into(), false)]);
        let mut batches = Batches::default();
        let whole = lines.iter().filter_map(|line| taken(&mut batches, line)).last().unwrap().message;
        assert_eq!((tag(&whole, "msgid"), whole.source_nickname()), (Some("1"), Some("al")));
    }

    #[test]
    fn a_message_of_several_lines_in_history_is_replayed() {
        let lines = [
            ":irc.test BATCH +1 chathistory #a",
            "@batch=1;msgid=5 :al!a@h BATCH +2 draft/multiline #a",
            "@batch=2 :al!a@h NOTICE #a :one",
            "@batch=2 :al!a@h NOTICE #a :two",
            "@batch=1 :irc.test BATCH -2",
            ":irc.test BATCH -1",
        ];
        assert_eq!(said(&lines), [("one\ntwo".into(), true)]);
    }

    #[test]
    fn batches_that_never_end_and_messages_without_end_are_bounded() {
        let mut batches = Batches::default();
        for n in 0..1_000 {
            taken(&mut batches, &format!("@label={n} :irc.test BATCH +{n} draft/multiline #a"));
        }
        assert_eq!(batches.open.len(), MAX_BATCHES);
        assert!(taken(&mut batches, "@batch=0 :a!b@c PRIVMSG #a :x").unwrap().replayed, "it was given up");
        let line = format!("@batch=999 :a!b@c PRIVMSG #a :{}", "x".repeat(400));
        for _ in 0..100_000 {
            assert!(taken(&mut batches, &line).is_none());
        }
        let whole = taken(&mut batches, ":a!b@c BATCH -999").unwrap();
        let Command::PRIVMSG(_, text) = whole.message.command else { panic!("no message") };
        assert!(text.len() <= MAX_TEXT_BYTES && text.len() > MAX_TEXT_BYTES - 1_000, "{}", text.len());
        assert_eq!(whole.labelled, Labelled::End(999));
        // lines without a byte count, too
        taken(&mut batches, ":irc.test BATCH +l draft/multiline #a");
        (0..10_000).for_each(|_| drop(taken(&mut batches, "@batch=l :a!b@c PRIVMSG #a :")));
        let Command::PRIVMSG(_, text) = taken(&mut batches, "BATCH -l").unwrap().message.command else { panic!() };
        assert_eq!(text.len(), MAX_TEXT_LINES - 1);
    }
}
