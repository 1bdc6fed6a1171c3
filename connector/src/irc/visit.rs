//! A short visit, for `pubbot check`: registers and logs in as the bot would, under a nick of its own, and looks what the bot
//! would find: whether its nick is free, and whether its channels would let it in. Joins nothing, says nothing to anybody.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use irc_proto::{Command, Message, Response};
use protocol::Ambient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::irc::ended::Ended;
use crate::irc::hear::casemap::CaseMapping;
use crate::irc::hear::framing::{Framing, numbered};
use crate::irc::hear::isupport::Isupport;
use crate::irc::reach::check::{ANSWER_WITHIN, Reached, Unreachable};
use crate::irc::reach::dial::{Dialer, Reader, Socket, Writer};
use crate::irc::register::registration::{Registration, Todo};
use crate::irc::speak::line::Line;
use crate::irc::speak::proof::Means;
use crate::irc::{Channel, Network, Server, Sts};

/// How long it may take to look around, once registered: servers let questions wait that come too fast.
const LOOK_WITHIN: Duration = Duration::from_secs(60);
/// How many channels are asked about.
const MAX_CHANNELS: usize = 50;
/// What the visitor's nick ends with; what stands before it is cut, so that any server takes it (RFC 2812, section 1.2.1).
const MARK: &str = "-chk";
const STEM_BYTES: usize = 5;
/// Behind all questions.
const LAST: &str = "pubbot-last";

/// What was found on a server.
#[derive(Debug)]
pub struct Visit {
    /// How it was reached.
    pub reached: Reached,
    /// What is there; or why the bot would not be let in.
    pub found: Result<Found, String>,
}

/// What the bot would find on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How the server proves that it took a line.
    pub proof: Means,
    /// The IRCv3 capabilities that are used and were granted.
    pub capabilities: Vec<&'static str>,
    /// The services account that the login led to.
    pub account: Option<String>,
    /// Who has the bot's nick; `None` if it is free.
    pub holder: Option<Holder>,
    /// The channels of the configuration, and what is in the way of coming in.
    pub channels: Vec<(String, Door)>,
}

/// Somebody who has the bot's nick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The address: `nick!user@host`.
    pub address: String,
    /// The services account, if the server tells it.
    pub account: Option<String>,
}

/// Whether a channel would let the bot in, as far as can be seen from outside. Bans can't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// Nothing is in the way.
    Open,
    /// There is no such channel: the bot would make it.
    New,
    /// The server does not tell those outside; what it said.
    Unknown(String),
    /// Something is in the way, and what to do about it.
    Closed(&'static str),
}

/// Visits a server; one in plain that wants TLS (IRCv3 `sts`) is told nothing, and visited through TLS.
///
/// # Errors
/// [`Unreachable`] when there is no connection, or no IRC server. What is wrong after that stands in [`Visit::found`].
pub async fn visit(
    network: &Network,
    server: &Server,
    sts: &Sts,
    ambient: Arc<dyn Ambient>,
) -> Result<Visit, Unreachable> {
    let (dialer, mut asked_for_tls) = (Dialer::new(network, sts), false);
    loop {
        let socket = dialer.dial_server(server).await?;
        let Socket { reader, writer, server, addresses, address, certificate } = socket;
        let mut visitor = Visitor::new(network, reader, writer, ambient.clone(), &server, sts);
        let outcome = visitor.visit().await;
        if matches!(outcome, Err(Ended::WantsTls(_))) && !std::mem::replace(&mut asked_for_tls, true) {
            continue;
        }
        visitor.leave().await;
        let Some(greeting) = visitor.greeting else { return Err(Unreachable::NoIrc { tls: server.tls }) };
        let (addresses, address) =
            (addresses.iter().map(SocketAddr::ip).collect(), address.map(|address| address.ip()));
        let reached = Reached { server, addresses, address, certificate, greeting };
        return Ok(Visit { reached, found: outcome.map_err(|ended| ended.to_string()) });
    }
}

struct Visitor<'a> {
    /// As configured.
    network: &'a Network,
    reader: Reader,
    writer: Writer,
    framing: Framing,
    registration: Registration,
    isupport: Isupport,
    nick: String,
    account: Option<String>,
    /// The first thing that the server said.
    greeting: Option<String>,
    /// What it said last before it closed the connection.
    last_words: Option<String>,
    /// The server, where it is spoken to in plain, and who knows whether it may be.
    in_plain: Option<(Server, Sts)>,
}

