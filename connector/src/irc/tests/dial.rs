//! Several servers, several addresses, and hosts that want TLS: on real sockets of this machine.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::certificates::Plan;
use super::world::network;
use crate::irc::reach::dial::{Dial, DialError, Dialer};
use crate::irc::{Network, Server, Sts, Tls, Trust};
use crate::testing::TestAmbient;

/// A server on this address of the machine; it must be kept.
async fn listening(host: &str) -> (TcpListener, Server) {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Server::plain(host, port))
}

/// A server that is not there.
async fn dead() -> Server {
    listening("127.0.0.1").await.1
}

fn sts() -> Sts {
    Sts::in_memory(TestAmbient::arc())
}

fn dialer(servers: &[&Server], sts: &Sts) -> Dialer {
    Dialer::new(&Network { servers: servers.iter().map(|server| (*server).clone()).collect(), ..network() }, sts)
}

/// The server that a dial leads to.
async fn dialed(dialer: &Dialer) -> Server {
    dialer.dial().await.unwrap().server
}

/// Lets TLS be spoken on a listener for as long as the test runs.
fn encrypt(listener: TcpListener, server: TlsAcceptor) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move { server.accept(stream).await });
        }
    });
}

#[tokio::test]
async fn of_several_servers_the_first_that_is_there_is_taken() {
    let (_listener, alive) = listening("127.0.0.1").await;
    let (dead, nowhere) = (dead().await, Server::plain("no host", 6667));
    assert_eq!(dialed(&dialer(&[&dead, &nowhere, &alive], &sts())).await, alive);
}

#[tokio::test]
async fn after_a_lost_connection_the_next_server_comes_first() {
    let ((_a, a), (_b, b)) = (listening("127.0.0.1").await, listening("127.0.0.1").await);
    let dead = dead().await;
    let dialer = dialer(&[&a, &dead, &b], &sts());
    for expected in [&a, &b, &a, &b] {
        assert_eq!(dialed(&dialer).await, *expected);
    }
}

#[tokio::test]
async fn when_none_is_there_each_one_is_told() {
    let (dead, nowhere) = (dead().await, Server::plain("no host", 6667));
    let why = dialer(&[&dead, &nowhere], &sts()).dial().await.map(drop).unwrap_err();
    let DialError::All(all) = &why else { panic!("{why}") };
    assert!(matches!(all[0], DialError::Refused { .. }) && matches!(all[1], DialError::NotFound { .. }));
    assert!(why.to_string().contains(&dead.to_string()) && why.to_string().contains("\"no host\""), "{why}");
    let why = dialer(&[&dead], &sts()).dial().await.map(drop).unwrap_err();
    assert!(matches!(why, DialError::Refused { .. }), "{why}");
}

#[tokio::test]
async fn of_several_addresses_the_first_that_answers_is_taken_of_either_family() {
    let (_listener, alive) = listening("::1").await;
    let dead = SocketAddr::new("127.0.0.1".parse().unwrap(), dead().await.port);
    let address = SocketAddr::new("::1".parse().unwrap(), alive.port);
    let dialer = dialer(&[&alive], &sts());
    let socket = dialer.try_each(&alive, &[dead, address]).await.unwrap();
    assert_eq!(socket.address, Some(address));
    let why = dialer.try_each(&alive, &[dead, dead]).await.map(drop).unwrap_err();
    assert!(matches!(why, DialError::Refused { .. }), "{why}");
}

#[tokio::test]
async fn a_literal_address_of_ipv6_is_dialed_and_is_a_name_that_a_certificate_can_have() {
    let (listener, plain) = listening("::1").await;
    let pair = Plan::of("::1").self_signed();
    let (file, own) = pair.file();
    encrypt(listener, pair.server());
    let tls = Tls { trust: Trust::File(own.file), certificate: None };
    let server = Server { tls: true, ..plain };
    let network = Network { servers: vec![server.clone()], tls, ..network() };
    let socket = Dialer::new(&network, &sts()).dial().await.unwrap();
    assert_eq!((socket.server, socket.certificate.unwrap().fingerprint), (server, pair.fingerprint()));
    assert_eq!(socket.certificate.unwrap().expires.unwrap().to_string(), "4000-01-01T00:00:00.000Z");
    drop(file);
}

#[tokio::test]
async fn a_host_that_wants_tls_is_never_dialed_in_plain() {
    let (plain_listener, plain) = listening("127.0.0.1").await;
    let (listener, other) = listening("127.0.0.1").await;
    let (pair, sts) = (Plan::of("127.0.0.1").self_signed(), sts());
    let encrypted = Server { tls: true, ..other };
    sts.heard(&encrypted, "duration=86400");
    let pinning =
        |pair| Network { tls: Tls { trust: Trust::Pinned(vec![pair]), certificate: None }, ..network_of(&plain) };

    let late = dialer(&[&plain], &sts);
    encrypt(listener, pair.server());
    assert_eq!(dialed(&Dialer::new(&pinning(pair.fingerprint()), &sts)).await, encrypted);
    // with a certificate that nobody trusts there is no connection at all
    let why = late.dial().await.map(drop).unwrap_err();
    assert!(matches!(why, DialError::Untrusted { .. } | DialError::NoRoots(_)), "{why}");
    let nobody = tokio::time::timeout(std::time::Duration::from_millis(50), plain_listener.accept()).await;
    assert!(nobody.is_err(), "it was dialed in plain");
}

#[tokio::test]
async fn a_server_that_asks_for_tls_comes_first_again() {
    let ((_a, a), (_b, b)) = (listening("127.0.0.1").await, listening("::1").await);
    let (listener, encrypted) = listening("127.0.0.1").await;
    let (pair, sts) = (Plan::of("127.0.0.1").self_signed(), sts());
    encrypt(listener, pair.server());
    let tls = Tls { trust: Trust::Pinned(vec![pair.fingerprint()]), certificate: None };
    let network = Network { servers: vec![a.clone(), b.clone()], tls, ..network() };
    let dialer = Dialer::new(&network, &sts);
    assert_eq!(dialed(&dialer).await, a);
    sts.heard(&a, &format!("port={}", encrypted.port));
    assert_eq!(dialed(&dialer).await, Server { tls: true, ..encrypted });
    sts.heard(&a, "port=1");
    assert_eq!(dialed(&dialer).await, b);
}

fn network_of(server: &Server) -> Network {
    Network { servers: vec![server.clone()], ..network() }
}
