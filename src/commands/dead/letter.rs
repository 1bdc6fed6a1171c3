//! A dead letter as it is shown. Whatever is in it may have come from anybody: nothing of it reaches the terminal but
//! text.

use bus::{DeadLetter, Delivery};
use protocol::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// What stands where nothing is known.
const UNKNOWN: &str = "-";

/// One of the dead letters.
pub(super) struct Letter {
    pub(super) delivery: Delivery,
    pub(super) what: DeadLetter,
    id: String,
}

impl Letter {
    pub(super) fn read(delivery: Delivery) -> Self {
        let (what, id) = (DeadLetter::read(&delivery), id(&delivery));
        Letter { delivery, what, id }
    }

    /// The id of the event or reply.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The same for a terminal.
    pub(super) fn shown_id(&self) -> String {
        escaped(&self.id)
    }

    /// `0192f0c1-2345-7000-8000-000000000001  3 min  5×  main/deploy/deploy  chat.irc.#rust.chat  no disk`
    pub(super) fn line(&self, now: Timestamp) -> String {
        let DeadLetter { error, attempts, handler, key, .. } = &self.what;
        let (handler, error) = (handler.as_deref().unwrap_or(UNKNOWN), error.as_deref().unwrap_or(UNKNOWN));
        let (id, handler, key, error) = (escaped(&self.id), escaped(handler), escaped(key), escaped(error));
        format!("{id}  {:>6}  {attempts}×  {handler}  {key}  {error}", self.age(now))
    }

    /// One JSON object.
    pub(super) fn json(&self, now: Timestamp) -> String {
        let DeadLetter { error, attempts, handler, key, queue } = &self.what;
        let published_at = self.delivery.properties.published_at.map(|at| at.to_string());
        let age = self.age_ms(now).map(|age| age / 1000);
        let letter = json!({
            "id": self.id, "published_at": published_at, "age_s": age, "attempts": attempts, "handler": handler,
            "key": key, "queue": queue, "error": error,
        });
        escaped_json(&letter)
    }

    /// Everything, a line each, and the body at the end.
    pub(super) fn text(&self, now: Timestamp) -> String {
        let DeadLetter { error, attempts, handler, key, queue } = &self.what;
        let properties = &self.delivery.properties;
        let published_at =
            properties.published_at.map(|at| format!("{at} ({} ago)", self.age(now))).unwrap_or_default();
        let attempts = attempts.to_string();
        let optional = |value: &'_ Option<String>| value.clone().unwrap_or_default();
        let mut fields = vec![
            ("id", self.id.clone()),
            ("error", optional(error)),
            ("attempts", attempts),
            ("handler", optional(handler)),
            ("key", key.clone()),
            ("queue", optional(queue)),
            ("published", published_at),
            ("by", optional(&properties.app_id)),
            ("reply to", optional(&properties.reply_to)),
            ("answers", optional(&properties.correlation_id)),
        ];
        let known = ["error", "attempts", "handler", "key", "queue"];
        let others = properties.headers.iter().filter(|(name, _)| !known.contains(&name.as_str()));
        let others: Map<String, Value> = others.map(|(name, value)| (name.clone(), json!(value))).collect();
        if !others.is_empty() {
            fields.push(("headers", Value::Object(others).to_string()));
        }
        fields.retain(|(_, value)| !value.is_empty());
        let lines: Vec<String> = fields.iter().map(|(name, value)| format!("{name:<10} {}", escaped(value))).collect();
        format!("{}\n\n{}\n", lines.join("\n"), self.body())
    }

    /// The body: JSON in lines; anything else as it is, what is no text escaped.
    fn body(&self) -> String {
        let body = &self.delivery.body;
        match serde_json::from_slice::<Value>(body).ok().and_then(|value| serde_json::to_string_pretty(&value).ok()) {
            Some(pretty) => pretty.lines().map(escaped).collect::<Vec<_>>().join("\n"),
            None if body.is_empty() => "(the body is empty)".to_owned(),
            None => body.utf8_chunks().map(|chunk| escaped(chunk.valid()) + &bytes(chunk.invalid())).collect(),
        }
    }

    fn age_ms(&self, now: Timestamp) -> Option<i64> {
        Some(now.millis().saturating_sub(self.delivery.properties.published_at?.millis()).max(0))
    }

