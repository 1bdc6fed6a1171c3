//! A connector that was cut off from the broker, but not from the network, keeps the nick that its successor needs. It
//! hears the network still: the successor calls upon it there, with the secret that it wrote down on the broker when it
//! took over. Whoever is called so and may not speak any more leaves at once.

use irc_proto::{Command, Message};
use uuid::Uuid;

use crate::irc::speak::line::Line;
use crate::irc::voice::Permission;

/// The CTCP message that calls.
const CALL: &str = "\x01PUBBOT-LEAVE ";

/// How often a session calls: whoever else has the nick should not be bothered for ever.
const CALLS: u32 = 5;

/// Who speaks now, and who spoke before.
#[derive(Clone)]
pub(crate) struct Handover {
    ours: Uuid,
    theirs: Option<Uuid>,
    permission: Permission,
    calls: u32,
}

impl Handover {
    /// `ours` is our secret, `theirs` that of whoever spoke before us.
    pub fn new(ours: Uuid, theirs: Option<Uuid>, permission: Permission) -> Self {
        Handover { ours, theirs, permission, calls: 0 }
    }

    /// The line that calls upon whoever has the nick, if somebody spoke before us and we may speak now.
    pub fn call(&mut self, nick: &str) -> Option<Line> {
        let secret = self.theirs.filter(|_| self.calls < CALLS && self.permission.number().is_some());
        self.calls += u32::from(secret.is_some());
        secret.map(|secret| Line::ctcp(nick, &format!("{}{secret}\x01", CALL)))
    }

    /// Whether we may speak at this moment.
    pub fn may_speak(&self) -> bool {
        self.permission.number().is_some()
    }

    /// Whether nobody else can ever speak for us.
    pub fn is_alone(&self) -> bool {
        self.permission.get().is_some_and(|grant| grant.lease.is_endless())
    }

    /// Whether the message calls upon us, and we may not speak.
    pub fn is_called(&self, message: &Message) -> bool {
        let (Command::PRIVMSG(_, text) | Command::NOTICE(_, text)) = &message.command else { return false };
        let secret = text.strip_prefix(CALL).map(|rest| rest.trim_end_matches('\x01'));
        secret.and_then(|secret| Uuid::parse_str(secret).ok()) == Some(self.ours) && self.permission.number().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irc::voice::Grant;
    use bus::Lease;
    use std::time::Duration;

    #[test]
    fn who_may_not_speak_leaves_when_called_by_its_secret() {
        let secret = Uuid::from_u128(7);
        let handover = |ours, theirs, lease| Handover::new(ours, theirs, Permission::of(Grant { lease, number: 1 }));
        let mut successor = handover(Uuid::from_u128(8), Some(secret), Lease::endless());
        let call = successor.call("pubbot").unwrap();
        let call: Message = format!(":pubbot_!p@h {}", String::from_utf8_lossy(call.bytes())).parse().unwrap();

        let lapsed = Lease::starting(Duration::ZERO, Duration::ZERO);
        assert!(handover(secret, None, lapsed.clone()).is_called(&call));
        assert!(!handover(secret, None, Lease::endless()).is_called(&call), "it speaks");
        assert!(!handover(Uuid::from_u128(9), None, lapsed.clone()).is_called(&call), "somebody else is meant");
        let other: Message = ":a!b@c NOTICE pubbot :\x01PUBBOT-LEAVE x\x01".parse().unwrap();
        assert!(!handover(secret, None, lapsed).is_called(&other));
        assert!(handover(secret, None, Lease::endless()).call("x").is_none());
        assert!(handover(secret, Some(secret), Lease::starting(Duration::ZERO, Duration::ZERO)).call("x").is_none());
        assert_eq!((0..10).filter(|_| successor.call("x").is_some()).count(), 4);
    }
}
