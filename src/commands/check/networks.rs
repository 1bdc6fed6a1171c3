//! The networks: whether their servers answer, and what the bot would find there. Each network is visited on the first of its
//! servers that can be reached; the others are only asked whether they are there.

use std::sync::Arc;
use std::time::Duration;

use connector::irc::{
    DialError, Door, Found, Holder, Means, Network, Reached, Server, Sts, Trust, Unreachable, Visit, reach, visit,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Finding;
use crate::config::Config;

/// How long a server may take to answer at all.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// How long a visit may take in all; its steps have limits of their own.
const VISIT_WITHIN: Duration = Duration::from_secs(180);

/// Asks all networks at once; the findings are in the order of the configuration.
pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    if config.networks.is_empty() {
        return vec![Finding::new("networks", Ok::<_, String>("none: `pubbot up` chats at the terminal"))];
    }
    let mut asked: JoinSet<(usize, Vec<Finding>)> = JoinSet::new();
    for (index, network) in config.networks.iter().enumerate() {
        let (network, sts) = (network.clone(), config.sts());
        asked.spawn(async move { (index, of_network(&network, &sts).await) });
    }
    let mut findings = asked.join_all().await;
    findings.sort_by_key(|(index, _)| *index);
    findings.into_iter().flat_map(|(_, findings)| findings).collect()
}

async fn of_network(network: &Network, sts: &Sts) -> Vec<Finding> {
    let (mut findings, mut visited) = (Vec::new(), None);
    for server in &network.servers {
        let what = format!("network {}", network.name);
        let answers = match visited {
            None => match visited_by(network, server, sts).await {
                Ok(Visit { reached, found }) => {
                    visited = Some(found);
                    answers(network, server, &reached)
                }
                Err(why) => Err(why),
            },
            Some(_) => match reached_by(network, server, sts).await {
                Ok(reached) => answers(network, server, &reached),
                Err(why) => Err(why),
            },
        };
        findings.push(Finding::new(what, answers));
    }
    match visited {
        Some(Ok(found)) => findings.extend(inside(network, &found)),
        Some(Err(why)) => findings.push(Finding::new(format!("{}, registration", network.name), Err::<String, _>(why))),
        None => {}
    }
    findings
}

async fn visited_by(network: &Network, server: &Server, sts: &Sts) -> Result<Visit, String> {
    match timeout(VISIT_WITHIN, visit(network, server, sts, Arc::new(bus::System))).await {
        Ok(visited) => visited.map_err(|why| advice(server, &why)),
        Err(_) => Err(format!("{server} did not come to an end within {} s", VISIT_WITHIN.as_secs())),
    }
}

async fn reached_by(network: &Network, server: &Server, sts: &Sts) -> Result<Reached, String> {
    match timeout(ANSWERS_WITHIN, reach(network, server, sts)).await {
        Ok(reached) => reached.map_err(|why| advice(server, &why)),
        Err(_) => {
            let kind = if server.tls { "the one with TLS" } else { "one without TLS" };
            Err(format!("{server} does not answer within {} s; is the port {kind}?", ANSWERS_WITHIN.as_secs()))
        }
    }
}

fn advice(server: &Server, why: &Unreachable) -> String {
    match why {
        Unreachable::Dial(why) if why.is_about_trust() => why.to_string(),
        Unreachable::Dial(why @ DialError::TimedOut { .. }) if server.tls => {
            format!("{why}; does the server run, and is the port the one with TLS?")
        }
        why => format!("{why}; check its url, or whether the server runs"),
    }
}

fn answers(network: &Network, server: &Server, reached: &Reached) -> Result<String, String> {
    let addresses: Vec<String> = reached.addresses.iter().map(ToString::to_string).collect();
    let how = if reached.server.tls { over_tls(network, server, reached)? } else { "unencrypted".to_owned() };
    Ok(format!("{} ({}) answers, {how}", reached.server, addresses.join(", ")))
}

/// By what the server was trusted, and what it was shown.
fn over_tls(network: &Network, server: &Server, reached: &Reached) -> Result<String, String> {
    let by = match &network.tls.trust {
        Trust::System => "verified by this system's roots".to_owned(),
        Trust::File(file) => format!("verified by {}", file.display()),
        Trust::Pinned(_) => "pinned".to_owned(),
    };
    let mut parts = vec![format!("over TLS, {by}")];
    if !server.tls {
        parts.push("which its host asks for".to_owned());
    }
    if let Some(until) = reached.certificate.as_ref().and_then(|certificate| certificate.expires.as_ref()) {
        parts.push(format!("certificate valid until {until}"));
    }
    if let Some(own) = &network.tls.certificate {
        let fingerprint = own.check().map_err(|why| why.to_string())?;
        parts.push(format!("our certificate is {} ({fingerprint})", own.file.display()));
    }
    Ok(parts.join(", "))
}

