//! What large networks cost: the resident memory of a connector that is in many channels with many people.

use std::time::Duration;

use servers::{FakeIrc, FakeOptions, Service, resident_kib};

use crate::world::{Kind, World};

const NETWORKS: usize = 10;
const CHANNELS: usize = 50;
/// In each channel others.
const MEMBERS: usize = 1_000;
/// What the connector may take for all of them, itself included.
const MOST_KIB: u64 = 64 * 1024;
/// What it may take more when the same comes again: an allocator's habits.
const HABITS_KIB: u64 = 8 * 1024;
/// How long it may take until the next question on a busy machine.
const NEXT_WITHIN: Duration = Duration::from_secs(240);

/// A server whose channels are full of people, half of whom are logged in.
fn full_server() -> FakeIrc {
    let script = |line: &[u8]| {
        let line = std::str::from_utf8(line).ok()?;
        let (command, rest) = line.split_once(' ')?;
        match command {
            "JOIN" => Some(rest.split(',').map(lets_in).collect::<String>().into_bytes()),
            "WHO" => {
                let (channel, token) = rest.split_once(" %tna,")?;
                Some(who(channel, token).into_bytes())
            }
            _ => None,
        }
    };
    FakeIrc::start_with(FakeOptions {
        isupport: "WHOX".to_owned(),
        script: Some(Box::new(script)),
        ..FakeOptions::default()
    })
}

fn member(channel: &str, number: usize) -> String {
    format!("member{number}_{}", channel.trim_start_matches('#'))
}

fn lets_in(channel: &str) -> String {
    let mut lines = format!(":pubbot!pubbot@fake.host JOIN {channel}\r\n:fake.irc 353 pubbot = {channel} :pubbot\r\n");
    let members: Vec<String> = (0..MEMBERS).map(|number| member(channel, number)).collect();
    for some in members.chunks(20) {
        lines += &format!(":fake.irc 353 pubbot = {channel} :{}\r\n", some.join(" "));
    }
    lines + &format!(":fake.irc 366 pubbot {channel} :End of NAMES list\r\n")
}

fn who(channel: &str, token: &str) -> String {
    let line = |number: usize| {
        let account = if number.is_multiple_of(2) { format!("account{number}") } else { "0".to_owned() };
        format!(":fake.irc 354 pubbot {token} {} {account}\r\n", member(channel, number))
    };
    (0..MEMBERS).map(line).collect::<String>() + &format!(":fake.irc 315 pubbot {channel} :End of WHO list\r\n")
}

/// Waits until the bot has been told of everybody in every channel once more.
fn wait_until_told(server: &FakeIrc) {
    let mut told = 0;
    while told < CHANNELS {
        told += usize::from(next_line(server).starts_with("WHO "));
    }
    wait_until_read(server);
}

/// Waits until the bot has read what the server has said so far.
fn wait_until_read(server: &FakeIrc) {
    server.ping(1, "read");
    while next_line(server) != "PONG :read" {}
}

fn next_line(server: &FakeIrc) -> String {
    server.try_next_line(NEXT_WITHIN).expect("the bot has more to say").text()
}

#[test]
fn ten_networks_with_fifty_channels_of_a_thousand_members_fit_into_64_mb_and_do_not_grow() {
    let servers: Vec<FakeIrc> = (0..NETWORKS).map(|_| full_server()).collect();
    let world = World::new(Kind::Spread, servers[0].port(), &[]);
    let channels: Vec<String> = (0..CHANNELS).map(|number| format!("#c{number}")).collect();
    let others: Vec<String> = servers[1..]
        .iter()
        .enumerate()
        .map(|(number, server)| {
            format!(
                "[networks.more{number}]\nurl = \"irc://127.0.0.1:{}\"\nnick = \"pubbot\"\nflood = \"off\"\nchannels = {channels:?}\n",
                server.port()
            )
        })
        .collect();
    world.configure(&format!("channels = {channels:?}"), &others.concat());
    let connector: Service = world.service(&["connector"], &[]);
    let resident = || resident_kib(connector.pid());
    servers.iter().for_each(wait_until_told);
    let full = resident();
    // thrown out of all channels it forgets everybody, and a little later it is told again
    for server in &servers {
        let kicks: String = channels.iter().map(|channel| format!(":op!o@h KICK {channel} pubbot :out\r\n")).collect();
        server.send(kicks.as_bytes());
    }
    servers.iter().for_each(wait_until_read);
    let empty = resident();
    servers.iter().for_each(wait_until_told);
    let again = resident();
    eprintln!("resident: {full} KiB with everybody, {empty} KiB with nobody, {again} KiB with everybody again");
    assert!(full < MOST_KIB, "{full} KiB");
    assert!(empty < full - full / 5, "{empty} KiB with nobody, {full} KiB with everybody");
    assert!(again < full + HABITS_KIB, "{again} KiB, and {full} KiB before");
    assert_eq!(servers.iter().map(FakeIrc::connections).sum::<usize>(), NETWORKS, "none was lost");
}
