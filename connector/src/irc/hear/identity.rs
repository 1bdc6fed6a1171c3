//! Who the bot is on the network: its nick, and what stands before its lines when others receive them.

/// The longest user name that a server may show for us, in bytes.
const MAX_USER_BYTES: usize = 10;
/// The longest host that a server may show for us, in bytes (RFC 2812, section 2.3.1).
const MAX_HOST_BYTES: usize = 63;

/// `nick!user@host`, as far as the server has told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub nick: String,
    user: Option<String>,
    host: Option<String>,
}

impl Identity {
    pub fn new(nick: &str) -> Self {
        Identity { nick: nick.to_owned(), user: None, host: None }
    }

    /// The server showed our user and host in one of our own messages.
    pub fn seen(&mut self, user: &str, host: &str) {
        if !user.is_empty() && !host.is_empty() {
            (self.user, self.host) = (Some(user.to_owned()), Some(host.to_owned()));
        }
    }

    /// `001`: many servers end their welcome with `nick!user@host`.
    pub fn welcomed(&mut self, welcome: &str) {
        let last = welcome.rsplit(' ').next().unwrap_or_default();
        let parts = last.split_once('!').and_then(|(nick, rest)| Some((nick, rest.split_once('@')?)));
        if let Some((nick, (user, host))) = parts
            && nick == self.nick
        {
            self.seen(user, host);
        }
    }

    /// `396`: the server hides our host behind another, perhaps with another user name before it.
    pub fn hidden_as(&mut self, host: &str) {
        match host.split_once('@') {
            Some((user, host)) => self.seen(user, host),
            None => self.host = Some(host.to_owned()),
        }
    }

    /// The length of `nick!user@host` in bytes; where it is not known, the longest it may be.
    pub fn bytes(&self) -> usize {
        let user = self.user.as_ref().map_or(MAX_USER_BYTES, String::len);
        let host = self.host.as_ref().map_or(MAX_HOST_BYTES, String::len);
        self.nick.len() + 1 + user + 1 + host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_user_and_host_count_as_the_longest() {
        assert_eq!(Identity::new("pubbot").bytes(), 6 + 1 + 10 + 1 + 63);
    }

    #[test]
    fn it_learns_from_the_welcome_from_its_own_messages_and_from_a_hidden_host() {
        let mut me = Identity::new("pubbot");
        me.welcomed("Welcome to the network pubbot!~p@example.org");
        assert_eq!(me.bytes(), "pubbot!~p@example.org".len());
        me.hidden_as("user/pubbot");
        assert_eq!(me.bytes(), "pubbot!~p@user/pubbot".len());
        me.hidden_as("q@x");
        assert_eq!(me.bytes(), "pubbot!q@x".len());
        me.seen("~p", "h");
        assert_eq!(me.bytes(), "pubbot!~p@h".len());
    }

    #[test]
    fn a_welcome_without_a_mask_teaches_nothing() {
        for welcome in ["", "Welcome pubbot", "Welcome other!u@h", "Welcome pubbot!u"] {
            let mut me = Identity::new("pubbot");
            me.welcomed(welcome);
            assert_eq!(me, Identity::new("pubbot"), "{welcome}");
        }
    }
}
