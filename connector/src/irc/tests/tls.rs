//! Servers that prove who they are, and servers that don't: those are told nothing.

use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::certificates::{Authority, Pair, Plan};
use crate::irc::reach::dial::DialError;
use crate::irc::reach::reason::Reason;
use crate::irc::{Distrust, Fingerprint, Server, Tls, Trust};

fn irc_test() -> Server {
    Server::encrypted("irc.test", 6697)
}

fn pinned(fingerprint: Fingerprint) -> Tls {
    Tls { trust: Trust::Pinned(vec![fingerprint]), certificate: None }
}

fn trusting(authority: &Authority) -> (tempfile::NamedTempFile, Tls) {
    let file = authority.file();
    let trust = Trust::File(file.path().to_owned());
    (file, Tls { trust, certificate: None })
}

/// What a server reads if the bot sends its password as soon as it has a connection; and the certificate it was shown.
struct Seen {
    text: String,
    certificate: Option<Vec<u8>>,
}

/// Connects, and sends a password.
async fn dial(server: TlsAcceptor, tls: &Tls) -> (Result<(), DialError>, Seen) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let serving = tokio::spawn(async move {
        let (mut bytes, mut certificate) = (Vec::new(), None);
        if let Ok(mut stream) = server.accept(theirs).await {
            certificate = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
            while matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {}
        }
        Seen { text: String::from_utf8(bytes).unwrap(), certificate }
    });
    let mut dialed = tls.encrypt(&irc_test(), ours).await;
    if let Ok(encrypted) = &mut dialed {
        encrypted.stream.write_all(b"PASS :sesame\r\n").await.unwrap();
        encrypted.stream.shutdown().await.unwrap();
    }
    let seen = serving.await.unwrap();
    (dialed.map(drop), seen)
}

/// The server gets the password.
#[track_caller]
fn is_trusted((dialed, seen): (Result<(), DialError>, Seen)) {
    dialed.unwrap();
    assert_eq!(seen.text, "PASS :sesame\r\n");
}

/// The server gets nothing; why.
#[track_caller]
fn is_refused((dialed, seen): (Result<(), DialError>, Seen)) -> DialError {
    assert_eq!(seen.text, "");
    let why = dialed.unwrap_err();
    assert_eq!(Reason::of_dial(&why), Reason::Tls, "{why}");
    why
}

fn distrust(why: &DialError) -> &Distrust {
    match why {
        DialError::Untrusted { distrust, .. } => distrust,
        why => panic!("{why}"),
    }
}

#[tokio::test]
async fn a_server_that_proves_to_be_the_host_is_spoken_to() {
    let authority = Authority::new();
    let (_file, tls) = trusting(&authority);
    is_trusted(dial(authority.signs(&Plan::of("irc.test")).server(), &tls).await);
}

#[tokio::test]
async fn another_name_an_unknown_authority_and_an_expired_certificate_are_refused_before_a_byte_is_sent() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let (_file, tls) = trusting(&known);

    let other = known.signs(&Plan::of("irc.evil"));
    let why = is_refused(dial(other.server(), &tls).await);
    assert!(matches!(distrust(&why), Distrust::OtherName { fingerprint, .. } if *fingerprint == other.fingerprint()));
    assert!(why.to_string().contains("its certificate is for irc.evil: is the host in its url right?"), "{why}");

    let why = is_refused(dial(unknown.signs(&Plan::of("irc.test")).server(), &tls).await);
    assert!(matches!(distrust(&why), Distrust::Unknown { .. }));
    assert!(why.to_string().contains("ca_file"), "{why}");

    let why = is_refused(dial(known.signs(&Plan { years: [2000, 2001], ..Plan::of("irc.test") }).server(), &tls).await);
    assert!(matches!(distrust(&why), Distrust::Expired { .. }));
    assert!(why.to_string().contains("expired at 2001-01-01T"), "{why}");

    let early = known.signs(&Plan { years: [3999, 4000], ..Plan::of("irc.test") });
    let why = is_refused(dial(early.server(), &tls).await);
    assert_eq!(distrust(&why), &Distrust::NotYetValid);
}

#[tokio::test]
async fn the_refusal_of_a_self_signed_server_says_by_what_it_can_be_pinned() {
    let server = Plan::of("irc.test").self_signed();
    let (_file, tls) = trusting(&Authority::new());
    let why = is_refused(dial(server.server(), &tls).await);
    assert!(matches!(distrust(&why), Distrust::SelfSigned { .. }));
    let why = why.to_string();
    let told = why.split("fingerprint = \"").nth(1).unwrap().split('"').next().unwrap();
    is_trusted(dial(server.server(), &pinned(told.parse().unwrap())).await);
}

#[tokio::test]
async fn the_systems_roots_know_no_server_of_ours() {
    let (dialed, seen) = dial(Plan::of("irc.test").self_signed().server(), &Tls::default()).await;
    assert_eq!(seen.text, "");
    // there may be no roots at all on this machine
    assert!(matches!(dialed, Err(DialError::Untrusted { .. } | DialError::NoRoots(_))), "{dialed:?}");
}

