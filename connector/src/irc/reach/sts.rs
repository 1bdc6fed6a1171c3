//! Strict transport security (IRCv3 `sts`): hosts that have asked to be spoken to through TLS only. The dialer asks
//! before each connection; the session reports what it hears; what has to last stands in a file.
//!
//! Whoever speaks on a connection has to do this: whatever comes is shown to [`Sts::hear`], with the server as it was dialed
//! (`Socket::server`): it looks for `sts=<value>` in `CAP LS` and `CAP NEW`. Nobody requests the capability, and a `CAP DEL` of it is
//! ignored. At [`StsAnswer::UpgradeTo`] the connection is ended at once, and says nothing more, not even QUIT; the next dial is
//! through TLS, and follows without a pause. So on a connection in plain nothing secret may be sent before `CAP LS` was
//! answered, or 001 has come instead.

mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use irc_proto::Command;
use protocol::{Ambient, Timestamp};
use serde::{Deserialize, Serialize};

use crate::irc::Server;
use crate::irc::ended::Ended;
use crate::irc::register::capabilities::offers;

/// How long a host is dialed through TLS that has asked for it in plain: 10 minutes. Through TLS it says for how long it
/// means it; if it can't be reached so, it is asked in plain again, and nothing is lost by that: it will say the same.
const UPGRADE_FOR: Duration = Duration::from_secs(10 * 60);
/// No policy is believed to be meant for longer: 10 years.
const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// For how many hosts a policy is kept: 1,000, more than anybody configures.
const MAX_HOSTS: usize = 1000;

/// What to do about a policy that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StsAnswer {
    /// Go on.
    Nothing,
    /// Leave this connection, which is in plain, at once: the host wants to be spoken to through TLS on this port.
    UpgradeTo(u16),
}

/// Hosts that want to be spoken to through TLS. Its clones are one.
#[derive(Clone)]
pub struct Sts {
    known: Arc<Mutex<Known>>,
    ambient: Arc<dyn Ambient>,
}

/// What is known of hosts, by their names in small letters.
#[derive(Default)]
struct Known {
    /// What they have said through TLS.
    policies: Policies,
    /// What they have asked for in plain.
    upgrades: BTreeMap<String, Upgrade>,
    /// Where the policies are kept.
    file: Option<PathBuf>,
    /// That the file is damaged was said.
    told: bool,
}

type Policies = BTreeMap<String, Policy>;

/// What a host has said through TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Policy {
    /// The port on which it said so.
    port: u16,
    /// For how long it holds from the end of a connection on, in seconds.
    duration: u64,
    /// Until when it holds.
    expires: Timestamp,
}

#[derive(Clone, Copy)]
struct Upgrade {
    port: u16,
    until: Timestamp,
}

impl Sts {
    /// With what stands in this file, which is made when there is something to keep. A file that can't be read is told in
    /// the log, and replaced by then.
    pub fn open(file: impl Into<PathBuf>, ambient: Arc<dyn Ambient>) -> Self {
        Self::with(Known { file: Some(file.into()), ..Known::default() }, ambient)
    }

    /// With nothing, and for as long as this process lives.
    pub fn in_memory(ambient: Arc<dyn Ambient>) -> Self {
        Self::with(Known::default(), ambient)
    }

    fn with(mut known: Known, ambient: Arc<dyn Ambient>) -> Self {
        known.refresh();
        Sts { known: Arc::new(Mutex::new(known)), ambient }
    }

    /// A message of a server, on a connection as it was dialed, which may offer `sts=value`.
    ///
    /// # Errors
    /// [`Ended::WantsTls`] where nothing more may be said on this connection.
    pub(crate) fn hear(&self, server: &Server, command: &Command) -> Result<(), Ended> {
        let value = offers(command).split(' ').find_map(|offer| offer.strip_prefix("sts="));
        match value.map(|value| self.heard(server, value)) {
            Some(StsAnswer::UpgradeTo(port)) => Err(Ended::WantsTls(port)),
            Some(StsAnswer::Nothing) | None => Ok(()),
        }
    }

    /// A server has offered `sts=value`, on a connection as it was dialed.
    pub fn heard(&self, server: &Server, value: &str) -> StsAnswer {
        let (offer, now, host) = (Offer::parse(value), self.ambient.now(), key(&server.host));
        let mut known = self.known();
        match (server.tls, offer) {
            (false, Offer { port: Some(port), .. }) => {
                known.upgrades.retain(|_, upgrade| upgrade.until > now);
                if known.upgrades.len() < MAX_HOSTS {
                    known.upgrades.insert(host, Upgrade { port, until: now.plus(UPGRADE_FOR) });
                }
                StsAnswer::UpgradeTo(port)
            }
            (true, Offer { duration: Some(duration), .. }) => {
                known.upgrades.remove(&host);
                known.agree(host, server.port, duration, now);
                StsAnswer::Nothing
            }
            _ => StsAnswer::Nothing,
        }
    }

