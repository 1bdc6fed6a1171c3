//! Which of our labelled lines a message answers: its label stands on it, or on the batch that it belongs to (IRCv3
//! `labeled-response`).

use std::collections::HashMap;

use irc_proto::{BatchSubCommand, Command, Message};

/// The batches that may be open at once; of more the oldest lines go without an answer, and a fence proves them.
const MAX_BATCHES: usize = 64;

/// The labels of open batches.
#[derive(Default)]
pub(crate) struct Labels {
    batches: HashMap<String, u64>,
}

/// What a message says of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Labelled {
    /// It answers this line, or is a part of the answer.
    Part(u64),
    /// It ends the answer to this line.
    End(u64),
    /// It answers none.
    No,
}

impl Labels {
    /// Takes note of a message.
    pub fn see(&mut self, message: &Message) -> Labelled {
        let tag = |name: &str| message.tags.iter().flatten().find(|tag| tag.0 == name).and_then(|tag| tag.1.as_deref());
        let label = tag("label").and_then(|label| label.parse::<u64>().ok());
        if let Command::BATCH(reference, kind, _) = &message.command {
            return self.batch(reference, kind.as_ref(), label);
        }
        match (label, tag("batch").and_then(|batch| self.batches.get(batch))) {
            // an answer of one message needs no batch, and ends with it
            (Some(label), _) => Labelled::End(label),
            (None, Some(label)) => Labelled::Part(*label),
            (None, None) => Labelled::No,
        }
    }

    fn batch(&mut self, reference: &str, kind: Option<&BatchSubCommand>, label: Option<u64>) -> Labelled {
        match (reference.strip_prefix('+'), reference.strip_prefix('-'), label) {
            (Some(name), _, Some(label)) if is_answer(kind) && self.batches.len() < MAX_BATCHES => {
                self.batches.insert(name.to_owned(), label);
                Labelled::Part(label)
            }
            (_, Some(name), _) => self.batches.remove(name).map_or(Labelled::No, Labelled::End),
            _ => Labelled::No,
        }
    }
}

fn is_answer(kind: Option<&BatchSubCommand>) -> bool {
    matches!(kind, Some(BatchSubCommand::CUSTOM(name)) if name.eq_ignore_ascii_case("labeled-response"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lines: &[&str]) -> Vec<Labelled> {
        let mut labels = Labels::default();
        lines.iter().map(|line| labels.see(&line.parse().unwrap())).collect()
    }

    #[test]
    fn an_answer_is_one_message_or_a_batch() {
        let lines = [
            "@label=3 :irc.test ACK",
            ":irc.test NOTICE * :x",
            "@label=4 :irc.test BATCH +abc labeled-response",
            "@batch=abc :irc.test 404 pubbot #a :no",
            "@batch=other :a!b@c JOIN #x",
            ":irc.test BATCH -abc",
            ":irc.test BATCH -abc",
        ];
        use Labelled::{End, No, Part};
        assert_eq!(seen(&lines), [End(3), No, Part(4), Part(4), No, End(4), No]);
    }

    #[test]
    fn what_is_no_label_of_ours_is_none() {
        assert_eq!(seen(&["@label=x :irc.test ACK", "@label :irc.test ACK"]), [Labelled::No, Labelled::No]);
    }
}
