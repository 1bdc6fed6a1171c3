//! Why there is no connection, as far as the next try depends on it: a server that is away may be back in a second, one
//! that has banned us won't have us in a minute either.

use crate::irc::reach::dial::DialError;
use crate::irc::session::Ended;

/// Why there is no connection; of two, the later one is to be waited for longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// Nobody answered, or the connection was lost.
    Lost,
    /// The host's name leads nowhere.
    Dns,
    /// There was no nick to have.
    Nick,
    /// We have come too often, or too many have come.
    Throttled,
    /// The server could not prove who it is, or our own certificates can't be used.
    Tls,
    /// The server does not take our password or account.
    Login,
    /// The server does not want us.
    Banned,
}

impl Reason {
    /// Of a failed dial. Of several servers the worst counts.
    pub fn of_dial(why: &DialError) -> Self {
        match why {
            DialError::NotFound { .. } => Reason::Dns,
            why if why.is_about_trust() => Reason::Tls,
            DialError::All(all) => all.iter().map(Reason::of_dial).max().unwrap_or(Reason::Lost),
            _ => Reason::Lost,
        }
    }

    /// Of a session that is over; `refusal` is what a number said while it registered, which is plainer than any text.
    pub fn of_end(why: &Ended, refusal: Option<Reason>) -> Self {
        match why {
            Ended::NoNick(_) => Reason::Nick,
            Ended::Sasl(_) => Reason::Login,
            Ended::Closed(Some(text)) => refusal.unwrap_or_else(|| Reason::of_error(text)),
            _ => refusal.unwrap_or(Reason::Lost),
        }
    }

    /// Of a number with which a server refuses a registration, if it is one.
    pub fn of_numeric(number: u16) -> Option<Self> {
        match number {
            // no permission for this host, banned
            463 | 465 => Some(Reason::Banned),
            // wrong password; account locked, SASL failed, too long, aborted
            464 | 902 | 904..=906 => Some(Reason::Login),
            // nick collision
            436 => Some(Reason::Nick),
            _ => None,
        }
    }

    /// Of the text of ERROR. It is written for people, and each server has its own words; what is not known counts as a
    /// lost connection.
    pub fn of_error(text: &str) -> Self {
        let words = words(text);
        let text = words.join(" ");
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
        // who is banned may be told so with any reason, so this goes first
        if words.iter().enumerate().any(|(place, word)| is_ban(word, words.get(place + 1))) || says(&UNWANTED) {
            Reason::Banned
        } else if says(&LOGIN) {
            Reason::Login
        } else if says(&THROTTLED) {
            Reason::Throttled
        } else if says(&NICK) {
            Reason::Nick
        } else {
            Reason::Lost
        }
    }
}

/// What servers say to those whom they don't want: solanum, InspIRCd, UnrealIRCd, ircd-hybrid.
const UNWANTED: [&str; 6] =
    ["not welcome", "not authori", "unauthori", "not allowed to connect", "blacklisted", "listed in a dnsbl"];
/// Of passwords and accounts.
const LOGIN: [&str; 5] = ["bad password", "bad server password", "password incorrect", "invalid password", "sasl"];
/// Of too many connections, and of too many of ours; a kill or a flood is an answer to something we did, too.
const THROTTLED: [&str; 11] = [
    "throttl",
    "too fast",
    "too many",
    "no more connections",
    "no more local connections",
    "no more global connections",
    "is full",
    "limit reached",
    "try again later",
    "excess flood",
    "killed",
];
/// Of nicks.
const NICK: [&str; 3] = ["nick collision", "nickname collision", "regained by services"];