    /// How long ago it was published: `3 min`.
    fn age(&self, now: Timestamp) -> String {
        let Some(seconds) = self.age_ms(now).map(|age| age / 1000) else { return UNKNOWN.to_owned() };
        match seconds {
            ..60 => format!("{seconds} s"),
            60..3_600 => format!("{} min", seconds / 60),
            3_600..172_800 => format!("{} h", seconds / 3_600),
            _ => format!("{} d", seconds / 86_400),
        }
    }
}

/// What it was published under; else what its body says; else, so that it can be named, one made from all of it.
fn id(delivery: &Delivery) -> String {
    if let Some(id) = delivery.properties.message_id.as_ref().filter(|id| !id.is_empty()) {
        return id.clone();
    }
    match serde_json::from_slice::<Map<String, Value>>(&delivery.body).ok().and_then(|mut body| body.remove("id")) {
        Some(Value::String(id)) if !id.is_empty() => id,
        _ => Uuid::new_v5(&Uuid::NAMESPACE_OID, &[delivery.key.as_bytes(), b"\0", &delivery.body].concat()).to_string(),
    }
}

/// Every control character, and what reverses the direction of text, as `\u{1b}`.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            c if is_steering(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

fn bytes(invalid: &[u8]) -> String {
    invalid.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// JSON that only has harmless characters, and is the same JSON.
fn escaped_json(value: &Value) -> String {
    let mut shown = String::new();
    for c in value.to_string().chars() {
        if is_steering(c) {
            let mut units = [0; 2];
            shown.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// It could steer a terminal, or turn text around.
fn is_steering(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use bus::{Outcome, Properties, Settle};

    struct Nowhere;
    impl Settle for Nowhere {
        fn settle(&self, _: u64, _: Outcome) {}
    }

    const NOW: i64 = 1_700_000_000_000;

    fn letter(headers: &[(&str, &str)], id: Option<&str>, body: &[u8]) -> Letter {
        let properties = Properties {
            message_id: id.map(str::to_owned),
            published_at: Some(Timestamp::from_millis(NOW - 200_000)),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
            ..Properties::default()
        };
        let body = body.to_vec().into();
        Letter::read(Delivery::new("pubbot.dead".into(), properties, body, 0, Arc::new(Nowhere), 1))
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(NOW)
    }

    #[test]
    fn one_line_says_what_and_why() {
        let headers = [("key", "a.b"), ("handler", "main/p/h"), ("error", "no disk"), ("queue", "q")];
        let letter = letter(&headers, Some("1"), b"{}");
        assert_eq!(letter.line(now()), "1   3 min  0×  main/p/h  a.b  no disk");
        let json: Value = serde_json::from_str(&letter.json(now())).unwrap();
        assert_eq!((&json["id"], &json["age_s"], &json["queue"]), (&json!("1"), &json!(200), &json!("q")));
    }

    #[test]
    fn what_nobody_wrote_headers_for_is_shown_with_what_is_known() {
        let letter = letter(&[], None, b"\xff\x00no JSON\x1b[2J");
        let line = letter.line(now());
        assert!(line.ends_with("-  pubbot.dead  -"), "{line}");
        assert!(Uuid::parse_str(letter.id()).is_ok());
        let text = letter.text(now());
        assert!(text.ends_with("\n\\xff\\u{0}no JSON\\u{1b}[2J\n"), "{text}");
    }

    #[test]
    fn an_id_is_found_in_the_properties_else_in_the_body_else_it_is_made() {
        assert_eq!(letter(&[], Some("x"), br#"{"id": "y"}"#).id(), "x");
        assert_eq!(letter(&[], None, br#"{"id": "y"}"#).id(), "y");
        let (a, b) = (letter(&[], None, b"a"), letter(&[], None, b"b"));
        assert_eq!(a.id(), letter(&[], None, b"a").id());
        assert_ne!(a.id(), b.id());
    }

    #[test]
    fn nothing_of_a_letter_steers_the_terminal() {
        let evil = "\u{1b}[2J\u{9b}2J\r\n\u{202e}x";
        let body = json!({ evil: evil }).to_string();
        let letter =
            letter(&[("error", evil), ("handler", evil), ("key", evil), ("x", evil)], Some(evil), body.as_bytes());
        for shown in [letter.line(now()), letter.json(now()), letter.text(now()), letter.shown_id()] {
            assert!(!shown.chars().any(|c| c != '\n' && is_steering(c)), "{shown:?}");
        }
        let json: Value = serde_json::from_str(&letter.json(now())).unwrap();
        assert_eq!(json["error"], evil);
        assert_eq!(letter.line(now()).lines().count(), 1);
    }
}
