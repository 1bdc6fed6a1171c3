//! What session and server agree upon before the registration (IRCv3 capability negotiation, version 302): here, what
//! lets the server prove that it took a line. A server that knows nothing of it just registers us.

use super::line::Line;
use super::proof::Means;

/// What is asked for where it is offered. `labeled-response` needs the two before it.
const WANTED: [&str; 4] = ["message-tags", "batch", "labeled-response", "echo-message"];
/// How many words of an offer are looked at: a server could go on for ever.
const MAX_OFFERED: usize = 512;

/// What was agreed upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    labels: bool,
    echoes: bool,
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
}

/// The negotiation of one session.
#[derive(Default)]
pub(super) struct Negotiation {
    offered: Vec<String>,
    agreed: Capabilities,
}

impl Negotiation {
    /// What to answer to a CAP message: its subcommand and what follows that.
    pub fn hear(&mut self, subcommand: &str, parameters: &[&str]) -> Option<Line> {
        let words = parameters.last().map_or("", |last| *last).split_ascii_whitespace();
        match subcommand {
            "LS" => {
                let room = MAX_OFFERED.saturating_sub(self.offered.len());
                // a value stands behind a `=`
                let names = words.map(|word| word.split('=').next().unwrap_or(word).to_owned());
                self.offered.extend(names.take(room));
                let more = parameters.len() > 1 && parameters.first() == Some(&"*");
                (!more).then(|| self.ask())
            }
            "ACK" => {
                for word in words {
                    self.agree(word);
                }
                Some(Line::capabilities_end())
            }
            "NAK" => Some(Line::capabilities_end()),
            "DEL" => {
                self.agreed = Capabilities::default();
                None
            }
            _ => None,
        }
    }

    /// What was agreed upon so far.
    pub fn agreed(&self) -> Capabilities {
        self.agreed
    }

    fn ask(&self) -> Line {
        let offered = |name: &str| self.offered.iter().any(|offered| offered == name);
        let labels = offered("labeled-response") && offered("batch");
        let wanted: Vec<&str> = WANTED
            .into_iter()
            .filter(|name| match *name {
                "labeled-response" | "batch" => labels,
                name => offered(name),
            })
            .collect();
        if labels || offered("echo-message") { Line::request(&wanted.join(" ")) } else { Line::capabilities_end() }
    }

    fn agree(&mut self, capability: &str) {
        match capability {
            "labeled-response" => self.agreed.labels = true,
            "echo-message" => self.agreed.echoes = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: Option<Line>) -> String {
        line.map(|line| String::from_utf8_lossy(line.bytes()).trim_end().to_owned()).unwrap_or_default()
    }

    #[test]
    fn it_asks_for_what_is_offered_over_several_lines() {
        let mut negotiation = Negotiation::default();
        assert_eq!(text(negotiation.hear("LS", &["*", "sasl=PLAIN,EXTERNAL message-tags batch"])), "");
        assert_eq!(
            text(negotiation.hear("LS", &["echo-message labeled-response away-notify"])),
            "CAP REQ :message-tags batch labeled-response echo-message"
        );
        assert_eq!(text(negotiation.hear("ACK", &["message-tags batch labeled-response echo-message"])), "CAP END");
        assert_eq!(negotiation.agreed().means(), Means::Labels);
        negotiation.hear("DEL", &["labeled-response"]);
        assert_eq!(negotiation.agreed().means(), Means::Fences);
    }

    #[test]
    fn a_server_with_less_or_one_that_refuses_leaves_the_fence() {
        let mut negotiation = Negotiation::default();
        assert_eq!(text(negotiation.hear("LS", &["sasl multi-prefix"])), "CAP END");
        let mut negotiation = Negotiation::default();
        assert_eq!(text(negotiation.hear("LS", &["echo-message labeled-response"])), "CAP REQ :echo-message");
        assert_eq!(text(negotiation.hear("NAK", &["echo-message"])), "CAP END");
        assert_eq!(negotiation.agreed().means(), Means::Fences);
    }
}
