//! Row 12: an event whose handler ends the whole process, on a real RabbitMQ with real processes. The worker's process is
//! this executable again, started for the one test that is ignored otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, Consumer, DeadLetter, Durability, Embedded, Message, RabbitMq, System, Topology};
use protocol::{Ambient, Event, Reply, ReplyContext, RoutingKey};
use servers::Program;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::{Args, Batch, Error, Plugin, State, Worker, command, event};

/// Where the process of an `up` has its queues.
const FOLDER: &str = "PUBBOT_TEST_WORKER_FOLDER";
/// Where the worker's process finds its broker, and what its names begin with.
const URL: &str = "PUBBOT_TEST_WORKER_URL";
const PREFIX: &str = "PUBBOT_TEST_WORKER_PREFIX";
const INNOCENTS: u128 = 200;
const KILLER: u128 = 100;
const WORKERS: usize = 2;
/// Everything together, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long nothing may come when all is done.
const SILENCE: Duration = Duration::from_secs(1);

async fn echo(args: Args) -> Result<String, Error> {
    if &*args == "die" {
        std::process::abort();
    }
    // so that others are at work when the killer comes
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(args.0)
}

fn worker() -> Worker {
    Worker::new("main").plugin(Plugin::new("p").on(command("echo"), echo))
}

#[tokio::test]
#[ignore = "it is the worker's process in the other test"]
async fn the_process_of_a_worker() {
    #[expect(clippy::disallowed_methods, reason = "the other test says so by the environment")]
    let [url, prefix] = [URL, PREFIX].map(|name| std::env::var(name).unwrap());
    let broker = RabbitMq::connect(&url, Topology::new(&prefix), "worker", Arc::new(System)).await.unwrap();
    worker().run(Arc::new(broker), CancellationToken::new()).await.unwrap();
}

/// As `pubbot up` does: broker and worker in one process. Ends when all is done.
#[tokio::test]
#[ignore = "it is the process in the other test"]
async fn the_process_of_an_up() {
    #[expect(clippy::disallowed_methods, reason = "the other test says so by the environment")]
    let folder = std::env::var(FOLDER).unwrap();
    let broker = open(Path::new(&folder));
    let worker = worker().attach(Arc::new(broker.clone())).await.unwrap();
    let stop = CancellationToken::new();
    let working = tokio::spawn(worker.work(stop.clone()));
    let queues = [broker.topology().worker("main", vec![]).name, broker.topology().suspect("main").name];
    while queues.iter().any(|queue| broker.held(queue) > 0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    working.await.unwrap().unwrap();
}

/// Writes down what is said, and dies of what is to die.
async fn write_down(batch: Batch, file: State<std::path::PathBuf>) -> Result<(), Error> {
    use std::io::Write;
    let said: Vec<String> = batch.into_iter().filter_map(|it| it.chat).map(|chat| chat.content).collect();
    if said.iter().any(|text| text == "!echo die") {
        std::process::abort();
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&*file)?;
    file.write_all((said.join("\n") + "\n").as_bytes())?;
    Ok(())
}

/// The same as `the_process_of_an_up`, for a handler of batches.
#[tokio::test]
#[ignore = "it is the process in the other test"]
async fn the_process_of_an_archive() {
    #[expect(clippy::disallowed_methods, reason = "the other test says so by the environment")]
    let folder = std::env::var(FOLDER).unwrap();
    let broker = open(Path::new(&folder));
    let worker = archive(Path::new(&folder)).attach(Arc::new(broker.clone())).await.unwrap();
    let stop = CancellationToken::new();
    let working = tokio::spawn(worker.work(stop.clone()));
    broker.idle().await;
    stop.cancel();
    working.await.unwrap().unwrap();
}

fn archive(folder: &Path) -> Worker {
    let plugin = Plugin::new("archive").state(folder.join("said"));
    Worker::new("main").plugin(plugin.in_batches(event("chat.#"), write_down))
}

#[tokio::test]
async fn row_12_the_same_of_a_handler_that_takes_batches() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let topology = broker.topology().clone();
    for (group, patterns) in archive(folder.path()).bindings().unwrap() {
        broker.declare(topology.worker(&group, patterns)).await.unwrap();
    }
    for n in 0..=INNOCENTS {
        say(&broker, n, &if n == KILLER { "!echo die".to_owned() } else { format!("!echo {n}") }).await;
    }
    broker.close().await;
    drop(broker);
    let deaths = deaths_of("the_process_of_an_archive", folder.path()).await;
    assert_eq!(deaths, Some(11), "it dies eight times at its place in the queue, and three times alone");
    let said = std::fs::read_to_string(folder.path().join("said")).unwrap();
    let expected: Vec<String> = (0..=INNOCENTS).filter(|n| *n != KILLER).map(|n| format!("!echo {n}")).collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "each once, in order");
    let broker = open(folder.path());
    let mut dead = broker.consume(topology.dead(), 10).await.unwrap();
    let letter = timeout(PATIENCE, dead.next()).await.unwrap().unwrap();
    assert_eq!(DeadLetter::read(&letter).error.as_deref(), Some("it killed its worker 3 times"));
    assert_eq!(letter.properties.message_id, Some(Uuid::from_u128(KILLER).to_string()));
    assert!(timeout(SILENCE, dead.next()).await.is_err(), "an innocent was buried");
}

/// Starts a process again and again that works on the folder: how often it died before it ended well.
async fn deaths_of(process: &'static str, folder: &Path) -> Option<usize> {
    let folder = folder.to_owned();
    let lives = tokio::task::spawn_blocking(move || {
        (0..20).position(|_| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--ignored", "--exact", process]).env(FOLDER, &folder);
            Program::spawn(command).wait_up_to(PATIENCE).status.success()
        })
    });
    lives.await.unwrap()
}

