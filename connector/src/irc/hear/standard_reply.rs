//! What a server says of a command in words (IRCv3 `standard-replies`): that it failed, or something to know about it.

use irc_proto::Command;

/// A standard reply: the command, a code, perhaps what it is about, and a text for people.
pub(crate) struct StandardReply<'a> {
    /// `FAIL`, `WARN` or `NOTE`.
    kind: &'a str,
    pub command: &'a str,
    /// What stands between the code and the text.
    pub context: &'a [String],
    /// The code and the text.
    pub why: String,
}

impl<'a> StandardReply<'a> {
    /// The message as a standard reply, if it is one.
    pub fn read(command: &'a Command) -> Option<Self> {
        let Command::Raw(kind, parameters) = command else { return None };
        let [command, code, rest @ ..] = parameters.as_slice() else { return None };
        let is_one = ["FAIL", "WARN", "NOTE"].iter().any(|name| kind.eq_ignore_ascii_case(name));
        let (text, context) = rest.split_last().map_or(("", rest), |(text, context)| (text.as_str(), context));
        is_one.then(|| StandardReply { kind, command, context, why: format!("{code} {text}") })
    }

    /// Whether the command was not carried out.
    pub fn is_refusal(&self) -> bool {
        self.kind.eq_ignore_ascii_case("FAIL")
    }

    /// Whether it is about a line that somebody is to read.
    pub fn is_about_something_said(&self) -> bool {
        matches!(self.command, "PRIVMSG" | "NOTICE" | "BATCH")
    }

    /// Puts it into the log; a refusal of something said is told where that ends.
    pub fn log(&self, network: &str) {
        let StandardReply { command, why, .. } = self;
        let context = self.context.join(" ");
        if self.kind.eq_ignore_ascii_case("NOTE") {
            tracing::info!(network, command, context, why, "the server says something of a command");
        } else if !self.is_about_something_said() {
            tracing::warn!(network, command, context, why, "the server has something against a command");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_code_context_and_text_are_told_apart() {
        let read = |line: &str| {
            let command: Command = line.parse::<irc_proto::Message>().unwrap().command;
            StandardReply::read(&command)
                .map(|it| (it.is_refusal(), it.command.to_owned(), it.context.join(","), it.why))
        };
        assert_eq!(
            read(":s FAIL CHATHISTORY INVALID_TARGET AFTER #a :No messages").unwrap(),
            (true, "CHATHISTORY".into(), "AFTER,#a".into(), "INVALID_TARGET No messages".into())
        );
        assert_eq!(read("warn * SLOW :Slower").unwrap(), (false, "*".into(), String::new(), "SLOW Slower".into()));
        assert!(read("FAIL X").is_none() && read("FAILED A B :c").is_none());
        assert_eq!(read("NOTE A B").unwrap().3, "B ");
    }
}
