//! How fast the bot learns to speak on servers that limit it, each in its own way.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::world::{Server, World, network};
use crate::irc::{Flood, Network};

/// How a server limits its clients: each command costs, and so much may be run up until further ones wait.
#[derive(Clone, Copy)]
struct Limits {
    server: &'static str,
    /// What a command costs, in ms of penalty; each ms forgives one.
    cost: u64,
    /// A command is worked on while the penalty is below this, in ms.
    ahead: u64,
    /// Penalties are forgiven, and the queue looked at, once in so many ms.
    tick: u64,
    /// A queue of more bytes or lines is a flood.
    bytes: usize,
    lines: usize,
    /// Nothing waits: a command that would have to is a flood.
    kills: bool,
}

const RFC_1459: Limits =
    Limits { server: "RFC 1459", cost: 2_000, ahead: 10_000, tick: 1, bytes: 1_000, lines: 1_000, kills: false };
const INSPIRCD: Limits =
    Limits { server: "InspIRCd", cost: 1_000, ahead: 10_000, tick: 1_000, bytes: 8_192, lines: 1_000, kills: false };
const SOLANUM: Limits =
    Limits { server: "solanum", cost: 1_000, ahead: 5_000, tick: 1_000, bytes: 100_000, lines: 20, kills: false };
/// Servers that let nothing wait.
const STRICT: Limits = Limits { server: "InspIRCd without fakelag", kills: true, ..INSPIRCD };
const ADVISED: Limits = Limits { server: "InspIRCd without fakelag, 20 points", ahead: 20_000, ..STRICT };
const STRICTER: Limits = Limits { server: "RFC 1459 without a queue", kills: true, tick: 1, ..RFC_1459 };

/// A line to the server and its answer take so long.
const ROUND_TRIP: Duration = Duration::from_millis(80);
const FENCES: &[&str] = &[];
const ECHOES: &[&str] = &["echo-message"];
const LABELS: &[&str] = &["message-tags", "batch", "labeled-response", "echo-message"];

/// A server with limits, on one connection.
struct Limited {
    limits: Limits,
    server: Server,
    queue: VecDeque<(Instant, String)>,
    /// How long the commands have waited in it, and how many they were.
    waited: (Duration, u32),
    /// When the penalty is forgiven.
    forgiven: Instant,
    /// Answers on their way.
    answers: VecDeque<(Instant, String)>,
    echoes: bool,
}

impl Limited {
    fn new(limits: Limits, server: Server, capabilities: &[&str]) -> Self {
        let echoes = capabilities.contains(&"echo-message");
        let (queue, waited, answers) = Default::default();
        Limited { limits, server, queue, waited, forgiven: Instant::now(), answers, echoes }
    }

    /// Works on what comes until it is done, and puts down what was said; false if the bot was thrown out.
    async fn hears(&mut self, said: &mut BTreeSet<String>, done: impl Fn(&BTreeSet<String>) -> bool) -> bool {
        while !done(said) {
            while let Some((came, line)) = self.next_in_queue() {
                self.waited = (self.waited.0 + came.elapsed(), self.waited.1 + 1);
                self.work_on(&line, said);
            }
            if self.is_flooded() {
                self.server.says("ERROR :Closing Link: pubbot[bot.host] (Excess Flood)").await;
                return false;
            }
            self.answer().await;
            if let Some(line) = self.server.line_until(self.next_moment()).await {
                self.queue.push_back((Instant::now(), line));
            }
        }
        true
    }

    fn next_in_queue(&mut self) -> Option<(Instant, String)> {
        self.forgiven = self.forgiven.max(Instant::now());
        let ready = self.ready() <= Instant::now();
        ready.then(|| self.queue.pop_front()).flatten()
    }

    /// When the penalty is low enough for the next command.
    fn ready(&self) -> Instant {
        self.forgiven + Duration::from_millis(self.limits.tick) - Duration::from_millis(self.limits.ahead)
    }

    fn is_flooded(&self) -> bool {
        let bytes: usize = self.queue.iter().map(|(_, line)| line.len() + 2).sum();
        let waits = self.limits.kills && !self.queue.is_empty();
        waits || bytes > self.limits.bytes || self.queue.len() > self.limits.lines
    }

