//! `pubbot tail`: watches events as they happen, one line each, for people or as JSON. It has a queue of its own and
//! takes nothing away from the workers.

use std::io;

use bus::{Consumer, Delivery, System};
use clap::Args;
use protocol::{Ambient, Pattern};
use serde_json::{Map, Value};
use tokio::io::{AsyncWriteExt, Stdout};

use crate::cli::Options;
use crate::config::{Config, Environment};
use crate::failure::{Failure, unless_closed};
use crate::terminal::{harmless, harmless_json, tell};
use crate::{broker, logs, runtime, signals};

const EXAMPLES: &str = "\
Examples:
  pubbot tail 'chat.#'                               everything in every channel
  pubbot tail 'chat.irc.#rust.*' 'music.*'           one channel, and the music
  pubbot tail --json '#' | jq .key                   everything, for a program

In a pattern * stands for one word and # for zero or more; quote it, so that the shell leaves it alone.";

/// Events taken in one go; the queue behind holds more.
const BATCH: u16 = 64;
/// What a line begins with anyway, or what says nothing to people.
const LEFT_OUT: [&str; 7] = ["id", "at", "session", "seq", "source_id", "account", "msgid"];

/// Watch events as they happen
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Tail {
    /// Which events, by their routing keys
    #[arg(required = true, value_name = "PATTERN", value_parser = Pattern::parse)]
    patterns: Vec<Pattern>,
    /// Print each event as one JSON object with its routing key as `key`
    #[arg(long)]
    json: bool,
}

impl Tail {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        let config = Config::load(environment, &options.overrides_without_secrets())?;
        logs::start(options, environment, logs::Default::Quiet)?;
        runtime::block_on(async {
            let stop = signals::stop()?;
            let watching = async {
                let broker = broker::from_outside(&config, "tail").await?;
                let events = broker.consume(broker.topology().tail(self.patterns), BATCH).await?;
                tell("listening; Ctrl-C ends");
                print(events, if self.json { json } else { human }).await
            };
            stop.run_until_cancelled(watching).await.unwrap_or(Ok(()))
        })
    }
}

/// Prints events until the broker is gone, or nobody reads them any more.
async fn print(mut events: Consumer, line: fn(&Delivery) -> String) -> Result<(), Failure> {
    let (mut stdout, mut batch) = (tokio::io::stdout(), Vec::with_capacity(BATCH.into()));
    while events.next_many(&mut batch, BATCH.into()).await > 0 {
        let lines: String = batch.iter().map(line).collect();
        match write(&mut stdout, &lines).await {
            Err(why) if why.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => unless_closed(written)?,
        }
        batch.drain(..).for_each(Delivery::acknowledge);
    }
    Err(Failure::failed("the broker has ended the connection"))
}

async fn write(stdout: &mut Stdout, lines: &str) -> io::Result<()> {
    stdout.write_all(lines.as_bytes()).await?;
    stdout.flush().await
}

/// `{"channel":"#rust","content":"hello","key":"chat.irc.#rust.chat",…}`
fn json(event: &Delivery) -> String {
    let mut fields = match serde_json::from_slice(&event.body) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::from_iter([("body".to_owned(), String::from_utf8_lossy(&event.body).into())]),
    };
    fields.insert("key".to_owned(), (*event.key).into());
    harmless_json(&Value::Object(fields).to_string()) + "\n"
}

/// `13:01:02 chat.irc.#rust.chat alice: hello`
fn human(event: &Delivery) -> String {
    let (time, what) = match serde_json::from_slice::<Map<String, Value>>(&event.body) {
        Ok(fields) => (time(&fields), summary(&fields)),
        Err(_) => (None, String::from_utf8_lossy(&event.body).into_owned()),
    };
    let time = time.unwrap_or_else(|| time_of_day(&System.now().to_string()));
    format!("{}\n", harmless(format!("{time} {} {what}", event.key).trim_end()))
}

/// When it happened, by its own account.
fn time(fields: &Map<String, Value>) -> Option<String> {
    let at: protocol::Timestamp = serde_json::from_value(fields.get("at")?.clone()).ok()?;
    Some(time_of_day(&at.to_string()))
}

/// `13:01:02` of `2026-11-21T13:01:02.345Z`; a moment far away is shown whole.
fn time_of_day(moment: &str) -> String {
    match moment.split_once('T') {
        Some((_, time)) => time.split('.').next().unwrap_or(time).to_owned(),
        None => moment.to_owned(),
    }
}

/// Who said what; of other events whatever they hold.
fn summary(fields: &Map<String, Value>) -> String {
    if let (Some(Value::String(source)), Some(Value::String(content))) = (fields.get("source"), fields.get("content")) {
        return format!("{source}: {content}");
    }
    let telling = fields.iter().filter(|(name, value)| !LEFT_OUT.contains(&name.as_str()) && !value.is_null());
    let shown = telling.map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text}"),
        value => format!("{name}={value}"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Nowhere;
    impl bus::Settle for Nowhere {
        fn settle(&self, _: u64, _: bus::Outcome) {}
    }

    fn event(key: &str, body: &str) -> Delivery {
        let body = body.to_owned().into_bytes().into();
        Delivery::new(key.into(), bus::Properties::default(), body, 0, Arc::new(Nowhere), 1)
    }

    #[test]
    fn people_read_time_key_source_and_content() {
        let body = r#"{"at":"2026-11-21T13:01:02.345Z","source":"alice","content":"hi","network":"n"}"#;
        assert_eq!(human(&event("chat.irc.#c.chat", body)), "13:01:02 chat.irc.#c.chat alice: hi\n");
        let body = r#"{"at":"2026-11-21T13:01:02Z","id":"x","title":"Blue","artist":null,"year":1971}"#;
        assert_eq!(human(&event("music.track", body)), "13:01:02 music.track title=Blue year=1971\n");
        assert!(human(&event("a.b", "no JSON")).ends_with(" a.b no JSON\n"));
    }

    #[test]
    fn programs_read_one_object_a_line_with_its_key() {
        assert_eq!(json(&event("a.b", "{\n \"n\": 1,\n \"key\": 2 }")), "{\"key\":\"a.b\",\"n\":1}\n");
        assert_eq!(json(&event("a.b", "[1]")), "{\"body\":\"[1]\",\"key\":\"a.b\"}\n");
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let body = "{\"source\":\"eve\",\"content\":\"\\u001b[2J\u{9b}2J\u{7f}\\r\\nx\"}";
        for line in [human(&event("a.b", body)), json(&event("a.b", body))] {
            assert!(!line.trim_end_matches('\n').contains(char::is_control), "{line:?}");
        }
        let back: Value = serde_json::from_str(&json(&event("a.b", body))).unwrap();
        assert_eq!(back["content"], "\u{1b}[2J\u{9b}2J\u{7f}\r\nx");
    }
}
