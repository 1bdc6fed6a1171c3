//! A private PostgreSQL has databases that are apart, keeps its data through a kill, hangs and refuses on demand, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use servers::{PostgreSql, Relay};

/// What a server that is up would do long before.
const A_MOMENT: Duration = Duration::from_millis(500);

fn is_closed(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "not after 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Empty when there is no such process.
fn command_line(pid: u32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn with_children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    [pid].into_iter().chain(children.split_whitespace().map(|id| id.parse().unwrap())).collect()
}

fn is_stopped(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ")
}

/// Whether there is System V shared memory that this process has made.
fn has_shared_memory(pid: u32) -> bool {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    table.lines().any(|line| line.split_whitespace().nth(4) == Some(&pid.to_string()))
}

#[test]
fn it_answers_whoever_knows_the_password() {
    let postgresql = PostgreSql::shared();
    let url = postgresql.database();
    let port = postgresql.port();
    assert!(url.starts_with("postgres://pubbot:") && url.contains(&format!("@127.0.0.1:{port}/")), "{url}");
    assert_eq!(postgresql.query(&url, "SELECT 1"), Ok("1".to_owned()));
    assert_eq!(postgresql.query(&url, "SELECT 1, 'ä' UNION SELECT 2, NULL ORDER BY 1"), Ok("1|ä\n2|".to_owned()));
    assert_eq!(postgresql.query(&url, "SELECT usesuper FROM pg_user WHERE usename = current_user"), Ok("f".to_owned()));
    let error = postgresql.query(&url, "SELECT nothing").unwrap_err();
    assert!(error.contains("\"nothing\" does not exist"), "{error}");

    let error = postgresql.query(&url.replace(":p%40ss", ":pass"), "SELECT 1").unwrap_err();
    assert!(error.contains("password authentication failed"), "{error}");
    let error = postgresql.query(&url.replace(":p%40ss%3Aw%2Frd", ""), "SELECT 1").unwrap_err();
    assert!(error.contains("no password supplied"), "{error}");
}

#[test]
fn two_databases_are_apart() {
    let postgresql = PostgreSql::shared();
    let (one, other) = (postgresql.database(), postgresql.database());
    assert_ne!(one, other);
    postgresql.query(&one, "CREATE TABLE lines (text text); INSERT INTO lines VALUES ('here')").unwrap();
    assert_eq!(postgresql.query(&one, "TABLE lines"), Ok("here".to_owned()));
    let error = postgresql.query(&other, "TABLE lines").unwrap_err();
    assert!(error.contains("\"lines\" does not exist"), "{error}");
}

#[test]
fn a_killed_one_keeps_what_it_has_confirmed_and_leaves_nothing_behind() {
    let start = Instant::now();
    let mut postgresql = PostgreSql::start();
    eprintln!("PostgreSQL started in {:?}", start.elapsed());
    let (port, url) = (postgresql.port(), postgresql.database());
    postgresql.query(&url, "CREATE TABLE lines (text text); INSERT INTO lines VALUES ('kept')").unwrap();
    assert_eq!(postgresql.execute("SHOW fsync"), "on");

    let held = postgresql.hold(&url, "INSERT INTO lines VALUES ('never confirmed')");
    let processes = with_children(postgresql.pid());
    assert!(processes.len() >= 5 && has_shared_memory(processes[0]));
    postgresql.kill();
    assert!(is_closed(port) && !has_shared_memory(processes[0]));
    assert!(processes.iter().all(|pid| command_line(*pid).is_empty()));
    drop(held);
    let start = Instant::now();
    postgresql.start_again();
    eprintln!("PostgreSQL started again in {:?}", start.elapsed());
    assert_eq!(postgresql.query(&url, "TABLE lines"), Ok("kept".to_owned()));
    assert!(postgresql.log().contains("was not properly shut down"), "{}", postgresql.log());

    let held = postgresql.hold(&url, "");
    postgresql.stop();
    assert!(is_closed(port));
    drop(held);
    postgresql.start_again();
    assert_eq!(postgresql.query(&url, "TABLE lines"), Ok("kept".to_owned()));

    let _held = postgresql.hold(&url, "");
    postgresql.freeze();
    let processes = with_children(postgresql.pid());
    let folder = fs::read_link(format!("/proc/{}/cwd", processes[0])).unwrap();
    assert!(folder.is_dir());
    drop(postgresql);
    assert!(is_closed(port) && !has_shared_memory(processes[0]) && !folder.exists());
    assert!(processes.iter().all(|pid| command_line(*pid).is_empty()));
}

#[test]
fn a_frozen_one_answers_nobody_until_it_is_thawed() {
    let mut postgresql = PostgreSql::start();
    let url = postgresql.database();
    postgresql.query(&url, "CREATE TABLE lines (text text)").unwrap();
    let held = postgresql.hold(&url, "LOCK TABLE lines");
    postgresql.freeze();
    assert!(with_children(postgresql.pid()).into_iter().all(is_stopped));
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, postgresql.port())).unwrap();
    // It would answer a request for TLS by one byte.
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    stream.set_read_timeout(Some(A_MOMENT)).unwrap();
    assert!(stream.read(&mut [0]).is_err());
    // And notice that this connection is gone.
    drop(held);
    postgresql.thaw();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 1);
    wait_until("the connection is noticed to be gone", || postgresql.connections(&url) == 0);
    assert_eq!(postgresql.query(&url, "TABLE lines"), Ok(String::new()));
}

