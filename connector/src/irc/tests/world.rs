//! A network in a test: the connector runs against an embedded broker, and the test plays the server.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bus::{
    Address, Broker, Confirm, Consumer, Delivery, Embedded, Lease, Lock, Message, Properties, Queue, Topology,
    boot_time,
};
use protocol::{Ambient, Pattern};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::Secret;
use crate::irc::connector::Connector;
use crate::irc::reach::dial::{Dial, DialError, Socket};
use crate::irc::reach::trust::Distrust;
use crate::irc::{Channel, Flood, Network, Server as Place, Sts, Tls};
use crate::testing::TestAmbient;

/// Longer than anything that the connector waits for, on the paused clock.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Longer than any test takes.
pub const AN_HOUR: Duration = Duration::from_secs(3600);
/// How many bytes may be under way in one direction.
const PIPE_BYTES: usize = 64 * 1024;

/// A connector with its broker, and the servers that it dials.
pub struct World {
    pub broker: Arc<Shaky>,
    pub dialer: Arc<TestDialer>,
    pub stop: CancellationToken,
    dialed: mpsc::Receiver<DuplexStream>,
    tail: Consumer,
    running: JoinHandle<Result<(), bus::Error>>,
}

/// The network `test` with the channels `#a` and, with the key `sesame`, `#secret`; no flood limit.
pub fn network() -> Network {
    Network {
        name: "test".into(),
        servers: vec![Place::plain("irc.test", 6667)],
        tls: Tls::default(),
        nick: "pubbot".into(),
        user: "pub".into(),
        realname: "A bot".into(),
        password: None,
        login: crate::irc::Login::default(),
        modes: None,
        channels: vec![
            Channel { name: "#a".into(), key: None, answers: crate::irc::Answers::All },
            Channel { name: "#secret".into(), key: Some(Secret::new("sesame")), answers: crate::irc::Answers::All },
        ],
        invites: Default::default(),
        ignore: Vec::new(),
        flood: Flood::Off,
        expiry: crate::Expiry::default(),
        unproved: crate::irc::UNPROVED,
        answers_window: Duration::from_millis(150),
        permits: crate::Permits::default(),
        linger: Duration::ZERO,
        place: 0,
    }
}

impl World {
    pub async fn new() -> Self {
        Self::of(network()).await
    }

    pub async fn of(network: Network) -> Self {
        Self::on(Arc::new(Shaky::default()), network).await
    }

    /// One more connector on this broker.
    pub async fn on(broker: Arc<Shaky>, network: Network) -> Self {
        Self::build(TestAmbient::arc(), Sts::in_memory(TestAmbient::arc()), broker, network).await
    }

    /// One that knows which hosts want TLS only.
    pub async fn knowing(sts: Sts, broker: Arc<Shaky>, network: Network) -> Self {
        Self::build(TestAmbient::arc(), sts, broker, network).await
    }

    /// One with another clock.
    pub async fn at(ambient: Arc<dyn Ambient>, broker: Arc<Shaky>, network: Network) -> Self {
        Self::build(ambient.clone(), Sts::in_memory(ambient), broker, network).await
    }

