//! Says what anybody asks for under `say.<route>`, where that route leads.

use std::collections::BTreeMap;

use protocol::{Say, Target, channel_word};
use worker::{Error, Event, Plugin, Reply, State, event};

/// Where each route leads, by the word that it is in a routing key.
struct Routes(BTreeMap<String, Vec<Target>>);

pub(crate) fn plugin(routes: BTreeMap<String, Vec<Target>>) -> Plugin {
    let routes = routes.into_iter().map(|(name, targets)| (channel_word(&name), targets)).collect();
    Plugin::new("say").state(Routes(routes)).on(event("say.*"), say)
}

async fn say(said: Event<Say>, routes: State<Routes>) -> Result<Vec<Reply>, Error> {
    let route = said.key.words().nth(1).unwrap_or_default();
    let targets = routes.0.0.get(route).ok_or_else(|| Error::give_up(unknown(route, &routes)))?;
    let reply = Reply::lines(said.body.content.0).kind(said.body.kind);
    Ok(targets.iter().map(|target| reply.clone().to(target.clone())).collect())
}

fn unknown(route: &str, routes: &Routes) -> String {
    let known: Vec<&str> = routes.0.keys().map(String::as_str).collect();
    match known.as_slice() {
        [] => format!("there is no route {route}: [routes] in the configuration is empty"),
        known => format!("there is no route {route}; the routes are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use worker::testing::FakeChat;

    fn routes() -> BTreeMap<String, Vec<Target>> {
        let targets = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        [("news".to_owned(), targets(&["test/#a", "test/bob"])), ("re.index".to_owned(), targets(&["test/#c"]))].into()
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
        chat.happens("say.nowhere", json!({"content": "hello?"})).await.fails().await.hears_nothing();
        let error = unknown("nowhere", &Routes(routes()));
        assert_eq!(error, "there is no route nowhere; the routes are news, re.index");
    }
}
