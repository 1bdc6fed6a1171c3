//! Which messages of the server say that it does not take a line of ours.

use irc_proto::{Command, Message};

use crate::irc::hear::batches::Labelled;
use crate::irc::hear::framing::numbered;
use crate::irc::speak::proof::Refusal;

/// The numbers by which a server says that it does not take a message: no such nick or channel, not allowed to send,
/// too many targets, no colours, a bad mask, targets that change too fast, not in the channel, not identified, silenced,
/// ignored (RFC 2812, section 5.2, and the numerics of modern servers).
const REFUSALS: [u16; 18] = [401, 403, 404, 407, 408, 412, 413, 414, 415, 439, 442, 477, 486, 489, 492, 531, 707, 716];
/// From here on, numbers tell of errors: as the answer to a labelled line, any of them is a refusal.
const ERRORS: u16 = 400;

/// The refusal of something that we said, if the message is one.
pub(crate) fn refusal(message: &Message, labelled: Labelled) -> Option<Refusal> {
    if let Some(reply) = standard_reply(&message.command) {
        return reply.refusal(labelled);
    }
    // the first parameter is our own nick
    let (number, [_, target, parameters @ ..]) = numbered(&message.command)? else { return None };
    let is_refusal = REFUSALS.contains(&number) || labelled != Labelled::No && number >= ERRORS;
    is_refusal.then(|| Refusal {
        label: label(labelled),
        target: Some(target.clone()),
        why: format!("{number} {}", parameters.join(" ")),
    })
}

/// What a server says of a command in words (IRCv3 `standard-replies`): the command, a code, perhaps what it is about, and a
/// text for people.
pub(crate) struct StandardReply<'a> {
    /// `FAIL`, `WARN` or `NOTE`.
    pub kind: &'a str,
    pub command: &'a str,
    context: &'a [String],
    /// The code and the text.
    pub why: String,
}

/// The message as a standard reply, if it is one.
pub(crate) fn standard_reply(command: &Command) -> Option<StandardReply<'_>> {
    let Command::Raw(kind, parameters) = command else { return None };
    let [command, code, rest @ ..] = parameters.as_slice() else { return None };
    let is_one = ["FAIL", "WARN", "NOTE"].iter().any(|name| kind.eq_ignore_ascii_case(name));
    let (text, context) = rest.split_last().map_or(("", rest), |(text, context)| (text.as_str(), context));
    is_one.then(|| StandardReply { kind, command, context, why: format!("{code} {text}") })
}

impl StandardReply<'_> {
    /// Whether the command was not carried out.
    pub fn is_refusal(&self) -> bool {
        self.kind.eq_ignore_ascii_case("FAIL")
    }

    /// Puts it into the log. What was said and refused is told where that ends.
    pub fn log(&self, network: &str) {
        let StandardReply { kind, command, why, .. } = self;
        let context = self.context.join(" ");
        if kind.eq_ignore_ascii_case("NOTE") {
            tracing::info!(network, command, context, why, "the server says something of a command");
        } else if !self.is_about_something_said() {
            tracing::warn!(network, command, context, why, "the server has something against a command");
        }
    }

    fn is_about_something_said(&self) -> bool {
        matches!(self.command, "PRIVMSG" | "NOTICE")
    }

    /// The refusal of something that we said, if it is one.
    fn refusal(&self, labelled: Labelled) -> Option<Refusal> {
        let (label, target) = (label(labelled), self.context.first().cloned());
        (self.is_about_something_said() && self.is_refusal()).then(|| Refusal { label, target, why: self.why.clone() })
    }
}

fn label(labelled: Labelled) -> Option<u64> {
    match labelled {
        Labelled::Part(label) | Labelled::End(label) => Some(label),
        Labelled::No => None,
    }
}
