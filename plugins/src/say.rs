//! Says what anybody asks for: under `say.<route>` where that route leads, under `say.tags` in the channels that subscribe to
//! one of its tags. Routes and tags may change while the bot runs.

use protocol::{Say, Target, channel_word};
use store::settings::{DEFAULT_TAG, Snapshot, Takers, check_tag};
use worker::{Error, Event, LiveSettings, Plugin, Reply, State, event};

/// The most tags of a message.
const MAX_TAGS: usize = 50;

pub(crate) fn plugin(settings: LiveSettings) -> Plugin {
    Plugin::new("say").state(settings).on(event("say.*"), say)
}

async fn say(said: Event<Say>, settings: State<LiveSettings>) -> Result<Vec<Reply>, Error> {
    let settings = settings.now();
    let Say { content, kind, tags } = said.body;
    let targets = match said.key.words().nth(1).unwrap_or_default() {
        "tags" => subscribers(&settings, &tags),
        route if tags.is_empty() => route_targets(&settings, route),
        route => Err(format!("it has tags and goes to the route {route}: what has tags goes out as say.tags")),
    };
    let reply = Reply::lines(content.0).kind(kind);
    Ok(targets.map_err(Error::give_up)?.into_iter().map(|target| reply.clone().to(target)).collect())
}

fn route_targets(settings: &Snapshot, word: &str) -> Result<Vec<Target>, String> {
    let found = settings.routes().find(|(name, _)| channel_word(name) == word);
    found.map(|(_, targets)| targets.to_vec()).ok_or_else(|| unknown(settings, word))
}

fn unknown(settings: &Snapshot, route: &str) -> String {
    let known: Vec<&str> = settings.routes().map(|(name, _)| name).collect();
    match known.as_slice() {
        [] => format!(
            "there is no route {route}, nor any other: [routes] in the configuration, or `pubbot settings set route.{route} network/#channel`"
        ),
        known => format!("there is no route {route}; the routes are {}", known.join(", ")),
    }
}

fn subscribers(settings: &Snapshot, tags: &[String]) -> Result<Vec<Target>, String> {
    if tags.len() > MAX_TAGS {
        return Err(format!("it has {} tags; {MAX_TAGS} are the most", tags.len()));
    }
    tags.iter().try_for_each(|tag| check_tag(tag))?;
    match settings.takers(tags) {
        Takers::Channels(targets) => Ok(targets),
        // whoever would take it does not want it: that is as it should be
        Takers::Blocked => Ok(Vec::new()),
        Takers::Nobody => Err(format!(
            "no channel subscribes to {}{DEFAULT_TAG}: `pubbot settings set --in network/#channel subscribe {DEFAULT_TAG}` \
             makes one take what nobody else does",
            tags.iter().map(|tag| format!("{tag}, ")).collect::<String>()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use store::settings::{Name, Scope};
    use worker::testing::FakeChat;

    fn settings(settings: &[(&str, &str, &str)]) -> LiveSettings {
        let read = |&(scope, name, value): &(&str, &str, &str)| {
            let name: Name = name.parse().unwrap();
            let value = name.value(value).unwrap();
            (scope.parse::<Scope>().unwrap(), name, value)
        };
        LiveSettings::new(settings.iter().map(read).collect(), None)
    }

    fn routes() -> LiveSettings {
        settings(&[("everywhere", "route.news", "test/#a,test/bob"), ("everywhere", "route.re.index", "test/#c")])
    }

    #[tokio::test]
    async fn says_it_wherever_the_route_leads() {
        let mut chat = FakeChat::with([plugin(routes())]).await;
        chat.happens("say.news", json!({"content": "it rains"})).await;
        chat.hears_in("#a", "it rains").hears_in("bob", "it rains");
        chat.happens("say.re%2Eindex", json!({"content": ["one", "two"]})).await.hears_in("#c", "one\ntwo");
    }

    #[tokio::test]
    async fn an_unknown_route_fails_and_the_error_names_the_known_ones() {
        let mut chat = FakeChat::with([plugin(routes())]).await;
        chat.happens("say.nowhere", json!({"content": "hello?"})).await.hears_nothing();
        assert_eq!(chat.gives_up().await, "there is no route nowhere; the routes are news, re.index");
        chat.happens("say.news", json!({"content": "x", "tags": ["a"]})).await.hears_nothing();
        assert!(chat.gives_up().await.contains("say.tags"));
    }

    #[tokio::test]
    async fn what_has_tags_is_said_where_somebody_subscribes_and_nobody_blocks() {
        let settings = settings(&[
            ("test/#a", "subscribe", "github:org"),
            ("test/#b", "subscribe", "github:org default"),
            ("test/#b", "block", "github:org/noisy"),
        ]);
        let mut chat = FakeChat::with([plugin(settings)]).await;
        chat.happens("say.tags", json!({"content": "one", "tags": ["github:org/repo", "github:org"]})).await;
        chat.hears_in("#a", "one").hears_in("#b", "one");
        chat.happens("say.tags", json!({"content": "two", "tags": ["github:org/noisy", "github:org"]})).await;
        chat.hears_in("#a", "two");
        chat.happens("say.tags", json!({"content": "three", "tags": ["weather"]})).await.hears_in("#b", "three");
        chat.happens("say.tags", json!({"content": "four"})).await.hears_in("#b", "four");
        chat.happens("say.tags", json!({"content": "five", "tags": ["github:org/noisy"]})).await.hears_nothing();
    }

    #[tokio::test]
    async fn what_nobody_takes_is_a_dead_letter_that_says_so() {
        let mut chat = FakeChat::with([plugin(settings(&[("test/#a", "subscribe", "b")]))]).await;
        chat.happens("say.tags", json!({"content": "one", "tags": ["a", "c"]})).await.hears_nothing();
        assert!(chat.gives_up().await.starts_with("no channel subscribes to a, c, default"));
        chat.happens("say.tags", json!({"content": "one", "tags": ["a b"]})).await.hears_nothing();
        assert!(chat.gives_up().await.contains("no tag"));
    }
}