impl<'a> Visitor<'a> {
    fn new(
        network: &'a Network,
        reader: Reader,
        writer: Writer,
        ambient: Arc<dyn Ambient>,
        server: &Server,
        sts: &Sts,
    ) -> Self {
        let stem = &network.nick[..network.nick.floor_char_boundary(STEM_BYTES)];
        let nick = format!("{stem}{MARK}");
        let mut registration = Registration::new(Arc::new(Network { nick: nick.clone(), ..network.clone() }), ambient);
        if !server.tls {
            registration.in_plain();
        }
        Visitor {
            network,
            reader,
            writer,
            framing: Framing::new(&network.name),
            registration,
            isupport: Isupport::default(),
            nick,
            account: None,
            greeting: None,
            last_words: None,
            in_plain: (!server.tls).then(|| (server.clone(), sts.clone())),
        }
    }

    async fn visit(&mut self) -> Result<Found, Ended> {
        self.register().await?;
        let (holder, channels) = self.look_around().await?;
        let proof = self.registration.agreed().means();
        let capabilities = self.registration.granted().to_vec();
        Ok(Found { proof, capabilities, account: self.account.take(), holder, channels })
    }

    /// From the first line to the welcome.
    async fn register(&mut self) -> Result<(), Ended> {
        let lines = self.registration.opening();
        self.send(&lines).await?;
        let silent_at = Instant::now() + ANSWER_WITHIN;
        loop {
            let until = self.registration.until().unwrap_or(silent_at);
            let until = if self.greeting.is_none() { until.min(silent_at) } else { until };
            let Some(message) = self.hear(until).await? else {
                if self.greeting.is_none() {
                    return Err(Ended::NotWelcomed);
                }
                let todo = self.registration.late()?;
                self.go_on(todo).await?;
                continue;
            };
            if let Some((server, sts)) = &self.in_plain {
                sts.hear(server, &message.command)?;
            }
            if let Some((900, parameters)) = numbered(&message.command) {
                self.account = parameters.get(2).cloned();
            }
            if let Some(todo) = self.registration.hear(&message)? {
                self.go_on(todo).await?;
                continue;
            }
            match numbered(&message.command) {
                Some((1, parameters)) => {
                    self.registration.welcomed()?;
                    self.nick = parameters.first().unwrap_or(&self.nick).clone();
                    return Ok(());
                }
                Some((432 | 433 | 437, parameters)) => {
                    let refusal = parameters.last().map_or("", String::as_str);
                    self.nick = self.registration.next_nick(refusal)?;
                    self.send(&[Line::nick(&self.nick)]).await?;
                }
                Some((400.., parameters)) => self.last_words = Some(parameters.get(1..).unwrap_or_default().join(" ")),
                _ => {}
            }
        }
    }

    async fn go_on(&mut self, todo: Todo) -> Result<(), Ended> {
        let lines = self.registration.lines(todo).await?;
        self.send(&lines).await
    }

    /// Asks who has the nick, and for the modes of each channel; a PONG ends the answers.
    async fn look_around(&mut self) -> Result<(Option<Holder>, Vec<(String, Door)>), Ended> {
        let wanted: Vec<&Channel> = self.network.channels.iter().take(MAX_CHANNELS).collect();
        let mut lines = vec![Line::whois(&self.network.nick)];
        lines.extend(wanted.iter().map(|channel| Line::ask_for_modes(&channel.name)));
        lines.push(Line::ping(LAST));
        self.send(&lines).await?;
        let mut answers = Answers::default();
        let until = Instant::now() + LOOK_WITHIN;
        while let Some(message) = self.hear(until).await? {
            match &message.command {
                Command::PONG(first, second) if second.as_ref().unwrap_or(first) == LAST => break,
                Command::Response(Response::RPL_ISUPPORT, parameters) => {
                    parameters.iter().skip(1).for_each(|parameter| self.isupport.take(parameter));
                }
                command => answers.take(command, &self.isupport, &self.network.nick),
            }
        }
        let logged_in = self.account.is_some();
        let door = |channel: &Channel| (channel.name.clone(), answers.door(channel, logged_in, &self.isupport));
        let doors = wanted.into_iter().map(door).collect();
        Ok((answers.holder, doors))
    }

    /// The next message that is no PING; `None` when it is not there in time.
    async fn hear(&mut self, until: Instant) -> Result<Option<Message>, Ended> {
        let mut bytes = [0; 4096];
        loop {
            while let Some(message) = self.framing.next_message() {
                self.greeting.get_or_insert_with(|| message.to_string().trim_end().to_owned());
                match message.command {
                    Command::PING(token, _) => self.send(&[Line::pong(&token)]).await?,
                    Command::ERROR(why) => self.last_words = Some(why),
                    _ => return Ok(Some(message)),
                }
            }
            let Ok(read) = timeout_at(until, self.reader.read(&mut bytes)).await else { return Ok(None) };
            match read.map_err(Ended::Reading)? {
                0 => return Err(Ended::Closed(self.last_words.take())),
                length => self.framing.feed(&bytes[..length]),
            }
        }
    }

