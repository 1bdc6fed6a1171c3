//! What was said while the bot was away comes out of the network's history: to those who ask for it, once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bus::{Broker, RabbitMq, System, Topology};
use protocol::{Ambient, Chat, Timestamp};
use servers::{FakeIrc, FakeOptions, PATIENCE, Program};
use tokio_util::sync::CancellationToken;
use worker::{Event, Plugin, State, Worker, event};

use crate::world::{Kind, World};

/// A network that remembers what alice says in its only channel.
struct Network {
    irc: FakeIrc,
    said: Arc<Mutex<Vec<(Timestamp, String)>>>,
}

impl Network {
    fn start() -> Self {
        let said = Arc::default();
        let capabilities = ["message-tags", "batch", "server-time", "draft/chathistory"].map(str::to_owned).into();
        let script = {
            let said = Arc::clone(&said);
            move |line: &[u8]| history(&said, std::str::from_utf8(line).ok()?)
        };
        let isupport = "CHATHISTORY=7 MSGREFTYPES=msgid,timestamp".to_owned();
        let options = FakeOptions { capabilities, isupport, script: Some(Box::new(script)), ..FakeOptions::default() };
        Network { irc: FakeIrc::start_with(options), said }
    }

    /// Alice says some lines; whoever is there hears them.
    fn hears_alice_say(&self, numbers: std::ops::Range<usize>) {
        for n in numbers {
            let text = format!("!echo n{n}");
            let mut said = self.said.lock().unwrap();
            said.push((System.now(), text));
            let line = line(said.len(), &said[said.len() - 1], "");
            self.irc.send(line.as_bytes());
        }
    }
}

fn line(number: usize, (at, text): &(Timestamp, String), tags: &str) -> String {
    format!("@{tags}msgid=m{number};time={at} :alice!alice@fake.host PRIVMSG #room :{text}\r\n")
}

/// What the server answers to CHATHISTORY; `None` for any other line.
fn history(said: &Mutex<Vec<(Timestamp, String)>>, asked: &str) -> Option<Vec<u8>> {
    let mut words = asked.strip_prefix("CHATHISTORY ")?.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let (what, target, reference, limit) = (next(), next(), next(), next());
    if what == "TARGETS" {
        return Some(b":fake.irc BATCH +t draft/chathistory-targets\r\n:fake.irc BATCH -t\r\n".into());
    }
    let is_after = |number: usize, at: Timestamp| match reference.split_once('=') {
        Some(("msgid", id)) => id.strip_prefix('m').and_then(|id| id.parse().ok()).is_some_and(|id| number > id),
        Some(("timestamp", since)) => Timestamp::parse(since).is_some_and(|since| at > since),
        _ => panic!("the bot asked {asked:?}"),
    };
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let page = (1..).zip(said.iter()).filter(|(number, (at, _))| is_after(*number, *at)).take(limit.parse().unwrap());
    let lines: String = page.map(|(number, said)| line(number, said, "batch=h;")).collect();
    Some(format!(":fake.irc BATCH +h chathistory {target}\r\n{lines}:fake.irc BATCH -h\r\n").into_bytes())
}

type Archived = Arc<Mutex<Vec<(String, bool)>>>;

async fn archive(archived: State<Archived>, said: Event<Chat>) {
    archived.lock().unwrap().push((said.body.content.clone(), said.body.replayed));
}

/// A worker beside those of the bot, with a handler that asks for what was replayed.
struct Archive {
    archived: Archived,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Archive {
    fn start(world: &World) -> Self {
        let (archived, stop) = (Archived::default(), CancellationToken::new());
        let (url, topology) = (world.broker_url().to_owned(), Topology::new(world.prefix()));
        let (state, stopped) = (archived.clone(), stop.clone());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let broker = RabbitMq::connect(&url, topology, "archive", Arc::new(System)).await.unwrap();
                let plugin = Plugin::new("archive").state(state).on(event("chat.irc.*.chat").replayed(), archive);
                let broker: Arc<dyn Broker> = Arc::new(broker);
                let attached = Worker::new("archive").plugin(plugin).attach(broker.clone()).await.unwrap();
                ready.send(()).unwrap();
                attached.work(stopped).await.unwrap();
                broker.close().await;
            });
        });
        is_ready.recv().unwrap();
        Archive { archived, stop, thread: Some(thread) }
    }

    /// Waits until so many lines have come, and a moment for those that should not: how many were replayed. Each must have
    /// come once.
    fn has(&self, count: usize) -> usize {
        let until = Instant::now() + PATIENCE;
        while self.archived.lock().unwrap().len() < count && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_secs(2));
        let archived = self.archived.lock().unwrap();
        let mut lines: Vec<&str> = archived.iter().map(|(text, _)| text.as_str()).collect();
        lines.sort_by_key(|line| (line.len(), *line));
        let expected: Vec<String> = (0..count).map(|n| format!("!echo n{n}")).collect();
        assert_eq!(lines, expected);
        archived.iter().filter(|(_, replayed)| *replayed).count()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.stop.cancel();
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// Another connector that knows of the gap.
fn successor(world: &World, irc: &FakeIrc) -> Program {
    irc.wait_for_leave();
    let connector = world.start(&["connector"]);
    irc.wait_for_join("#room");
    connector
}

#[test]
fn what_was_said_while_the_bot_was_away_comes_once_and_is_not_answered() {
    let network = Network::start();
    let world = World::new(Kind::Spread, network.irc.port(), &["#room"]);
    let archive = Archive::start(&world);
    let mut bot = world.bot(1);
    network.irc.wait_for_join("#room");
    network.hears_alice_say(0..20);
    assert_eq!(archive.has(20), 0);

    // the connection is lost
    network.irc.refuse_connections(true);
    network.irc.disconnect();
    network.hears_alice_say(20..40);
    network.irc.refuse_connections(false);
    assert_eq!(archive.has(40), 20);

    // the connector is killed right after it has heard something, and another one takes its place
    network.hears_alice_say(40..60);
    archive.has(60);
    bot[0].kill();
    network.hears_alice_say(60..80);
    bot[0] = successor(&world, &network.irc);
    assert_eq!(archive.has(80), 40);

    // what was heard live is answered, and nothing else
    let mut answers = Vec::new();
    while let Some(line) = network.irc.try_next_said(Duration::from_secs(1)) {
        answers.push(line.said().unwrap().1);
    }
    let expected: Vec<String> = (0..20).chain(40..60).map(|n| format!("n{n}")).collect();
    assert_eq!(answers, expected);
}

/// The embedded broker keeps on disk up to when everything was heard.
#[test]
fn a_killed_up_asks_from_where_it_was_killed() {
    let network = Network::start();
    let world = World::new(Kind::Up, network.irc.port(), &["#room"]);
    let mut bot = world.bot(0);
    network.irc.wait_for_join("#room");
    network.hears_alice_say(0..1);
    // it is written down every 5 s
    std::thread::sleep(Duration::from_secs(7));
    let last = network.said.lock().unwrap().last().unwrap().0;
    bot[0].kill();
    network.hears_alice_say(1..2);
    let _bot = world.bot(0);
    let mut asked = std::iter::repeat_with(|| network.irc.next_line().text());
    let since = asked.find_map(|line| line.strip_prefix("CHATHISTORY AFTER #room timestamp=").map(str::to_owned));
    let since = since.and_then(|since| Timestamp::parse(since.split(' ').next().unwrap())).unwrap();
    assert_eq!(since, last.minus(Duration::from_secs(10)));
}