    async fn build(ambient: Arc<dyn Ambient>, sts: Sts, broker: Arc<Shaky>, network: Network) -> Self {
        let everything =
            broker.inner.topology().tail(["chat.#", "gap.#"].map(|pattern| Pattern::parse(pattern).unwrap()).to_vec());
        let tail = broker.inner.consume(everything, 10_000).await.unwrap();
        let (sender, dialed) = mpsc::channel(1);
        let dialer = Arc::new(TestDialer {
            sender,
            sts: sts.clone(),
            refusals: AtomicU32::new(0),
            is_distrusted: AtomicBool::new(false),
            dials: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let connector = Connector::new(network, broker.clone(), ambient, None, sts, stop.clone());
        let running = tokio::spawn(connector.run(dialer.clone()));
        World { broker, dialer, stop, dialed, tail, running }
    }

    /// A world in which the bot is registered and in `#a`; its joining is over.
    pub async fn in_a() -> (Self, Server) {
        Self::in_a_of(network()).await
    }

    pub async fn in_a_of(network: Network) -> (Self, Server) {
        Self::of(network).await.enters(&[]).await
    }

    /// A world in which the bot is in `#a` of a server with these capabilities.
    pub async fn in_a_with(capabilities: &[&str], network: Network) -> (Self, Server) {
        Self::of(network).await.enters(capabilities).await
    }

    /// Dials, registers and enters `#a`.
    pub async fn enters(mut self, capabilities: &[&str]) -> (Self, Server) {
        let server = self.reenters(capabilities).await;
        (self, server)
    }

    /// Does so on its next connection.
    pub async fn reenters(&mut self, capabilities: &[&str]) -> Server {
        let mut server = self.server().await;
        server.welcomes_with(capabilities).await;
        server.lets_in("#a", "pubbot @alice +Bob").await;
        self.event("chat.irc.#a.join").await;
        self.event("chat.irc.#a.names").await;
        server
    }

    /// Nobody is dialed for so long.
    pub async fn dials_nobody_for(&mut self, long: Duration) {
        assert!(timeout(long, self.dialed.recv()).await.is_err(), "it dialed");
    }

    /// The dead letters so far, at least so many.
    pub async fn dead(&self, count: usize) -> Vec<Delivery> {
        let mut dead = self.broker.inner.consume(self.broker.topology().dead(), 100).await.unwrap();
        let mut letters = Vec::new();
        while letters.len() < count {
            letters.push(timeout(PATIENCE, dead.next()).await.expect("no dead letter").unwrap());
        }
        letters
    }

    /// What was written down of what was said and chosen, as text; not who speaks.
    pub async fn records(&self) -> Vec<String> {
        let stream = self.broker.topology().said("irc", "test");
        let records = self.broker.inner.read_stream(stream).await.unwrap();
        let records = records.iter().map(|record| String::from_utf8(record.to_vec()).unwrap());
        // who writes is not what was said
        records.filter(|record| !record.contains("holder")).collect()
    }

    /// The next connection.
    pub async fn server(&mut self) -> Server {
        self.server_within(PATIENCE).await
    }

    /// The same where it takes longer.
    pub async fn server_within(&mut self, long: Duration) -> Server {
        let stream = timeout(long, self.dialed.recv()).await.expect("nobody dialed").unwrap();
        let (reader, writer) = tokio::io::split(stream);
        Server { reader: BufReader::new(reader), writer }
    }

    /// The next event, whatever it is: its key and its body.
    pub async fn any_event(&mut self) -> (String, Value) {
        let delivery = timeout(PATIENCE, self.tail.next()).await.expect("there was no event").unwrap();
        let found = (delivery.key.to_string(), serde_json::from_slice(&delivery.body).unwrap());
        delivery.acknowledge();
        found
    }

    /// The body of the next event, which must have this key.
    pub async fn event(&mut self, key: &str) -> Value {
        let (found, body) = self.any_event().await;
        assert_eq!(found, key, "{body}");
        body
    }

    /// Puts an answer into the network's reply queue.
    pub async fn answers(&self, reply: Value) {
        self.puts(&self.broker.topology().replies_name("irc", "test"), reply.to_string().as_bytes()).await;
    }

    /// Puts a notice into the queue of what nobody waits for.
    pub async fn notifies(&self, reply: Value) {
        self.puts(&self.broker.topology().notices_name("irc", "test"), reply.to_string().as_bytes()).await;
    }

    /// Puts any bytes into a queue.
    pub async fn puts(&self, queue: &str, body: &[u8]) {
        let to = Address::Queue(queue.to_owned());
        let body = body.to_vec().into();
        let message = Message { to, mandatory: true, properties: Properties::default(), body };
        self.broker.inner.publish(message).await.await.unwrap();
    }

    /// How many answers are in the queue or on their way.
    pub fn unsaid(&self) -> usize {
        self.broker.inner.held(&self.broker.topology().replies_name("irc", "test"))
    }

    /// How many replies were buried.
    pub fn buried(&self) -> usize {
        self.broker.inner.held(&self.broker.topology().dead().name)
    }

    /// Waits until everything in the reply queues is settled; the bot says nothing more meanwhile.
    pub async fn settled(&self, server: &mut Server) {
        tokio::select! {
            settled = timeout(PATIENCE, self.broker.inner.idle()) => settled.expect("a reply was not settled"),
            line = server.line() => panic!("the bot said {line:?}"),
        }
    }

    /// Stops the connector, which must say goodbye; no event may be left.
    pub async fn ends(mut self, mut server: Server) {
        self.stop.cancel();
        server.hears("QUIT :pubbot").await;
        server.hears_the_end().await;
        drop(server);
        timeout(PATIENCE, self.running).await.expect("it did not end").unwrap().unwrap();
        self.broker.inner.close().await;
        if let Some(left) = self.tail.next().await {
            panic!("an event was left: {left:?}");
        }
    }

    /// Stops the connector and lets it leave this server, which answers fences.
    pub async fn leaves(self, mut server: Server) {
        self.stop.cancel();
        server.hears("QUIT :pubbot").await;
        server.hears_the_end().await;
        drop(server);
        self.result().await.unwrap();
    }

    /// Ends as a process that is killed: nothing more is done.
    pub async fn dies(self) {
        self.running.abort();
        self.running.await.unwrap_err();
    }

    /// Waits for the connector's own end.
    pub async fn result(self) -> Result<(), bus::Error> {
        timeout(PATIENCE, self.running).await.expect("it did not end").unwrap()
    }
}

/// The server's end of a connection.
pub struct Server {
    reader: BufReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
}

impl Server {
    /// Sends a line.
    pub async fn says(&mut self, line: &str) {
        self.sends(format!("{line}\r\n").as_bytes()).await;
    }

    /// Sends bytes as they are.
    pub async fn sends(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.unwrap();
    }

    /// The next line of the bot but for what every server sees: it knows nothing of capabilities, and answers fences.
    pub async fn line(&mut self) -> String {
        loop {
            let line = self.any_line().await;
            match line.strip_prefix("PING :pubbot-") {
                // it may be gone already
                Some(number) => drop(self.writer.write_all(format!("PONG :pubbot-{number}\r\n").as_bytes()).await),
                None if line == "CAP LS 302" => {}
                None => return line,
            }
        }
    }

    /// The next line of the bot, without its end, which must be CR LF.
    pub async fn any_line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.reader.read_line(&mut line)).await.expect("the bot said nothing").unwrap();
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("no complete line: {line:?}")).to_owned()
    }

    /// The next line of the bot, whatever it is, if it comes until then.
    pub async fn line_until(&mut self, until: Instant) -> Option<String> {
        timeout_at(until, self.any_line()).await.ok()
    }

    /// The bot says nothing at all for so long, not even a fence; its PINGs into the silence don't count.
    pub async fn hears_nothing_for(&mut self, long: Duration) {
        let until = Instant::now() + long;
        while let Ok(line) = timeout_at(until, self.any_line()).await {
            // a fence that is asked for again stays without an answer
            if !line.starts_with("PING :pubbot-") {
                assert_eq!(line, "PING :pubbot");
                self.says("PONG :pubbot").await;
            }
        }
    }

    /// The next line of the bot, whatever it is, must be this one.
    pub async fn hears_exactly(&mut self, expected: &str) {
        assert_eq!(self.any_line().await, expected);
    }

    /// The bot asks for a fence, and gets it.
    pub async fn is_asked_for_a_fence(&mut self) -> String {
        let line = self.any_line().await;
        let number = line.strip_prefix("PING :").filter(|token| token.starts_with("pubbot-"));
        number.unwrap_or_else(|| panic!("no fence: {line}")).to_owned()
    }

    pub async fn answers_a_fence(&mut self) {
        let token = self.is_asked_for_a_fence().await;
        self.says(&format!(":irc.test PONG irc.test :{token}")).await;
    }

    /// The next line of the bot must be this one.
    pub async fn hears(&mut self, expected: &str) {
        assert_eq!(self.line().await, expected);
    }

    /// The next text that the bot says in `#a`; a few of its PINGs are answered meanwhile.
    pub async fn said(&mut self) -> String {
        for _ in 0..10 {
            let line = self.line().await;
            match line.strip_prefix("PRIVMSG #a :") {
                Some(text) => return text.to_owned(),
                None => assert_eq!(line, "PING :pubbot"),
            }
            self.says("PONG :pubbot").await;
        }
        panic!("the bot said nothing");
    }

    /// The bot says nothing more before it has closed its side.
    pub async fn hears_the_end(&mut self) {
        let mut rest = String::new();
        timeout(PATIENCE, self.reader.read_to_string(&mut rest)).await.expect("the bot did not close").unwrap();
        let said: Vec<&str> = rest.lines().filter(|line| !line.starts_with("PING :pubbot-")).collect();
        assert!(said.is_empty(), "{said:?}");
    }

    /// A PING and its PONG: whatever the bot did before is done.
    pub async fn fence(&mut self) {
        self.says("PING :fence").await;
        self.hears("PONG :fence").await;
    }

    /// Takes the registration, and the JOIN that follows.
    pub async fn welcomes(&mut self) {
        self.welcomes_with(&[]).await;
    }

    /// The same, of a server that offers these capabilities, or knows nothing of them.
    pub async fn welcomes_with(&mut self, capabilities: &[&str]) {
        if !capabilities.is_empty() {
            self.hears_exactly("CAP LS 302").await;
        }
        self.hears("NICK pubbot").await;
        self.hears("USER pub 0 * :A bot").await;
        if !capabilities.is_empty() {
            self.says(&format!(":irc.test CAP * LS :{}", capabilities.join(" "))).await;
            let names: Vec<&str> = capabilities.iter().filter_map(|capability| capability.split('=').next()).collect();
            let list = names.join(" ");
            self.hears(&format!("CAP REQ :{list}")).await;
            self.hears("CAP END").await;
            self.says(&format!(":irc.test CAP * ACK :{list}")).await;
        }
        self.says(":irc.test 001 pubbot :Welcome pubbot!pub@bot.host").await;
        self.says(":irc.test 005 pubbot CASEMAPPING=rfc1459 PREFIX=(ov)@+ CHANTYPES=#& :are supported").await;
        self.says(":irc.test 422 pubbot :no motd").await;
        self.hears("JOIN #secret,#a sesame").await;
        // it is not asked for again
        self.says(":irc.test 403 pubbot #secret :No such channel").await;
    }

    /// Lets the bot into a channel with these names.
    pub async fn lets_in(&mut self, channel: &str, names: &str) {
        self.says(&format!(":pubbot!pub@bot.host JOIN {channel}")).await;
        self.says(&format!(":irc.test 353 pubbot = {channel} :{names}")).await;
        self.says(&format!(":irc.test 366 pubbot {channel} :End of /NAMES list.")).await;
    }
}