/// The words of a text, in small letters. What looks like a host or an address is left out: anybody may be called so.
fn words(text: &str) -> Vec<String> {
    let is_name = |token: &&str| token.contains('@') || token.trim_end_matches(['.', ')', ']', '"']).contains('.');
    let tokens = text.split_whitespace().filter(|token| !is_name(token));
    let words = tokens.flat_map(|token| token.split(|c: char| !c.is_alphanumeric())).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// The lines of a server's configuration that keep people out: K (a user), G (on the whole network), Z and D (an
/// address), X (a real name), and so on.
const LINES: [&str; 7] = ["k", "g", "z", "gz", "d", "x", "q"];

/// `K-Lined`, `Z:Lined`, `klined`, `G-Line`, `banned`, `autokilled`.
fn is_ban(word: &str, next: Option<&String>) -> bool {
    let lined = |word: &str| matches!(word, "line" | "lined");
    let apart = LINES.contains(&word) && next.is_some_and(|next| lined(next));
    let joined = LINES.iter().any(|line| word.strip_prefix(line).is_some_and(lined));
    apart || joined || matches!(word, "ban" | "banned" | "akill" | "akilled" | "autokill" | "autokilled")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn all(reason: Reason, texts: &[&str]) {
        for text in texts {
            assert_eq!(Reason::of_error(text), reason, "{text}");
        }
    }

    #[test]
    fn solanum_as_on_libera() {
        all(
            Reason::Banned,
            &[
                "Closing Link: 198.51.100.7 (K-lined)",
                "Closing Link: gateway/web/irc.example (D-lined)",
                "Closing Link: (*** Banned (cache))",
                "You have been D-lined.",
                "Closing Link: 127.0.0.1 pubbot (Banned (listed in a DNSBL))",
                "Closing Link: 198.51.100.7 (Banned (authentication system))",
                "Closing Link: 198.51.100.7 (*** Banned )",
                "Closing Link: 198.51.100.7 (You are not authorised to use this server.)",
            ],
        );
        all(
            Reason::Throttled,
            &[
                "Reconnecting too fast, throttled.",
                "Closing Link: 198.51.100.7 (Too many host connections (local))",
                "Closing Link: 198.51.100.7 (Too many user connections (global))",
                "Closing Link: 198.51.100.7 (No more connections allowed in your connection class)",
                "Closing Link: 198.51.100.7 (Excess Flood)",
                "Closing Link: services.example (Killed (oper (please fix it)))",
            ],
        );
        all(
            Reason::Login,
            &["Closing Link: 198.51.100.7 (Bad Password)", "Closing Link: 198.51.100.7 (SASL access only)"],
        );
        all(
            Reason::Lost,
            &[
                "Closing Link: 198.51.100.7 (Ping timeout: 255 seconds)",
                "Closing Link: 198.51.100.7 (Connection timed out)",
                "Closing Link: 198.51.100.7 (Quit: pubbot)",
            ],
        );
        all(Reason::Nick, &["Closing Link: 198.51.100.7 (Nickname regained by services)"]);
    }

    #[test]
    fn inspircd() {
        all(
            Reason::Banned,
            &[
                "Closing link: (pubbot@198.51.100.7) [K-lined: too many bots]",
                "Closing link: (pubbot@198.51.100.7) [G-lined: throttle yourself]",
                "Closing link: (unknown@198.51.100.7) [Z-lined: No reason]",
                "Closing link: (pubbot@198.51.100.7) [You are not allowed to connect to this server]",
            ],
        );
        all(
            Reason::Throttled,
            &[
                "Closing link: (pubbot@198.51.100.7) [No more local connections allowed from your host via this connect \
                 class.]",
                "Closing link: (pubbot@198.51.100.7) [No more connections allowed]",
                "Closing link: (pubbot@198.51.100.7) [Throttled]",
                "Closing link: (pubbot@198.51.100.7) [Too many connections from this host]",
            ],
        );
        all(Reason::Lost, &["Closing link: (pubbot@198.51.100.7) [Connection timeout]", "Server shutdown"]);
    }

    #[test]
    fn ircd_hybrid() {
        all(
            Reason::Banned,
            &["You have been D-lined.", "Closing Link: h.example (Connection rejected - not authorized)"],
        );
        all(Reason::Banned, &["Closing Link: h.example (Connection rejected - banned from server)"]);
        all(
            Reason::Throttled,
            &[
                "Your host is trying to (re)connect too fast -- throttled.",
                "Closing Link: h.example (Connection rejected - too many connections on IP)",
                "Closing Link: h.example (Connection rejected - connection class is full)",
                "Closing Link: h.example (Sorry, server is full - try later)",
            ],
        );
        all(Reason::Login, &["Closing Link: h.example (Bad Password)"]);
        all(Reason::Lost, &["Closing Link: h.example (Remote host closed the connection)"]);
    }

    #[test]
    fn unrealircd() {
        all(
            Reason::Banned,
            &[
                "Closing Link: pubbot[198.51.100.7] (You are not welcome on this server. K-Lined: spam. Email \
                 irc@h.example for more information.)",
                "Closing Link: [198.51.100.7] (Z:Lined (abuse))",
                "Closing Link: pubbot[198.51.100.7] (You are not welcome on this network. G-Lined: no)",
                "Closing Link: pubbot[198.51.100.7] (You are not authorized to connect to this server)",
                "Closing Link: pubbot[198.51.100.7] (You are banned)",
            ],
        );
        all(
            Reason::Throttled,
            &[
                "Closing Link: [198.51.100.7] (Throttled: Reconnecting too fast) - Email kline@h.example for more \
                 information.",
                "Closing Link: [198.51.100.7] (Too many unknown connections from your IP)",
                "Closing Link: pubbot[198.51.100.7] (Too many connections from your IP)",
                "Closing Link: pubbot[198.51.100.7] (This server is full)",
            ],
        );
        all(Reason::Lost, &["Closing Link: banned[k-lined.example] (Ping timeout)"]);
    }

    #[test]
    fn ngircd() {
        all(
            Reason::Banned,
            &[
                "Closing connection: pubbot[pubbot@localhost] (\"no bots\" (K-Line))",
                "Closing connection: pubbot[pubbot@localhost] (\"no bots\" (G-Line))",
            ],
        );
        all(
            Reason::Throttled,
            &["Connection limit reached", "Connection refused, too many connections from your IP address"],
        );
        all(
            Reason::Login,
            &[
                "Closing connection: pubbot[pubbot@localhost] (Bad server password)",
                "Closing connection: (Bad password)",
            ],
        );
        all(Reason::Lost, &["Closing connection", "Connection refused", "Server going down"]);
    }

    #[test]
    fn what_only_looks_like_a_ban_is_none() {
        all(Reason::Lost, &["", "k", "on-line", "pipeline broken", "Closing Link: (Quit: off line)", "bandwidth"]);
    }

    #[test]
    fn a_number_is_plainer_than_the_text_and_nicks_are_no_texts() {
        let closed = |text: &str| Ended::Closed(Some(text.to_owned()));
        assert_eq!(Reason::of_end(&closed("Bye"), Reason::of_numeric(465)), Reason::Banned);
        assert_eq!(Reason::of_end(&closed("Bye"), Reason::of_numeric(464)), Reason::Login);
        assert_eq!(Reason::of_end(&Ended::Closed(None), Reason::of_numeric(904)), Reason::Login);
        assert_eq!(Reason::of_end(&closed("(K-lined)"), Reason::of_numeric(433)), Reason::Banned);
        assert_eq!(Reason::of_end(&Ended::NoNick("in use".into()), None), Reason::Nick);
        assert_eq!(Reason::of_end(&Ended::Silent, None), Reason::Lost);
    }

    #[test]
    fn of_several_servers_the_worst_counts() {
        let refused = || DialError::Refused { server: "h port 1".into(), why: io::ErrorKind::ConnectionRefused.into() };
        let late = DialError::TimedOut { server: "h port 1".into(), within: Duration::from_secs(1) };
        let nowhere = DialError::NotFound { host: "h".into(), why: io::ErrorKind::NotFound.into() };
        let untrusted = DialError::Tls { server: "h port 1".into(), why: "no".into() };
        assert_eq!(Reason::of_dial(&DialError::All(vec![refused(), late])), Reason::Lost);
        assert_eq!(Reason::of_dial(&DialError::All(vec![nowhere, refused()])), Reason::Dns);
        assert_eq!(Reason::of_dial(&DialError::All(vec![untrusted, refused()])), Reason::Tls);
    }
}
