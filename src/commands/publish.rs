//! `pubbot publish`: an event from the shell, for whoever is bound to its key. Nobody bound to it is a failure: a
//! script should know.

use bus::{Broker, Error, Message, System};
use clap::Args;
use protocol::{Ambient, Event, RoutingKey, event_id, foreign_uuid};
use serde_json::{Map, Value};

use crate::cli::Options;
use crate::config::{Config, Environment};
use crate::failure::Failure;
use crate::{broker, input, logs, runtime};

const EXAMPLES: &str = "\
Examples:
  pubbot publish music.track '{\"title\": \"Blue\", \"artist\": \"Joni Mitchell\"}'
  make-json | pubbot publish builds.finished -";

/// Who publishes: the AMQP `app_id`.
pub const APP_ID: &str = "pubbot";

/// Publish an event
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Publish {
    /// What it is about: words separated by dots, such as music.track
    #[arg(value_parser = RoutingKey::parse)]
    key: RoutingKey,
    /// A JSON object; `id` and `at` are added if they are missing; `-` reads it from standard input
    json: String,
}

impl Publish {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        let config = Config::load(environment, &options.overrides_without_secrets())?;
        logs::start(options, environment, logs::Default::Quiet)?;
        let event = event(self.key, &input::or_stdin(self.json)?, &System)?;
        runtime::block_on(async {
            let broker = broker::from_outside(&config, "publish").await?;
            let key = event.key.clone();
            let published = publish(&*broker, event).await;
            broker.close().await;
            published.map_err(|why| match why {
                Error::Unroutable(_) => {
                    Failure::failed(format!("nobody listens to {key}: no queue is bound to a pattern that matches it"))
                }
                why => why.into(),
            })
        })
    }
}

/// Publishes an event that somebody must be bound to.
pub async fn publish(broker: &dyn Broker, event: Event) -> Result<(), Error> {
    broker.publish(Message::event(event, APP_ID, None).mandatory()).await.await
}

/// The event of this key and body. Nothing of the body is changed but what is added.
pub fn event(key: RoutingKey, json: &str, ambient: &dyn Ambient) -> Result<Event, Failure> {
    let json = json.trim();
    let body: Value = serde_json::from_str(json).map_err(|why| Failure::usage(format!("this is no JSON: {why}")))?;
    let Value::Object(body) = body else {
        return Err(Failure::usage("an event's body is a JSON object: {\"name\": value, …}"));
    };
    let id = match body.get("id") {
        None => event_id(ambient),
        Some(Value::String(id)) => foreign_uuid(id),
        Some(_) => return Err(Failure::usage("an event's `id` is a text, best a UUID")),
    };
    let added = [("id", id.to_string()), ("at", ambient.now().to_string())];
    Ok(Event { key, id, body: with_added(json, &body, &added).into_bytes().into() })
}

/// The object's text with the fields in front that it lacks.
fn with_added(json: &str, body: &Map<String, Value>, added: &[(&str, String)]) -> String {
    let missing = added.iter().filter(|(name, _)| !body.contains_key(*name));
    let mut fields: Vec<String> = missing.map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    let inside = json.strip_prefix('{').unwrap_or(json);
    if body.is_empty() {
        return format!("{{{}}}", fields.join(","));
    }
    fields.push(inside.to_owned());
    format!("{{{}", fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Timestamp;
    use serde_json::json;

    struct Fixed;
    impl Ambient for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }
        fn random(&self) -> u64 {
            7
        }
    }

    fn read(json: &str) -> Result<Event, Failure> {
        event(RoutingKey::parse("a.b").unwrap(), json, &Fixed)
    }

    #[test]
    fn id_and_at_are_added_if_they_are_missing_and_all_else_stays_to_the_letter() {
        let event = read(r#"{"price": 1.10, "big": 12345678901234567890123}"#).unwrap();
        let expected = format!(
            r#"{{"id":"{}","at":"1970-01-01T00:00:00.000Z","price": 1.10, "big": 12345678901234567890123}}"#,
            event.id
        );
        assert_eq!(event.body, expected);
        let id = "0192f0c1-2345-7000-8000-000000000001";
        let complete = json!({"id": id, "at": "2026-01-01T00:00:00Z"}).to_string();
        let event = read(&complete).unwrap();
        assert_eq!((event.id.to_string().as_str(), event.body), (id, complete.into()));
        let empty: Value = read("{ }").unwrap().decode().unwrap();
        assert_eq!(empty["at"], "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn what_is_no_json_object_is_refused_with_its_place() {
        for (json, expected) in
            [("{title}", "line 1 column 2"), ("[1]", "object"), ("", "no JSON"), (r#"{"id": 5}"#, "`id`")]
        {
            let Err(Failure::Usage(why)) = read(json) else { panic!("{json}") };
            assert!(why.contains(expected), "{why}");
        }
    }
}