#[test]
fn a_table_is_locked_while_it_is_held_and_connections_are_ended() {
    let postgresql = PostgreSql::shared();
    let url = postgresql.database();
    postgresql.query(&url, "CREATE TABLE lines (text text)").unwrap();
    let held = postgresql.hold(&url, "LOCK TABLE lines");
    let impatient = "SET lock_timeout = '100ms'; TABLE lines";
    let error = postgresql.query(&url, impatient).unwrap_err();
    assert!(error.contains("due to lock timeout"), "{error}");
    drop(held);
    wait_until("the lock is gone", || postgresql.query(&url, impatient) == Ok(String::new()));

    let _held = postgresql.hold(&url, "LOCK TABLE lines");
    assert_eq!(postgresql.connections(&url), 1);
    assert_eq!(postgresql.disconnect(&url), 1);
    wait_until("the connection is ended", || postgresql.connections(&url) == 0);
    assert_eq!(postgresql.execute_in(&url, "SELECT count(*) FROM lines"), "0");
}

#[test]
fn one_with_few_connections_refuses_more_and_hears_its_superuser() {
    let postgresql = PostgreSql::start_with(&[("max_connections", "5")]);
    let url = postgresql.database();
    // Three are for superusers.
    let held = [postgresql.hold(&url, ""), postgresql.hold(&url, "")];
    let error = postgresql.query(&url, "SELECT 1").unwrap_err();
    assert!(error.contains("remaining connection slots are reserved"), "{error}");
    assert_eq!(postgresql.connections(&url), 2);
    drop(held);
    wait_until("there is room", || postgresql.query(&url, "SELECT 1").is_ok());
}

#[test]
fn a_relay_in_front_of_it_cuts_its_connections() {
    let postgresql = PostgreSql::shared();
    let relay = Relay::to(postgresql.port());
    let direct = postgresql.database();
    let url = postgresql.through(&relay, &direct);
    assert_eq!(postgresql.query(&url, "SELECT 1"), Ok("1".to_owned()));
    let _held = postgresql.hold(&url, "");
    assert_eq!((postgresql.connections(&direct), relay.open()), (1, 1));

    relay.cut();
    wait_until("the server has noticed", || postgresql.connections(&direct) == 0);
    let error = postgresql.query(&url, "SELECT 1").unwrap_err();
    assert!(error.contains("closed the connection") || error.contains("reset by peer"), "{error}");
    assert_eq!(postgresql.query(&direct, "SELECT 1"), Ok("1".to_owned()));
    relay.heal();
    assert_eq!(postgresql.query(&url, "SELECT 1"), Ok("1".to_owned()));
}
