//! `pubbot say`: a line from the shell, to a channel, to somebody, or where a route leads. A place is spoken to through
//! its network's queue; a route is an event that a worker answers.

use std::collections::BTreeMap;

use bus::{Broker, Error, Message, System};
use clap::Args;
use protocol::{Event, Lines, Reply, ReplyKind, RoutingKey, Say as SayBody, Target, event_id};

use super::publish::{APP_ID, event, publish};
use crate::cli::Options;
use crate::config::{Config, Environment};
use crate::failure::Failure;
use crate::nearest::did_you_mean;
use crate::{bot, broker, database, input, logs, runtime};

const EXAMPLES: &str = "\
Examples:
  pubbot say libera/#pubbot hello there     in a channel
  pubbot say libera/alice psst              in private
  pubbot say console/#console hello         at the terminal of `pubbot up`
  tail -1 build.log | pubbot say reindex -  where the route `reindex` leads
  pubbot say --tag github:org/repo --tag github:org 'a new release'
                                            in the channels that subscribe to one of these tags";

/// Say something in a channel, to somebody, or where a route leads
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Say {
    /// Say it in every channel that subscribes to this tag (and blocks none of its tags); then no TARGET is given
    /// [may be repeated]
    #[arg(long, value_name = "TAG", value_parser = tag)]
    tag: Vec<String>,
    /// network/#channel, network/nick, or a route's name
    target: String,
    /// What to say, each line of it; `-` reads it from standard input
    #[arg(required_unless_present = "tag", trailing_var_arg = true, allow_hyphen_values = true)]
    pub text: Vec<String>,
}

/// Where it goes.
#[derive(Debug)]
enum To {
    Place(Target),
    Route { name: String, key: RoutingKey },
    Tags(Vec<String>),
}

impl Say {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        let config = Config::load(environment, &options.overrides_without_secrets())?;
        logs::start(options, environment, logs::Default::Quiet)?;
        runtime::block_on(async {
            let (to, words) = self.addressed(&config).await?;
            let text = input::or_stdin(words.join(" "))?;
            if text.trim().is_empty() {
                return Err(Failure::usage("there is nothing to say"));
            }
            let broker = broker::from_outside(&config, "say").await?;
            let said = match &to {
                To::Place(target) => say(&*broker, target, text).await,
                To::Route { key, .. } => publish(&*broker, route(key, text, Vec::new())?).await,
                To::Tags(tags) => publish(&*broker, route(&RoutingKey::say_by_tags(), text, tags.clone())?).await,
            };
            broker.close().await;
            said.map_err(|why| explain(why, &to))
        })
    }
}

impl Say {
    /// Where it goes, and what is said.
    async fn addressed(self, config: &Config) -> Result<(To, Vec<String>), Failure> {
        let Say { tag, target, text } = self;
        if !tag.is_empty() {
            // there is no target, so what stands first belongs to the text
            return Ok((To::Tags(tag), std::iter::once(target).chain(text).collect()));
        }
        let to = match to(&target, &config.routes) {
            Err(_) if !target.contains('/') => to(&target, &all_routes(config).await)?,
            to => to?,
        };
        Ok((to, text))
    }
}

/// The routes of the file and of the database. One that can't be asked knows none.
async fn all_routes(config: &Config) -> BTreeMap<String, Vec<Target>> {
    let mut settings = bot::file_settings(config);
    if let Ok(store) = database::open(config) {
        match store.settings().all().await {
            Ok(database) => settings = settings.under(&database),
            Err(why) => tracing::warn!(%why, "routes that were set while the bot runs are not known here"),
        }
        store.close().await;
    }
    settings.routes().map(|(name, targets)| (name.to_owned(), targets.to_vec())).collect()
}

/// A tag.
fn tag(text: &str) -> Result<String, String> {
    store::settings::check_tag(text).map(|()| text.to_owned())
}

/// What a target means: with a `/` a place, else a route.
fn to(target: &str, routes: &BTreeMap<String, Vec<Target>>) -> Result<To, Failure> {
    if target.contains('/') {
        return target.parse().map(To::Place).map_err(Failure::usage);
    }
    let known = || routes.keys().map(String::as_str);
    if routes.contains_key(target) {
        let key = RoutingKey::say(target).map_err(Failure::usage)?;
        return Ok(To::Route { name: target.to_owned(), key });
    }
    let routes = match known().collect::<Vec<_>>().as_slice() {
        [] => "the configuration has none".to_owned(),
        known => format!("the routes are {}", known.join(", ")),
    };
    let meant = did_you_mean(target, known());
    Err(Failure::usage(format!(
        "there is no route {target:?}{meant} ({routes}); else write network/#channel or network/nick"
    )))
}

/// Puts it into the network's queue of what nobody waits for.
async fn say(broker: &dyn Broker, target: &Target, text: String) -> Result<(), Error> {
    let Target { network, channel } = target.clone();
    let queue = broker.topology().notices_name(bot::protocol_of(&network), &network);
    let reply = Reply {
        id: event_id(&System),
        in_reply_to: None,
        network,
        channel,
        content: Lines::from(text),
        kind: ReplyKind::Chat,
        handler: Some(APP_ID.to_owned()),
        expires_at: None,
        rank: 0,
        msgid: None,
    };
    match Message::reply(&reply, &queue) {
        Ok(message) => broker.publish(message).await.await,
        Err(_) => Err(Error::Unroutable(queue)),
    }
}

/// The event that asks for it to be said where the route leads, or by its tags.
fn route(key: &RoutingKey, text: String, tags: Vec<String>) -> Result<Event, Failure> {
    let body = SayBody { content: Lines::from(text), kind: ReplyKind::Chat, tags };
    let json = serde_json::to_string(&body).map_err(Failure::failed)?;
    event(key.clone(), &json, &System)
}

fn explain(why: Error, to: &To) -> Failure {
    match (why, to) {
        (Error::Unroutable(_), To::Place(Target { network, .. })) => {
            Failure::failed(format!("nobody speaks for the network {network}: is a connector running?"))
        }
        (Error::Unroutable(_), To::Route { name, .. }) => {
            Failure::failed(format!("nobody takes what is said to the route {name}: is a worker running?"))
        }
        (Error::Unroutable(_), To::Tags(_)) => {
            Failure::failed("nobody takes what is said by tags: is a worker running?")
        }
        (why, _) => why.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> BTreeMap<String, Vec<Target>> {
        [("news".to_owned(), vec!["libera/#a".parse().unwrap()])].into()
    }

    #[test]
    fn a_target_with_a_slash_is_a_place_and_one_without_is_a_route() {
        assert!(
            matches!(to("libera/#a", &routes()).unwrap(), To::Place(Target { network, .. }) if network == "libera")
        );
        assert!(matches!(to("news", &routes()).unwrap(), To::Route { key, .. } if key.as_str() == "say.news"));
    }

    #[test]
    fn a_target_that_is_none_is_refused() {
        for (target, expected) in [
            ("libera/#a,#b", "#a,#b"),
            ("libera/", "\"\""),
            ("li bera/#a", "li bera"),
            ("new", "did you mean \"news\""),
            ("weather", "the routes are news"),
        ] {
            let Err(Failure::Usage(why)) = to(target, &routes()) else { panic!("{target}") };
            assert!(why.contains(expected), "{why}");
        }
    }
}