/// Gives each connection's other end to the test; refuses as often as it is told to.
pub struct TestDialer {
    sender: mpsc::Sender<DuplexStream>,
    sts: Sts,
    pub refusals: AtomicU32,
    /// The server's certificate is not to be trusted.
    pub is_distrusted: AtomicBool,
    /// When it was dialed so far.
    pub dials: Mutex<Vec<Instant>>,
}

impl Dial for Arc<TestDialer> {
    async fn dial(&self) -> Result<Socket, DialError> {
        self.dials.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        if self.is_distrusted.load(Ordering::Relaxed) {
            let distrust = Distrust::Unusable("told so".into());
            return Err(DialError::Untrusted { server: self.server().to_string(), distrust });
        }
        if self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            let why = io::ErrorKind::ConnectionRefused.into();
            return Err(DialError::Refused { server: self.server().to_string(), why });
        }
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        self.sender.send(theirs).await.unwrap();
        let (reader, writer) = tokio::io::split(ours);
        let (reader, writer) = (Box::new(reader), Box::new(writer));
        Ok(Socket { reader, writer, server: self.server(), addresses: Vec::new(), address: None, certificate: None })
    }
}

impl TestDialer {
    /// The only one there is.
    fn server(&self) -> Place {
        self.sts.as_dialed(&Place::plain("irc.test", 6667))
    }
}

