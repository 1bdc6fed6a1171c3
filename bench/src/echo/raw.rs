//! A plain echo: one process, one task, no broker; reads lines, and answers those that begin with `!echo `. What else a
//! bot does is what the others pay for.

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::failure::{Context, Result};

/// Options of the hidden `bench raw-echo`.
#[derive(Args)]
pub(crate) struct Options {
    /// The IRC server's port on 127.0.0.1.
    #[arg(long)]
    pub(crate) irc: u16,
    /// Separated by commas.
    #[arg(long)]
    pub(crate) channels: String,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(echo(options)).context("the raw echo")
}

async fn echo(options: &Options) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", options.irc)).await?;
    socket.set_nodelay(true)?;
    socket.write_all(hello("raw").as_bytes()).await?;
    let (mut received, mut out) = (Vec::with_capacity(256 * 1024), Vec::with_capacity(256 * 1024));
    while socket.read_buf(&mut received).await? > 0 {
        let mut taken = 0;
        while let Some(length) = received[taken..].iter().position(|byte| *byte == b'\n') {
            answer(&received[taken..taken + length], &options.channels, &mut out);
            taken += length + 1;
        }
        received.drain(..taken);
        if !out.is_empty() {
            socket.write_all(&out).await?;
            out.clear();
        }
    }
    Ok(())
}

/// The first lines of a client.
pub(super) fn hello(nick: &str) -> String {
    format!("NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\n")
}

fn answer(line: &[u8], channels: &str, out: &mut Vec<u8>) {
    match heard(line) {
        Heard::Said(said) => {
            if let Some(text) = said.text.strip_prefix(b"!echo ") {
                say(said.channel, text, out);
            }
        }
        Heard::Ping(token) => pong(token, out),
        Heard::Welcome => out.extend_from_slice(format!("JOIN {channels}\r\n").as_bytes()),
        Heard::Other => {}
    }
}

/// A line from the server.
pub(super) enum Heard<'a> {
    Said(Said<'a>),
    Ping(&'a [u8]),
    /// The end of the welcome: `001` to the message of the day.
    Welcome,
    Other,
}

pub(super) struct Said<'a> {
    pub(super) nick: &'a [u8],
    pub(super) channel: &'a [u8],
    pub(super) text: &'a [u8],
}

/// Reads a line without its LF: `:nick!user@host PRIVMSG #channel :text`.
pub(super) fn heard(line: &[u8]) -> Heard<'_> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if let Some(token) = line.strip_prefix(b"PING ") {
        return Heard::Ping(token);
    }
    let Some((source, rest)) = line.strip_prefix(b":").and_then(cut) else { return Heard::Other };
    if let Some((channel, text)) = rest.strip_prefix(b"PRIVMSG ").and_then(cut) {
        let nick = source.split(|byte| *byte == b'!').next().unwrap_or(source);
        return Heard::Said(Said { nick, channel, text: text.strip_prefix(b":").unwrap_or(text) });
    }
    // the end of the message of the day, or that there is none
    if rest.starts_with(b"376 ") || rest.starts_with(b"422 ") { Heard::Welcome } else { Heard::Other }
}

/// What stands before and behind the first space.
fn cut(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = text.iter().position(|byte| *byte == b' ')?;
    Some((&text[..space], &text[space + 1..]))
}

pub(super) fn say(channel: &[u8], text: &[u8], out: &mut Vec<u8>) {
    for part in [b"PRIVMSG ".as_slice(), channel, b" :", text, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

pub(super) fn pong(token: &[u8], out: &mut Vec<u8>) {
    for part in [b"PONG ".as_slice(), token, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(line: &str) -> String {
        let mut out = Vec::new();
        answer(line.as_bytes(), "#a,#b", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_what_begins_with_the_command_is_answered() {
        assert_eq!(answers(":a!b@c PRIVMSG #x :!echo hi there\r"), "PRIVMSG #x :hi there\r\n");
        assert_eq!(answers(":a!b@c PRIVMSG #x :hi !echo there\r"), "");
        assert_eq!(answers(":server 376 raw :End\r"), "JOIN #a,#b\r\n");
        assert_eq!(answers("PING :token\r"), "PONG :token\r\n");
    }
}