    fn work_on(&mut self, line: &str, said: &mut BTreeSet<String>) {
        self.forgiven += Duration::from_millis(self.limits.cost);
        let (tag, command) = line.strip_prefix('@').and_then(|line| line.split_once(' ')).unwrap_or(("", line));
        if let Some((_, text)) = command.strip_prefix("PRIVMSG ").and_then(|rest| rest.split_once(" :")) {
            said.insert(text.to_owned());
        }
        let answer = match (tag, command.strip_prefix("PING ")) {
            (_, Some(token)) => format!(":irc.test PONG irc.test {token}"),
            ("", None) if self.echoes => format!(":pubbot!pub@bot.host {command}"),
            ("", None) => return,
            (tag, None) => format!("@{tag} :irc.test ACK"),
        };
        self.answers.push_back((Instant::now() + ROUND_TRIP, answer));
    }

    async fn answer(&mut self) {
        while let Some((_, answer)) = self.answers.pop_front_if(|(at, _)| *at <= Instant::now()) {
            self.server.says(&answer).await;
        }
    }

    fn next_moment(&self) -> Instant {
        let work = (!self.queue.is_empty()).then(|| self.ready());
        let answer = self.answers.front().map(|(at, _)| *at);
        let moments = [work, answer].into_iter().flatten();
        moments.fold(Instant::now() + Duration::from_millis(100), Instant::min)
    }
}

/// How a test went.
struct Outcome {
    took: Duration,
    /// How often the bot was thrown out.
    kills: usize,
    /// How long its commands waited in the server's queue, on average.
    waited: Duration,
}

/// Has so many answers of so many bytes said that are due at once, to four channels; how that went.
async fn says(answers: usize, bytes: usize, limits: Limits, capabilities: &[&str]) -> Outcome {
    let (mut world, server) = World::in_a_with(capabilities, Network { flood: Flood::default(), ..network() }).await;
    // what the registration cost is forgiven
    tokio::time::sleep(Duration::from_secs(30)).await;
    for n in 0..answers {
        let id = Uuid::from_u128(n as u128 + 1);
        world.answers(json!({"id": id, "channel": format!("#{}", n % 4), "content": format!("{n:0bytes$}")})).await;
    }
    let (start, mut said, mut kills) = (Instant::now(), BTreeSet::new(), 0);
    let mut limited = Limited::new(limits, server, capabilities);
    while !limited.hears(&mut said, |said| said.len() >= answers).await {
        kills += 1;
        drop(limited);
        limited = Limited::new(limits, world.reenters(capabilities).await, capabilities);
    }
    let took = start.elapsed();
    world.dies().await;
    let (waited, commands) = limited.waited;
    Outcome { took, kills, waited: waited / commands }
}

/// How much of what the server allows was said, if no command but those lines is counted.
fn share(answers: usize, limits: Limits, took: Duration) -> f64 {
    // one more as soon as the first bit of the penalty is forgiven
    let at_once = limits.ahead / limits.cost + u64::from(limits.tick < limits.cost);
    let at_best = (answers as u64 - at_once) * limits.cost;
    at_best as f64 / took.as_millis() as f64
}

async fn learns(capabilities: &[&str], how: &str, aim: f64) {
    for limits in [RFC_1459, INSPIRCD, SOLANUM] {
        let Outcome { took, kills, waited } = says(200, 20, limits, capabilities).await;
        let share = share(200, limits, took);
        println!(
            "{}, {how}: 200 answers in {} s, {:.1} % of what it allows; waited {waited:?}",
            limits.server,
            took.as_secs(),
            100.0 * share
        );
        assert_eq!(kills, 0, "{}", limits.server);
        assert!(share >= aim, "{}: {share}", limits.server);
        // what waits there can't be overtaken by what is more urgent
        assert!(waited < Duration::from_millis(500), "{}: {waited:?}", limits.server);
    }
}

#[tokio::test(start_paused = true)]
async fn with_fences_200_answers_are_said_at_three_quarters_of_what_the_server_allows() {
    learns(FENCES, "fences", 0.75).await;
}

#[tokio::test(start_paused = true)]
async fn with_echoes_200_answers_are_said_at_nine_tenths_of_what_the_server_allows() {
    learns(ECHOES, "echoes", 0.9).await;
}

#[tokio::test(start_paused = true)]
async fn with_labels_200_answers_are_said_at_nine_tenths_of_what_the_server_allows() {
    learns(LABELS, "labels", 0.9).await;
}