/// A broker that can be made to fail.
pub struct Shaky {
    pub inner: Embedded,
    /// How many of the next messages it does not take.
    pub publish_failures: AtomicU32,
    /// How long it takes to take a message, in ms.
    pub publish_takes: AtomicU32,
    /// How long it takes to read a stream, in ms.
    pub read_takes: AtomicU32,
    /// How many of the next queues it does not declare.
    pub declare_failures: AtomicU32,
    /// How many of the next consumers it does not give.
    pub consume_failures: AtomicU32,
    /// Locks are leased for a time, and nobody gets one but by `locks`.
    pub leases_locks: AtomicBool,
    /// How many locks may still be given.
    pub locks: Semaphore,
    /// It doesn't say how long a queue is.
    pub is_away: AtomicBool,
    /// The leases given so far.
    pub leases: Mutex<Vec<Lease>>,
}

impl Shaky {
    /// A broker that leases its lock, once as yet.
    pub fn leasing() -> Arc<Self> {
        let shaky = Shaky::default();
        shaky.leases_locks.store(true, Ordering::Relaxed);
        shaky.locks.add_permits(1);
        Arc::new(shaky)
    }

    /// The lease given last.
    pub fn lease(&self) -> Lease {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).last().expect("no lock was given").clone()
    }
}