#[tokio::test]
async fn a_pinned_server_may_have_any_name_and_age_but_must_have_its_key() {
    let server = Plan { years: [2000, 2001], ..Plan::of("irc.other") }.self_signed();
    let tls = pinned(server.fingerprint());
    for version in [&TLS12, &TLS13] {
        is_trusted(dial(server.server_speaking(&[version]), &tls).await);
        let why = is_refused(dial(server.thief_speaking(&[version]), &tls).await);
        assert!(matches!(why, DialError::Untrusted { distrust: Distrust::Unusable(_), .. }), "{why:?}");
    }
}

#[tokio::test]
async fn a_server_with_another_certificate_than_the_pinned_one_is_refused_however_good_that_is() {
    let (authority, was) = (Authority::new(), Plan::of("irc.test").self_signed());
    let is = authority.signs(&Plan::of("irc.test"));
    let why = is_refused(dial(is.server(), &pinned(was.fingerprint())).await);
    assert_eq!(distrust(&why), &Distrust::NotPinned { fingerprint: is.fingerprint() });
    let both = Tls { trust: Trust::Pinned(vec![was.fingerprint(), is.fingerprint()]), certificate: None };
    is_trusted(dial(is.server(), &both).await);
}

#[tokio::test]
async fn a_certificate_of_our_own_arrives_at_a_server_that_asks_for_one() {
    let authority = Authority::new();
    let (server, bot) = (authority.signs(&Plan::of("irc.test")), authority.signs(&Plan::of("pubbot")));
    let (_file, own) = bot.file();
    assert_eq!(own.check(), Ok(bot.fingerprint()));
    let tls = Tls { certificate: Some(own), ..pinned(server.fingerprint()) };
    let (dialed, seen) = dial(server.server_that_asks(&authority), &tls).await;
    dialed.unwrap();
    assert_eq!(seen.certificate.as_deref(), Some(bot.certificate.as_ref()));
    // one that doesn't ask is not told
    let (dialed, seen) = dial(server.server(), &tls).await;
    dialed.unwrap();
    assert_eq!((seen.text.as_str(), seen.certificate), ("PASS :sesame\r\n", None));
}

#[tokio::test]
async fn files_are_read_anew_at_each_connection() {
    let (before, after) = (Authority::new(), Authority::new());
    let server = after.signs(&Plan::of("irc.test"));
    let (file, tls) = trusting(&before);
    is_refused(dial(server.server(), &tls).await);
    std::fs::copy(after.file().path(), file.path()).unwrap();
    is_trusted(dial(server.server(), &tls).await);

    std::fs::remove_file(file.path()).unwrap();
    let why = is_refused(dial(server.server(), &tls).await).to_string();
    assert!(why.contains(&file.path().display().to_string()) && why.contains("can't be read"), "{why}");
    let own = Plan::of("pubbot").self_signed().file().1;
    let tls = Tls { certificate: Some(own), ..pinned(server.fingerprint()) };
    assert!(matches!(is_refused(dial(server.server(), &tls).await), DialError::File(_)));
}

#[test]
fn a_key_that_is_not_that_of_the_certificate_is_told() {
    let [one, other]: [Pair; 2] = [(); 2].map(|()| Plan::of("pubbot").self_signed());
    let ((_one, mut own), (_other, foreign)) = (one.file(), other.file());
    own.key_file = foreign.key_file;
    let why = own.check().unwrap_err();
    assert_eq!(why.path, own.key_file);
    assert!(why.to_string().contains("holds a key that is not that of"), "{why}");
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing_but_a_handshake() {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    theirs.write_all(b":irc.test NOTICE * :*** hello\r\n").await.unwrap();
    let why = pinned(Fingerprint::of(b"")).encrypt(&irc_test(), ours).await.map(drop).unwrap_err();
    assert!(matches!(&why, DialError::Tls { why, .. } if why.contains("speaks no TLS")), "{why}");
    let mut seen = Vec::new();
    theirs.read_to_end(&mut seen).await.unwrap();
    // a TLS record of the type handshake (RFC 8446, section 5.1)
    assert_eq!(seen[0], 22);
}

#[tokio::test]
async fn a_server_that_hangs_up_in_the_handshake_is_one_that_is_away() {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    drop(theirs);
    let why = pinned(Fingerprint::of(b"")).encrypt(&irc_test(), ours).await.map(drop).unwrap_err();
    assert_eq!(Reason::of_dial(&why), Reason::Lost, "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_in_the_handshake_is_given_up() {
    let (ours, _theirs) = tokio::io::duplex(64 * 1024);
    let began = Instant::now();
    let why = pinned(Fingerprint::of(b"")).encrypt(&irc_test(), ours).await.map(drop).unwrap_err();
    assert!(matches!(why, DialError::TimedOut { .. }) && began.elapsed() < Duration::from_secs(11), "{why}");
}
