//! What session and server agree upon (IRCv3 capability negotiation, version 302, with `cap-notify`): at the beginning,
//! and whenever the server offers something new or takes something away. A server that knows nothing of it just
//! registers us.

use std::collections::VecDeque;

use irc_proto::{CapSubCommand, Command};

use crate::irc::speak::line::Line;
use crate::irc::speak::multiline::Multiline;
use crate::irc::speak::proof::Means;

/// What is asked for where it is offered; what needs another stands behind it.
const WANTED: [&str; 19] = [
    "message-tags",
    "batch",
    "labeled-response",
    "echo-message",
    "server-time",
    "account-tag",
    "account-notify",
    "extended-join",
    "away-notify",
    "chghost",
    "setname",
    "multi-prefix",
    "userhost-in-names",
    "invite-notify",
    "standard-replies",
    HISTORY,
    MULTILINE,
    "cap-notify",
    SASL,
];
/// What each is asked for alone when a list of them was refused.
const ESSENTIAL: [&str; 7] =
    ["message-tags", "batch", "labeled-response", "echo-message", "server-time", "account-tag", SASL];
/// The network tells what was said while nobody of us was there. Whoever asks for this gets nothing of that unasked.
const HISTORY: &str = "draft/chathistory";
/// Several lines are one message.
const MULTILINE: &str = "draft/multiline";
/// Asked for only by those who log in so.
pub(crate) const SASL: &str = "sasl";
/// How many capabilities of an offer are looked at: a server could go on for ever.
const MAX_OFFERED: usize = 512;
/// The most bytes of names on one line: the server repeats them behind its own name and our nick, within 512 bytes.
const REQUEST_BYTES: usize = 400;

/// What the server offers by a message, words with spaces between; nothing by most.
pub(crate) fn offers(command: &Command) -> &str {
    match command {
        Command::CAP(_, CapSubCommand::LS | CapSubCommand::NEW, third, last) => {
            last.as_ref().or(third.as_ref()).map_or("", String::as_str)
        }
        _ => "",
    }
}

/// What was agreed upon, as far as others than the registration need to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    labels: bool,
    echoes: bool,
    tags: bool,
    /// The network tells what was said before.
    pub history: bool,
    /// How much one message may have, where several lines can be one.
    pub multiline: Option<Multiline>,
}

impl Capabilities {
    /// How the server proves that it took a line.
    pub fn means(self) -> Means {
        match self {
            Capabilities { labels: true, .. } => Means::Labels,
            Capabilities { echoes: true, .. } => Means::Echoes,
            _ => Means::Fences,
        }
    }

    /// Whether the server takes tags from us.
    pub fn takes_tags(self) -> bool {
        self.tags
    }
}

/// The negotiation of one session.
#[derive(Default)]
pub(crate) struct Negotiation {
    wants_sasl: bool,
    /// Names, and what stands behind their `=`.
    offered: Vec<(String, String)>,
    /// The list of what is offered is complete.
    listed: bool,
    /// What was asked for and not yet answered, line by line.
    asked: VecDeque<Vec<&'static str>>,
    agreed: Vec<&'static str>,
}

impl Negotiation {
    /// SASL is asked for only where it is wanted.
    pub fn new(wants_sasl: bool) -> Self {
        Negotiation { wants_sasl, ..Negotiation::default() }
    }