    /// A connection to this server, as it was dialed, is over: its policy holds from now on for as long as it said.
    pub fn left(&self, server: &Server) {
        let (now, host) = (self.ambient.now(), key(&server.host));
        let mut known = self.known();
        if let Some(policy) = known.policies.get(&host).copied().filter(|_| server.tls) {
            known.agree(host, policy.port, policy.duration, now);
        }
    }

    /// How a server has to be dialed: as configured, or through TLS on another port, if its host wants that.
    pub fn as_dialed(&self, server: &Server) -> Server {
        let mut known = self.known();
        known.refresh();
        match known.port(&key(&server.host), self.ambient.now()).filter(|_| !server.tls) {
            Some(port) => Server { port, tls: true, ..server.clone() },
            None => server.clone(),
        }
    }

    /// Whether a host wants to be spoken to through TLS.
    pub(crate) fn wants_tls(&self, host: &str) -> bool {
        self.known().port(&key(host), self.ambient.now()).is_some()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The port on which a host is to be spoken to through TLS, if at all.
    fn port(&self, host: &str, now: Timestamp) -> Option<u16> {
        let policy = self.policies.get(host).filter(|policy| policy.expires > now).map(|policy| policy.port);
        let upgrade = self.upgrades.get(host).filter(|upgrade| upgrade.until > now).map(|upgrade| upgrade.port);
        policy.or(upgrade)
    }

    /// Keeps a policy, from now on; none, if it is to last no time.
    fn agree(&mut self, host: String, port: u16, duration: u64, now: Timestamp) {
        self.refresh();
        self.policies.retain(|_, policy| policy.expires > now);
        let lasts = Duration::from_secs(duration).min(MAX_DURATION);
        if lasts.is_zero() {
            self.policies.remove(&host);
        } else if self.policies.len() < MAX_HOSTS || self.policies.contains_key(&host) {
            self.policies.insert(host, Policy { port, duration, expires: now.plus(lasts) });
        }
        self.save();
    }

    /// Learns what another process of the same data folder has written: what holds longer is newer.
    fn refresh(&mut self) {
        let Some(path) = &self.file else { return };
        match file::read(path) {
            Ok(found) => {
                for (host, policy) in found.into_iter().take(MAX_HOSTS) {
                    let ours = self.policies.entry(host).or_insert(policy);
                    if policy.expires > ours.expires {
                        *ours = policy;
                    }
                }
            }
            Err(why) if !std::mem::replace(&mut self.told, true) => {
                let file = path.display();
                tracing::warn!(%file, why, "which hosts want TLS only can't be read: they will be asked again");
            }
            Err(_) => {}
        }
    }

    fn save(&mut self) {
        let Some(path) = &self.file else { return };
        match file::write(path, &self.policies) {
            Ok(()) => self.told = false,
            Err(why) => {
                let file = path.display();
                tracing::warn!(%file, %why, "which hosts want TLS only can't be written down: it is forgotten at the end");
            }
        }
    }
}

/// Host names are the same in small and capital letters, and with a dot at their end.
fn key(host: &str) -> String {
    host.trim_end_matches('.').to_lowercase()
}

/// What the value of the capability says: `port=6697,duration=2592000`, and what we don't know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offer {
    port: Option<u16>,
    /// In seconds.
    duration: Option<u64>,
}

impl Offer {
    fn parse(value: &str) -> Self {
        let mut offer = Offer::default();
        for (key, value) in value.split(',').filter_map(|token| token.split_once('=')) {
            match key {
                "port" => offer.port = number(value).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
                "duration" => offer.duration = number(value),
                _ => {}
            }
        }
        offer
    }
}