fn open(folder: &Path) -> Embedded {
    Embedded::open(folder, Topology::default(), Arc::new(System), Durability::Process).unwrap()
}

#[tokio::test]
async fn row_12_the_same_in_one_process_with_the_embedded_broker() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let topology = broker.topology().clone();
    broker.declare(topology.worker("main", worker().patterns().unwrap())).await.unwrap();
    broker.declare(topology.replies("irc", "n")).await.unwrap();
    for n in 0..=INNOCENTS {
        say(&broker, n, &if n == KILLER { "!echo die".to_owned() } else { format!("!echo {n}") }).await;
    }
    broker.close().await;
    drop(broker);
    let deaths = deaths_of("the_process_of_an_up", folder.path()).await;
    assert_eq!(deaths, Some(5), "it dies twice among others, and three times alone");
    let broker = open(folder.path());
    let mut replies = broker.consume(topology.replies("irc", "n"), 1000).await.unwrap();
    let heard = answers(&mut replies, INNOCENTS as usize).await;
    assert_eq!(heard.len(), INNOCENTS as usize);
    let mut dead = broker.consume(topology.dead(), 10).await.unwrap();
    let letter = timeout(PATIENCE, dead.next()).await.unwrap().unwrap();
    assert_eq!(DeadLetter::read(&letter).error.as_deref(), Some("it killed its worker 3 times"));
    assert_eq!(letter.properties.message_id, Some(Uuid::from_u128(KILLER).to_string()));
    assert!(timeout(SILENCE, dead.next()).await.is_err(), "an innocent was buried");
}

fn start(prefix: &str) -> Program {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "the_process_of_a_worker"]);
    command.env(URL, servers::RabbitMq::shared().url()).env(PREFIX, prefix);
    Program::spawn(command)
}

async fn say(broker: &dyn Broker, n: u128, text: &str) {
    let id = Uuid::from_u128(n);
    let channel = format!("#c{}", n % 50);
    let body = serde_json::json!({
        "id": id, "at": System.now().to_string(), "network": "n", "channel": channel, "source": "alice", "content": text
    });
    let key = RoutingKey::chat("irc", &channel, protocol::ChatKind::Chat);
    let reply_to = broker.topology().replies_name("irc", "n");
    let event = Event { key, id, body: body.to_string().into() };
    broker.publish(Message::event(event, "test", Some(&reply_to)).mandatory()).await.await.unwrap();
}

/// The replies by their ids, until there are so many and then silence.
async fn answers(replies: &mut Consumer, count: usize) -> BTreeMap<Uuid, String> {
    let mut heard = BTreeMap::new();
    loop {
        let patience = if heard.len() < count { PATIENCE } else { SILENCE };
        let Ok(Some(delivery)) = timeout(patience, replies.next()).await else { return heard };
        let reply = Reply::read(&delivery.body, ReplyContext::default()).unwrap();
        heard.insert(reply.id, reply.content.0.concat());
        delivery.acknowledge();
    }
}

/// Keeps so many workers alive, as a service manager would, until it is told to stop: how often one died.
fn supervise(prefix: String, stop: CancellationToken) -> usize {
    let mut workers: Vec<Program> = (0..WORKERS).map(|_| start(&prefix)).collect();
    let mut deaths = 0;
    while !stop.is_cancelled() {
        for worker in &mut workers {
            if !worker.is_running() {
                *worker = start(&prefix);
                deaths += 1;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    deaths
}

#[tokio::test(flavor = "multi_thread")]
async fn row_12_a_handler_that_aborts_the_process_is_buried_alone() {
    let prefix = format!("poison-{}", std::process::id());
    let topology = Topology::new(&prefix);
    let url = servers::RabbitMq::shared().url();
    let broker = RabbitMq::connect(url, topology.clone(), "test", Arc::new(System)).await.unwrap();
    let mut replies = broker.consume(topology.replies("irc", "n"), 1000).await.unwrap();
    let mut dead = broker.consume(topology.dead(), 1000).await.unwrap();
    broker.declare(topology.worker("main", worker().patterns().unwrap())).await.unwrap();
    for n in 0..=INNOCENTS {
        say(&broker, n, &if n == KILLER { "!echo die".to_owned() } else { format!("!echo {n}") }).await;
    }
    let (stop, began) = (CancellationToken::new(), Instant::now());
    let supervised = {
        let stop = stop.clone();
        tokio::task::spawn_blocking(move || supervise(prefix, stop))
    };
    let heard = timeout(PATIENCE, answers(&mut replies, INNOCENTS as usize)).await;
    let letter = timeout(PATIENCE, dead.next()).await.expect("the killer is buried in time").unwrap();
    // and everything goes on
    say(&broker, 1_000, "!echo afterwards").await;
    let afterwards = answers(&mut replies, 1).await;
    stop.cancel();
    let deaths = supervised.await.unwrap();
    println!("{deaths} deaths, {:?}", began.elapsed());

    let heard = heard.expect("all innocents are answered in time");
    let mut numbers: Vec<u128> = heard.values().map(|text| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    let innocents: Vec<u128> = (0..=INNOCENTS).filter(|n| *n != KILLER).collect();
    assert_eq!(numbers, innocents, "each once");
    assert_eq!(DeadLetter::read(&letter).error.as_deref(), Some("it killed its worker 3 times"));
    assert_eq!(letter.properties.message_id, Some(Uuid::from_u128(KILLER).to_string()));
    let more = timeout(SILENCE, dead.next()).await;
    assert!(more.is_err(), "an innocent was buried: {more:?}");
    assert_eq!(afterwards.into_values().collect::<Vec<_>>(), ["afterwards"]);
    // twice among others, and three times alone
    assert!(deaths >= 5, "{deaths}");
}