    /// What to answer to a CAP message: its subcommand and what follows that.
    pub fn hear(&mut self, subcommand: &str, parameters: &[&str]) -> Vec<Line> {
        let words = parameters.last().map_or("", |last| *last).split_ascii_whitespace();
        match subcommand {
            "LS" => {
                words.for_each(|word| self.offer(word));
                let more = parameters.len() > 1 && parameters.first() == Some(&"*");
                self.listed |= !more;
                if self.listed { self.ask() } else { Vec::new() }
            }
            "NEW" => {
                words.for_each(|word| self.offer(word));
                if self.listed { self.ask() } else { Vec::new() }
            }
            "ACK" => {
                words.for_each(|word| self.agree(word));
                self.asked.retain(|line| !line.is_empty());
                Vec::new()
            }
            "NAK" => self.refused(words.collect()),
            "DEL" => {
                words.for_each(|word| self.take_away(word));
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Whether the offer is complete.
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// Whether the offer is complete, and all that was asked for is answered.
    pub fn is_settled(&self) -> bool {
        self.listed && self.asked.is_empty()
    }

    /// What was agreed upon so far.
    pub fn agreed(&self) -> Capabilities {
        // an answer of several lines needs a batch
        Capabilities {
            labels: self.has("labeled-response") && self.has("batch"),
            echoes: self.has("echo-message"),
            tags: self.has("message-tags"),
            multiline: self.multiline(),
            history: [HISTORY, "batch", "server-time"].into_iter().all(|needed| self.has(needed)),
        }
    }

    /// The names of all that was agreed upon.
    pub fn granted(&self) -> &[&'static str] {
        &self.agreed
    }

    fn multiline(&self) -> Option<Multiline> {
        let all = [MULTILINE, "batch", "message-tags"].into_iter().all(|needed| self.has(needed));
        self.offered(MULTILINE).filter(|_| all).and_then(Multiline::parse)
    }

    /// Whether this was agreed upon.
    pub fn has(&self, name: &str) -> bool {
        self.agreed.contains(&name)
    }

    /// What stands behind the `=` of something that is offered, agreed upon or not; empty if nothing does.
    pub fn offered(&self, name: &str) -> Option<&str> {
        self.offered.iter().find(|(offered, _)| offered == name).map(|(_, value)| value.as_str())
    }

    fn offer(&mut self, word: &str) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        self.offered.retain(|(offered, _)| offered != name);
        if self.offered.len() < MAX_OFFERED {
            self.offered.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Asks for all that is wanted, offered, and not yet asked for.
    fn ask(&mut self) -> Vec<Line> {
        let offers = |name| self.offered(name).is_some();
        let batches = offers("batch");
        let wanted = |name: &&'static str| {
            let open =
                self.offered(name).is_some() && !self.has(name) && !self.asked.iter().flatten().any(|it| it == name);
            open && match *name {
                "labeled-response" | MULTILINE => batches,
                HISTORY => batches && offers("server-time"),
                SASL => self.wants_sasl,
                _ => true,
            }
        };
        let wanted: Vec<&'static str> = WANTED.into_iter().filter(wanted).collect();
        split(&wanted).into_iter().map(|names| self.request(names)).collect()
    }

    fn request(&mut self, names: Vec<&'static str>) -> Line {
        let line = Line::request(&names.join(" "));
        self.asked.push_back(names);
        line
    }

    /// Something is on, or with a `-` off. Older servers put further marks before it.
    fn agree(&mut self, word: &str) {
        let is_off = word.starts_with('-');
        let name = word.trim_start_matches(['-', '~', '=']);
        let Some(name) = WANTED.into_iter().find(|wanted| *wanted == name) else { return };
        self.asked.iter_mut().for_each(|line| line.retain(|asked| *asked != name));
        self.agreed.retain(|agreed| *agreed != name);
        if !is_off {
            self.agreed.push(name);
        }
    }

    /// Nothing of a line was taken: what matters most is asked for again, each alone.
    fn refused(&mut self, words: Vec<&str>) -> Vec<Line> {
        // a server may cut what it repeats, or leave it out
        let index = self.asked.iter().position(|line| line.iter().any(|name| words.contains(name))).unwrap_or(0);
        let refused = self.asked.remove(index).unwrap_or_default();
        let again = |name: &&'static str| refused.len() > 1 && ESSENTIAL.contains(name);
        let (again, never): (Vec<&str>, Vec<&str>) = refused.iter().partition(|name| again(name));
        // until it is offered anew
        self.offered.retain(|(offered, _)| !never.contains(&offered.as_str()));
        again.into_iter().map(|name| self.request(vec![name])).collect()
    }

    fn take_away(&mut self, word: &str) {
        self.offered.retain(|(offered, _)| offered != word);
        self.agreed.retain(|agreed| *agreed != word);
    }
}

/// Parts of a list, each of which fits on a line.
fn split<'a>(names: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut lines: Vec<Vec<&str>> = Vec::new();
    let mut room = 0;
    for name in names {
        match lines.last_mut().filter(|_| name.len() < room) {
            Some(line) => line.push(name),
            None => {
                room = REQUEST_BYTES;
                lines.push(vec![name]);
            }
        }
        room = room.saturating_sub(name.len() + 1);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8_lossy(line.bytes()).trim_end().to_owned()).collect()
    }

    /// A negotiation that has agreed upon these.
    fn agreed_upon(names: &str) -> Negotiation {
        let mut negotiation = Negotiation::new(true);
        assert_eq!(texts(negotiation.hear("LS", &[names])).len(), 1);
        negotiation.hear("ACK", &[names]);
        assert!(negotiation.is_settled());
        negotiation
    }

    #[test]
    fn it_asks_for_what_is_offered_over_several_lines() {
        let mut negotiation = Negotiation::default();
        assert_eq!(texts(negotiation.hear("LS", &["*", "sasl=PLAIN,EXTERNAL message-tags batch"])), [""; 0]);
        assert!(!negotiation.is_settled());
        let offer = "echo-message labeled-response draft/multiline=max-bytes=4096 multi-prefix";
        assert_eq!(
            texts(negotiation.hear("LS", &[offer])),
            ["CAP REQ :message-tags batch labeled-response echo-message multi-prefix draft/multiline"]
        );
        assert!(!negotiation.is_settled());
        negotiation.hear("ACK", &["message-tags batch labeled-response"]);
        assert!(!negotiation.is_settled());
        negotiation.hear("ACK", &["echo-message multi-prefix draft/multiline "]);
        assert!(negotiation.is_settled());
        assert_eq!(negotiation.agreed().means(), Means::Labels);
        assert_eq!(negotiation.offered("draft/multiline"), Some("max-bytes=4096"));
        assert_eq!(negotiation.offered(SASL), Some("PLAIN,EXTERNAL"));
        assert_eq!(negotiation.offered("sts"), None);
    }

    #[test]
    fn sasl_is_asked_for_by_those_who_log_in_so() {
        assert_eq!(texts(Negotiation::new(true).hear("LS", &["sasl=PLAIN"])), ["CAP REQ :sasl"]);
        let mut without = Negotiation::new(false);
        assert_eq!(texts(without.hear("LS", &["sasl=PLAIN"])), [""; 0]);
        assert!(without.is_settled());
    }

    #[test]
    fn a_server_with_less_leaves_the_fence() {
        let mut negotiation = Negotiation::default();
        assert_eq!(texts(negotiation.hear("LS", &["labeled-response multi-prefix"])), ["CAP REQ :multi-prefix"]);
        negotiation.hear("ACK", &["multi-prefix"]);
        assert_eq!(negotiation.agreed().means(), Means::Fences);
        let mut negotiation = Negotiation::default();
        assert_eq!(texts(negotiation.hear("LS", &[""])), [""; 0]);
        assert!(negotiation.is_settled());
    }

    #[test]
    fn a_list_that_is_refused_is_followed_by_the_essential_ones_each_alone() {
        let mut negotiation = Negotiation::new(true);
        negotiation.hear("LS", &["batch labeled-response echo-message multi-prefix sasl"]);
        let alone = ["CAP REQ :batch", "CAP REQ :labeled-response", "CAP REQ :echo-message", "CAP REQ :sasl"];
        assert_eq!(texts(negotiation.hear("NAK", &["batch labeled-response echo-message multi-pr"])), alone);
        for refused in ["batch", "echo-message"] {
            assert_eq!(texts(negotiation.hear("NAK", &[refused])), [""; 0]);
        }
        negotiation.hear("ACK", &["labeled-response"]);
        assert!(!negotiation.is_settled());
        negotiation.hear("ACK", &["sasl"]);
        assert!(negotiation.is_settled() && negotiation.has(SASL));
        assert_eq!(negotiation.agreed().means(), Means::Fences, "labels without batches are none");
        assert_eq!(texts(negotiation.hear("NAK", &[""])), [""; 0], "nothing was asked for");
        let new = "multi-prefix chghost";
        assert_eq!(texts(negotiation.hear("NEW", &["chghost"])), ["CAP REQ :chghost"], "nothing that was refused");
        assert_eq!(texts(negotiation.hear("NEW", &[new])), ["CAP REQ :multi-prefix"], "it is offered anew");
    }

    #[test]
    fn what_is_taken_away_is_no_more_than_what_is_named() {
        let mut negotiation = agreed_upon("batch labeled-response echo-message server-time");
        assert_eq!(negotiation.agreed().means(), Means::Labels);
        negotiation.hear("DEL", &["labeled-response draft/x"]);
        assert_eq!(negotiation.agreed().means(), Means::Echoes);
        assert!(negotiation.has("server-time"));
        negotiation.hear("DEL", &["echo-message"]);
        assert_eq!(negotiation.agreed().means(), Means::Fences);
        let mut negotiation = agreed_upon("batch labeled-response");
        negotiation.hear("DEL", &["batch"]);
        assert_eq!(negotiation.agreed().means(), Means::Fences);
    }

    #[test]
    fn what_is_new_and_wanted_is_asked_for_and_nothing_twice() {
        let mut negotiation = agreed_upon("echo-message");
        let new = "echo-message batch labeled-response draft/x sasl=PLAIN";
        assert_eq!(texts(negotiation.hear("NEW", &[new])), ["CAP REQ :batch labeled-response sasl"]);
        assert_eq!(texts(negotiation.hear("NEW", &[new])), [""; 0]);
        assert_eq!(negotiation.agreed().means(), Means::Echoes);
        negotiation.hear("ACK", &["batch labeled-response sasl"]);
        assert_eq!(negotiation.agreed().means(), Means::Labels);
        negotiation.hear("DEL", &["sasl"]);
        assert_eq!(texts(negotiation.hear("NEW", &["sasl=EXTERNAL"])), ["CAP REQ :sasl"]);
        assert_eq!(negotiation.offered(SASL), Some("EXTERNAL"));
    }

    #[test]
    fn what_a_server_turns_off_is_off() {
        let mut negotiation = agreed_upon("echo-message");
        negotiation.hear("ACK", &["-echo-message"]);
        assert_eq!(negotiation.agreed().means(), Means::Fences);
    }

    #[test]
    fn a_long_list_is_split_into_lines_that_can_be_repeated() {
        let names: Vec<String> = (0..100).map(|n| format!("vendor.example/capability-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let lines = split(&names);
        assert!(lines.len() > 6 && lines.iter().all(|line| line.join(" ").len() <= REQUEST_BYTES));
        assert_eq!(lines.concat(), names);
        assert_eq!(split(&[]), Vec::<Vec<&str>>::new());
        let all = Line::request(&WANTED.join(" "));
        assert!(all.bytes().len() <= 512);
    }

    #[test]
    fn an_offer_without_end_is_cut() {
        let mut negotiation = Negotiation::default();
        for n in 0..1000 {
            negotiation.hear("LS", &["*", &format!("x{n}")]);
        }
        assert_eq!(negotiation.offered.len(), MAX_OFFERED);
    }
}