impl Default for Shaky {
    fn default() -> Self {
        Shaky {
            inner: Embedded::new(Topology::default()),
            publish_failures: AtomicU32::new(0),
            publish_takes: AtomicU32::new(0),
            read_takes: AtomicU32::new(0),
            declare_failures: AtomicU32::new(0),
            consume_failures: AtomicU32::new(0),
            leases_locks: AtomicBool::new(false),
            locks: Semaphore::new(0),
            is_away: AtomicBool::new(false),
            leases: Mutex::default(),
        }
    }
}

fn fails(failures: &AtomicU32) -> bool {
    failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

fn away() -> bus::Error {
    bus::Error::Away { broker: "test".into(), why: "told to fail".into() }
}

#[async_trait]
impl Broker for Shaky {
    fn topology(&self) -> &Topology {
        self.inner.topology()
    }

    async fn publish(&self, message: Message) -> Confirm {
        let takes = self.publish_takes.load(Ordering::Relaxed);
        if takes > 0 {
            tokio::time::sleep(Duration::from_millis(takes.into())).await;
        }
        match fails(&self.publish_failures) {
            true => Confirm::known(Err(away())),
            false => self.inner.publish(message).await,
        }
    }

    async fn declare(&self, queue: Queue) -> Result<(), bus::Error> {
        if fails(&self.declare_failures) { Err(away()) } else { self.inner.declare(queue).await }
    }

    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Consumer, bus::Error> {
        if fails(&self.consume_failures) { Err(away()) } else { self.inner.consume(queue, prefetch).await }
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>, bus::Error> {
        if self.is_away.load(Ordering::Relaxed) { Err(away()) } else { self.inner.depth(queue).await }
    }

    async fn read_stream(&self, stream: Queue) -> Result<Vec<Bytes>, bus::Error> {
        tokio::time::sleep(Duration::from_millis(self.read_takes.load(Ordering::Relaxed).into())).await;
        self.inner.read_stream(stream).await
    }

    async fn lock(&self, name: &str) -> Result<Lock, bus::Error> {
        if !self.leases_locks.load(Ordering::Relaxed) {
            return self.inner.lock(name).await;
        }
        self.locks.acquire().await.unwrap().forget();
        let lease = Lease::starting(boot_time(), AN_HOUR);
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).push(lease.clone());
        Ok(Lock::new(lease, ()))
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