/// How long an answer waits at most, until the server has worked on it, while a feed says all it can.
async fn waits_beside_a_feed(limits: Limits, capabilities: &[&str]) -> Duration {
    let (world, server) = World::in_a_with(capabilities, Network { flood: Flood::default(), ..network() }).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    for n in 0..500_u128 {
        world.notifies(json!({"id": Uuid::from_u128(n + 1), "channel": "#feed", "content": format!("news {n}")})).await;
    }
    let (mut said, mut worst) = (BTreeSet::new(), Duration::ZERO);
    let mut limited = Limited::new(limits, server, capabilities);
    for n in 0..40_u64 {
        // at a different moment between two lines each time
        let asked = Instant::now() + Duration::from_millis(5_000 + 370 * n);
        assert!(limited.hears(&mut said, |_| Instant::now() >= asked).await);
        let (asked, text) = (Instant::now(), format!("answer {n}"));
        let id = Uuid::from_u128(1_000 + u128::from(n));
        world.answers(json!({"id": id, "channel": "#a", "content": text})).await;
        assert!(limited.hears(&mut said, |said| said.contains(&text)).await);
        worst = worst.max(asked.elapsed());
    }
    world.dies().await;
    worst
}

#[tokio::test(start_paused = true)]
async fn beside_a_feed_an_answer_waits_for_two_lines_or_three() {
    for limits in [RFC_1459, INSPIRCD, SOLANUM] {
        for capabilities in [FENCES, ECHOES, LABELS] {
            let worst = waits_beside_a_feed(limits, capabilities).await;
            println!("{}, {capabilities:?}: an answer waited for {worst:?} at most", limits.server);
            // of a server that takes 2 s for each line two lines, of others two to three
            let limit = if limits.cost == 2_000 { 4_000 } else { 2_500 };
            assert!(worst <= Duration::from_millis(limit), "{}, {capabilities:?}: {worst:?}", limits.server);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn long_lines_don_t_fill_the_small_queue_of_an_old_server() {
    for capabilities in [FENCES, LABELS] {
        let Outcome { took, kills, .. } = says(200, 400, RFC_1459, capabilities).await;
        assert_eq!(kills, 0, "after {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_waits_the_bot_is_thrown_out_twice_at_most() {
    for limits in [STRICT, ADVISED, STRICTER] {
        for capabilities in [FENCES, LABELS] {
            let Outcome { took, kills, .. } = says(1_000, 20, limits, capabilities).await;
            println!("{}: 1,000 answers in {} s, thrown out {kills} times", limits.server, took.as_secs());
            assert!((1..=2).contains(&kills), "{}: {kills}", limits.server);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_wait_is_spoken_to_at_half_the_pace() {
    for asks in [
        "263 pubbot PRIVMSG :Please wait a while",
        "439 pubbot #a :Too fast",
        "707 pubbot #a :Too fast",
        "NOTICE pubbot :Message to #a throttled due to flooding",
    ] {
        let (world, mut server) = World::in_a_of(Network { flood: Flood::default(), ..network() }).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        world.answers(json!({"channel": "#a", "content": "1"})).await;
        server.hears_exactly("PRIVMSG #a :1").await;
        let fence = server.is_asked_for_a_fence().await;
        server.says(&format!(":irc.test {asks}")).await;
        server.says(&format!("PONG :{fence}")).await;
        let start = Instant::now();
        world.answers(json!({"channel": "#a", "content": "2"})).await;
        server.hears("PRIVMSG #a :2").await;
        assert_eq!(start.elapsed().as_secs(), 4, "{asks}");
        world.dies().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_by_being_thrown_out_outlives_the_connection() {
    let (mut world, mut server) = World::in_a_of(Network { flood: Flood::default(), ..network() }).await;
    server.says("ERROR :Closing Link: pubbot[bot.host] (Excess Flood)").await;
    drop(server);
    let mut server = world.reenters(&[]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.answers(json!({"channel": "#a", "content": ["1", "2", "3"]})).await;
    let start = Instant::now();
    for (line, at) in [("1", 0), ("2", 0), ("3", 4)] {
        server.hears(&format!("PRIVMSG #a :{line}")).await;
        assert_eq!(start.elapsed().as_secs(), at, "{line}");
    }
    world.dies().await;
}