    async fn send(&mut self, lines: &[Line]) -> Result<(), Ended> {
        let writing = async {
            for line in lines {
                self.writer.write_all(line.bytes()).await?;
            }
            self.writer.flush().await
        };
        match timeout_at(Instant::now() + ANSWER_WITHIN, writing).await {
            Ok(Ok(())) => Ok(()),
            // what the server said last may tell more, and is read next
            Ok(Err(why)) if why.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Ok(Err(why)) => Err(Ended::Reading(why)),
            Err(_) => Err(Ended::Writing),
        }
    }

    /// A courtesy: the connection is dropped in any case.
    async fn leave(&mut self) {
        if let Err(why) = self.send(&[Line::quit("")]).await {
            tracing::debug!(network = self.network.name, %why, "QUIT was not written");
        }
    }
}

/// What the server answers to the questions.
#[derive(Default)]
struct Answers {
    holder: Option<Holder>,
    /// By the channel's folded name: its modes, or what was said instead.
    channels: BTreeMap<String, Result<String, (u16, String)>>,
}

impl Answers {
    fn take(&mut self, command: &Command, isupport: &Isupport, nick: &str) {
        let Some((number, [_, about, rest @ ..])) = numbered(command) else { return };
        let first = rest.first().map_or("", String::as_str);
        match number {
            // RPL_WHOISUSER, RPL_WHOISACCOUNT
            311 if isupport.casemapping.same(about, nick) => {
                let host = rest.get(1).map_or("", String::as_str);
                self.holder = Some(Holder { address: format!("{about}!{first}@{host}"), account: None });
            }
            330 => {
                if let Some(holder) = &mut self.holder {
                    holder.account = Some(first.to_owned());
                }
            }
            // RPL_CHANNELMODEIS
            324 => self.note(isupport.casemapping, about, Ok(first.to_owned())),
            400.. if isupport.is_channel(about) => {
                let why = rest.last().cloned().unwrap_or_default();
                self.note(isupport.casemapping, about, Err((number, why)));
            }
            _ => {}
        }
    }

    /// Only of as many channels as were asked about: a server that tells more is not listened to.
    fn note(&mut self, casemapping: CaseMapping, channel: &str, answer: Result<String, (u16, String)>) {
        if self.channels.len() < MAX_CHANNELS {
            self.channels.insert(casemapping.fold(channel), answer);
        }
    }

    fn door(&self, channel: &Channel, logged_in: bool, isupport: &Isupport) -> Door {
        let has_mode = |modes: &str, mode: char| modes.contains(mode);
        match self.channels.get(&isupport.casemapping.fold(&channel.name)) {
            None => Door::Unknown("the server did not answer".to_owned()),
            // ERR_NOSUCHCHANNEL, or in ngircd's words ERR_NOSUCHNICK
            Some(Err((401 | 403, _))) => Door::New,
            Some(Err((_, why))) => Door::Unknown(why.clone()),
            Some(Ok(modes)) if has_mode(modes, 'i') => {
                Door::Closed("it is invite-only (+i): exempt the bot there (+I), or invite it when it has come")
            }
            Some(Ok(modes)) if has_mode(modes, 'k') && channel.key.is_none() => {
                Door::Closed("it has a key (+k): write { name, key } in channels")
            }
            Some(Ok(modes)) if has_mode(modes, isupport.channel_modes.registered_only()) && !logged_in => {
                Door::Closed("it lets only those in who are logged in to services: configure account")
            }
            Some(Ok(_)) => Door::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use crate::irc::tests::world::network;
    use crate::testing::TestAmbient;
    use tokio::net::{TcpListener, TcpStream};

    async fn answer(stream: &mut TcpStream, seen: &mut String, line: &str) {
        let mut bytes = [0; 1024];
        let length = stream.read(&mut bytes).await.unwrap();
        seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
        stream.write_all(line.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_wants_tls_is_told_no_password_and_not_even_goodbye() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::plain("127.0.0.1", listener.local_addr().unwrap().port());
        let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let network = Network { password: Some(Secret::new("sesame")), servers: vec![server.clone()], ..network() };
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = String::new();
            answer(&mut stream, &mut seen, &format!(":irc.test CAP * LS :sts=port={nowhere}\r\n")).await;
            answer(&mut stream, &mut seen, "").await;
            seen
        });
        let ambient = TestAmbient::arc();
        let visited = visit(&network, &server, &Sts::in_memory(ambient.clone()), ambient).await;
        assert_eq!(serving.await.unwrap(), "CAP LS 302\r\n");
        // through TLS it is asked for, where nobody is
        let why = visited.unwrap_err().to_string();
        assert!(why.contains(&format!("port {nowhere}")), "{why}");
    }
}
