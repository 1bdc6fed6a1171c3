//! Whether a bouncer stands between us and the server. Most answer PING themselves, and some echo lines themselves: then a
//! proof says that the bouncer took a line, and not that the server did.

use irc_proto::{Command, Message, Prefix, Response};

use crate::irc::register::capabilities::offers;

/// What the names of bouncers' own capabilities begin with.
const VENDORS: [&str; 2] = ["znc.in/", "soju.im/"];

/// What was seen in one session.
#[derive(Default)]
pub(crate) struct Bouncer {
    /// Who welcomed us.
    server: Option<String>,
    found: bool,
}

impl Bouncer {
    /// The sign by which a message gives a bouncer away; `None` once one was found.
    pub fn hear(&mut self, message: &Message) -> Option<String> {
        if self.found {
            return None;
        }
        let source = match &message.prefix {
            Some(Prefix::ServerName(name)) => Some(name.as_str()),
            _ => None,
        };
        let sign = match &message.command {
            Command::CAP(..) => {
                let own = |offer: &&str| VENDORS.iter().any(|vendor| offer.starts_with(vendor));
                offers(&message.command).split(' ').find(own).map(|offer| format!("it offers {offer}"))
            }
            Command::Response(Response::RPL_WELCOME, _) => {
                self.server = source.map(str::to_owned);
                None
            }
            Command::PONG(..) => {
                let (server, source) = (self.server.as_deref()?, source?);
                (server != source).then(|| format!("{server} welcomed us, and {source} answers PING"))
            }
            _ => None,
        };
        self.found = sign.is_some();
        sign
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(lines: &[&str]) -> Vec<String> {
        let mut bouncer = Bouncer::default();
        lines.iter().filter_map(|line| bouncer.hear(&line.parse().unwrap())).collect()
    }

    #[test]
    fn a_capability_of_its_own_gives_it_away() {
        assert_eq!(
            signs(&["CAP * LS * :sasl batch", ":b CAP * LS :znc.in/self-message"]),
            ["it offers znc.in/self-message"]
        );
        assert_eq!(signs(&["CAP * LS :sasl soju.im/no-implicit-names"]).len(), 1);
    }

    #[test]
    fn so_does_who_answers_ping_once() {
        let (welcome, pong) = (":irc.libera.chat 001 pubbot :Welcome", ":irc.znc.in PONG irc.znc.in :pubbot-1");
        assert_eq!(signs(&[welcome, pong, pong]), ["irc.libera.chat welcomed us, and irc.znc.in answers PING"]);
    }

    #[test]
    fn a_server_that_answers_for_itself_is_none() {
        let welcome = ":irc.test 001 pubbot :Welcome";
        for pong in [":irc.test PONG irc.test :pubbot-1", "PONG :pubbot-1", ":pubbot!p@h PONG :x"] {
            assert_eq!(signs(&[":irc.test CAP * LS :sasl", welcome, pong]), [""; 0], "{pong}");
        }
    }
}