/// Digits only. One that is too large is the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    const DAY: u64 = 24 * 3600;

    /// Time that the test moves.
    struct Clock(AtomicI64);

    impl Clock {
        fn new() -> Arc<Self> {
            Arc::new(Clock(AtomicI64::new(crate::testing::NOW)))
        }

        fn passes(&self, seconds: u64) {
            self.0.fetch_add(i64::try_from(seconds * 1000).unwrap(), Ordering::Relaxed);
        }
    }

    impl Ambient for Clock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::Relaxed))
        }

        fn random(&self) -> u64 {
            0
        }
    }

    fn plain() -> Server {
        Server::plain("irc.test", 6667)
    }

    fn encrypted() -> Server {
        Server::encrypted("irc.test", 6697)
    }

    #[test]
    fn a_value_is_read_and_what_is_unknown_or_wrong_in_it_is_not() {
        for (value, port, duration) in [
            ("port=6697,duration=2592000", Some(6697), Some(2_592_000)),
            ("duration=0", None, Some(0)),
            ("unknown,duration=31536000,foo=bar,port=1", Some(1), Some(31_536_000)),
            ("port,duration", None, None),
            ("port=0,duration=-1", None, None),
            ("port=65536,duration= 7", None, None),
            ("port=+1,duration=1e3", None, None),
            ("", None, None),
            ("duration=99999999999999999999999", None, Some(u64::MAX)),
        ] {
            assert_eq!(Offer::parse(value), Offer { port, duration }, "{value}");
        }
    }

    #[test]
    fn in_plain_the_port_counts_and_leads_to_tls_and_the_duration_does_not() {
        let (clock, other) = (Clock::new(), Server::plain("irc.other", 6667));
        let sts = Sts::in_memory(clock.clone());
        assert_eq!(sts.heard(&plain(), "duration=9999"), StsAnswer::Nothing);
        assert_eq!(sts.as_dialed(&plain()), plain());
        assert_eq!(sts.heard(&plain(), "port=7000,duration=99999999"), StsAnswer::UpgradeTo(7000));
        assert_eq!(sts.as_dialed(&plain()), Server::encrypted("irc.test", 7000));
        assert!(sts.wants_tls("IRC.Test.") && !sts.wants_tls("irc.other"));
        assert_eq!(sts.as_dialed(&other), other);
        // nobody has said through TLS that it lasts
        clock.passes(10 * 60);
        assert_eq!(sts.as_dialed(&plain()), plain());
    }

    #[test]
    fn through_tls_the_duration_counts_for_the_port_of_the_connection() {
        let clock = Clock::new();
        let sts = Sts::in_memory(clock.clone());
        assert_eq!(sts.heard(&encrypted(), "port=1"), StsAnswer::Nothing);
        assert_eq!(sts.as_dialed(&plain()), plain());
        assert_eq!(sts.heard(&encrypted(), &format!("port=1,duration={DAY}")), StsAnswer::Nothing);
        assert_eq!(sts.as_dialed(&plain()), encrypted());
        // what is configured for TLS stays where it is
        assert_eq!(sts.as_dialed(&Server::encrypted("irc.test", 9999)).port, 9999);
        clock.passes(DAY - 1);
        assert_eq!(sts.as_dialed(&plain()), encrypted());
        clock.passes(1);
        assert_eq!(sts.as_dialed(&plain()), plain());
    }

    #[test]
    fn the_end_of_a_connection_begins_the_duration_anew_and_zero_ends_it() {
        let clock = Clock::new();
        let sts = Sts::in_memory(clock.clone());
        sts.heard(&encrypted(), &format!("duration={DAY}"));
        clock.passes(DAY - 1);
        sts.left(&plain());
        sts.left(&encrypted());
        clock.passes(DAY - 1);
        assert!(sts.wants_tls("irc.test"));
        sts.heard(&encrypted(), "duration=0");
        assert!(!sts.wants_tls("irc.test"));
        // a policy that is gone does not come back
        sts.left(&encrypted());
        assert!(!sts.wants_tls("irc.test"));
    }

    #[test]
    fn an_endless_duration_has_an_end() {
        let clock = Clock::new();
        let sts = Sts::in_memory(clock.clone());
        sts.heard(&encrypted(), "duration=99999999999999999999999");
        assert!(sts.wants_tls("irc.test"));
        clock.passes(3650 * DAY);
        assert!(!sts.wants_tls("irc.test"));
    }

    #[test]
    fn it_survives_a_restart_and_is_shared_by_the_processes_of_a_data_folder() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::new());
        let file = folder.path().join("new/sts.json");
        let (first, second) = (Sts::open(&file, clock.clone()), Sts::open(&file, clock.clone()));
        first.heard(&encrypted(), &format!("duration={DAY}"));
        assert_eq!(second.as_dialed(&plain()), encrypted());
        second.heard(&Server::encrypted("irc.other", 7000), &format!("duration={DAY}"));
        drop((first, second));

        let again = Sts::open(&file, clock.clone());
        assert_eq!(again.as_dialed(&plain()), encrypted());
        assert_eq!(again.as_dialed(&Server::plain("irc.other", 1)).port, 7000);
        // nothing else is left in the folder
        assert_eq!(folder.path().join("new").read_dir().unwrap().count(), 1);
        clock.passes(DAY);
        assert_eq!(Sts::open(&file, clock).as_dialed(&plain()), plain());
    }

    #[test]
    fn what_was_asked_for_in_plain_is_not_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sts.json");
        Sts::open(&file, Clock::new()).heard(&plain(), "port=6697,duration=9999999");
        assert!(!file.exists());
    }

    #[test]
    fn a_damaged_file_is_an_empty_one_and_is_replaced() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::new());
        let file = folder.path().join("sts.json");
        for damaged in ["", "{", "[]", "{\"irc.test\": 5}", "{\"irc.test\": {\"port\": 70000}}", &"[".repeat(100_000)] {
            std::fs::write(&file, damaged).unwrap();
            let sts = Sts::open(&file, clock.clone());
            assert_eq!(sts.as_dialed(&plain()), plain(), "{damaged:.20}");
            sts.heard(&encrypted(), &format!("duration={DAY}"));
            assert_eq!(Sts::open(&file, clock.clone()).as_dialed(&plain()), encrypted());
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_and_remembered_all_the_same() {
        let sts = Sts::open("/proc/nowhere/sts.json", Clock::new());
        sts.heard(&encrypted(), &format!("duration={DAY}"));
        assert!(sts.wants_tls("irc.test"));
    }
}
