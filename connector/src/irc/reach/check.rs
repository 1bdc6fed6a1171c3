//! Whether a server can be reached, for `pubbot check`: connects as the bot would, and sees whether it answers. Sends
//! no password, and does not register.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::irc::hear::framing::Framing;
use crate::irc::reach::dial::{DialError, Dialer, Reader, Socket, Writer};
use crate::irc::speak::line::Line;
use crate::irc::{Certificate, Network, Server, Sts};

/// How long the server may take to say something.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A server that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The server as it was dialed: through TLS, if its host has asked for that.
    pub server: Server,
    /// Its addresses, in the order in which they are tried.
    pub addresses: Vec<IpAddr>,
    /// The one that answered.
    pub address: Option<IpAddr>,
    /// The certificate by which it was trusted; none without TLS.
    pub certificate: Option<Certificate>,
    /// The first thing it said.
    pub greeting: String,
}

/// Why a server can't be used.
#[derive(Debug, Error)]
pub enum Unreachable {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// There is one, but what answers is no IRC server.
    #[error("connected, but nothing there speaks IRC{}", if *.tls { "" } else { "; perhaps it expects TLS" })]
    NoIrc {
        /// Whether the connection was encrypted.
        tls: bool,
    },
}

/// Connects to one of the network's servers as the bot would, and waits until it says something.
///
/// # Errors
/// [`Unreachable`].
pub async fn reach(network: &Network, server: &Server, sts: &Sts) -> Result<Reached, Unreachable> {
    let socket = Dialer::new(network, sts).dial_server(server).await?;
    let Socket { reader, writer, server, addresses, address, certificate } = socket;
    match timeout(ANSWER_WITHIN, greeting(&network.name, reader, writer)).await {
        Ok(Some(greeting)) => {
            let addresses = addresses.iter().map(SocketAddr::ip).collect();
            Ok(Reached { server, addresses, address: address.map(|address| address.ip()), certificate, greeting })
        }
        Ok(None) | Err(_) => Err(Unreachable::NoIrc { tls: server.tls }),
    }
}

/// The first message after two questions of which every server answers one.
async fn greeting(network: &str, mut reader: Reader, mut writer: Writer) -> Option<String> {
    for question in [Line::capabilities(), Line::ping(network)] {
        writer.write_all(question.bytes()).await.ok()?;
    }
    writer.flush().await.ok()?;
    let (mut framing, mut bytes) = (Framing::new(network), vec![0; 4096]);
    loop {
        let length = reader.read(&mut bytes).await.ok().filter(|length| *length > 0)?;
        framing.feed(&bytes[..length]);
        if let Some(message) = framing.next_message() {
            // a courtesy: the connection is dropped in any case
            if let Err(why) = writer.write_all(Line::quit("").bytes()).await {
                tracing::debug!(network, %why, "QUIT was not written");
            }
            return Some(message.to_string().trim_end().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use crate::irc::tests::world::network;
    use crate::testing::TestAmbient;
    use tokio::net::TcpListener;

    /// A server that answers the first bytes it reads with these, and returns what it has read in all.
    async fn reach_one_that_answers(answer: &'static str) -> (Result<Reached, Unreachable>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::plain("127.0.0.1", listener.local_addr().unwrap().port());
        let network = Network { password: Some(Secret::new("sesame")), servers: vec![server.clone()], ..network() };
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 1024];
            let mut length = stream.read(&mut bytes).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            length += stream.read(&mut bytes[length..]).await.unwrap();
            String::from_utf8(bytes[..length].to_vec()).unwrap()
        });
        let reached = reach(&network, &server, &Sts::in_memory(TestAmbient::arc())).await;
        (reached, serving.await.unwrap())
    }

    #[tokio::test]
    async fn a_server_that_answers_is_reached_without_the_password() {
        let (reached, seen) = reach_one_that_answers(":irc.test CAP * LS :sasl\r\n").await;
        let reached = reached.unwrap();
        assert_eq!(reached.greeting, ":irc.test CAP * LS sasl");
        let localhost: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!((reached.addresses, reached.address), (vec![localhost], Some(localhost)));
        assert!(!reached.server.tls && reached.certificate.is_none());
        assert!(seen.starts_with("CAP LS 302\r\n") && !seen.contains("sesame") && !seen.contains("NICK"), "{seen}");
    }

    #[tokio::test]
    async fn one_that_says_nothing_is_no_irc_server() {
        let (reached, _) = reach_one_that_answers("").await;
        assert!(matches!(reached, Err(Unreachable::NoIrc { tls: false })));
    }
}
