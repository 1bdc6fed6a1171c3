//! The smallest trigger: a regular expression, its named groups as a struct, an answer.

use serde::Deserialize;
use worker::{Captures, Plugin, trigger};

pub(crate) fn plugin() -> Plugin {
    let spec = trigger(r"foo=(?<foo>\w+), bar=(?<bar>\w+)")
        .help("tells what foo and bar were")
        .example("foo=1, bar=2", r#"Foo was "1", bar was "2""#);
    Plugin::new("foobar").on(spec, foo_bar)
}

#[derive(Deserialize)]
struct FooBar {
    foo: String,
    bar: String,
}

async fn foo_bar(Captures(it): Captures<FooBar>) -> String {
    format!("Foo was \"{}\", bar was \"{}\"", it.foo, it.bar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use worker::testing::FakeChat;

    #[tokio::test]
    async fn finds_foo_and_bar_anywhere_in_a_line() {
        let mut chat = FakeChat::with([plugin()]).await;
        chat.says("alice", "so foo=a, bar=b then").await.hears(r#"Foo was "a", bar was "b""#);
        chat.says("alice", "foo=, bar=b").await.hears_nothing();
    }
}