/// What the bot would find once it is registered.
fn inside(network: &Network, found: &Found) -> Vec<Finding> {
    let what = |part: &str| format!("{}, {part}", network.name);
    let mut findings = vec![Finding::new(what("capabilities"), Ok::<_, String>(capabilities(found)))];
    if network.login.account.is_some() {
        findings.push(Finding::new(what("login"), login(found)));
    }
    findings.push(Finding::new(what(&format!("nick {}", network.nick)), nick(network, found.holder.as_ref())));
    let door = |(channel, door): &(String, Door)| Finding::new(what(&format!("channel {channel}")), joinable(door));
    findings.extend(found.channels.iter().map(door));
    findings
}

fn capabilities(found: &Found) -> String {
    let proof = match found.proof {
        Means::Labels => "the server's answer to a label proves what is said",
        Means::Echoes => "the server's echo proves what is said",
        Means::Fences => "a PING proves what is said",
    };
    let granted = if found.capabilities.is_empty() { "none".to_owned() } else { found.capabilities.join(" ") };
    format!("{granted}; {proof}")
}

/// A login that is required has failed before, with the registration.
fn login(found: &Found) -> Result<String, String> {
    match &found.account {
        Some(account) => Ok(format!("logged in to {account}")),
        None => Ok("not by SASL: NickServ is told the password, if one is configured, when the bot is in".to_owned()),
    }
}

fn nick(network: &Network, holder: Option<&Holder>) -> Result<String, String> {
    let Some(Holder { address, account }) = holder else { return Ok("free".to_owned()) };
    match account {
        Some(account) if network.login.account.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(account)) => {
            Ok(format!("{address} has it, logged in to our account: the bot itself"))
        }
        _ => Ok(format!("{address} has it: unless that is the bot itself, it comes in under another until it is free")),
    }
}

fn joinable(door: &Door) -> Result<String, String> {
    match door {
        Door::Open => Ok("nothing is in the way, unless the bot is banned there".to_owned()),
        Door::New => Ok("does not exist yet: the bot would make it".to_owned()),
        Door::Unknown(why) => Ok(format!("can't be seen from outside: {why}")),
        Door::Closed(why) => Err((*why).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Overrides};
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    /// A server that says a line to whoever says something, and hangs up.
    fn server() -> u16 {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.read_exact(&mut [0]).unwrap();
                stream.write_all(b":irc.test NOTICE * :hello\r\nERROR :Go away\r\n").unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                stream.read_to_end(&mut Vec::new()).unwrap();
            }
        });
        port
    }

    fn dead() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn each_server_of_a_network_is_asked_and_one_that_answers_is_visited() {
        let (alive, dead) = (server(), dead());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pubbot.toml");
        let data = folder.path().join("data");
        let url = format!("['irc://127.0.0.1:{dead}', 'irc://[::1]:{alive}', 'irc://[::1]:{alive}']");
        std::fs::write(&file, format!("data_dir = {data:?}\n[networks.test]\nurl = {url}\nchannels = ['#a']")).unwrap();
        let overrides = Overrides { config: Some(file), ..Overrides::default() };
        let config = Config::load(&Environment::default(), &overrides).map_err(|why| why.to_string()).unwrap();
        let findings = findings(&config).await;
        let [refused, reached, too, inside] = findings.as_slice() else { panic!("{}", findings.len()) };
        let why = refused.result.as_ref().unwrap_err();
        assert!(why.contains(&format!("127.0.0.1 port {dead}")) && why.contains("refused"), "{why}");
        let expected = format!("::1 port {alive} (::1) answers, unencrypted");
        for reached in [reached, too] {
            assert_eq!((reached.what.as_str(), reached.result.as_deref()), ("network test", Ok(expected.as_str())));
        }
        let why = inside.result.as_ref().unwrap_err();
        assert!(inside.what == "test, registration" && why.ends_with("closed the connection: Go away"), "{why}");
        assert!(!data.exists(), "nothing is changed");
    }
}
