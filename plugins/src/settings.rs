//! `!set` and `!unset`, for admins: settings that change while the bot runs. The command line has the same, by [`Known`].

use store::settings::{Name, Scope, Value};
use worker::{Ambience, Args, Channel, Error, LiveSettings, Plugin, Sender, State, command};

/// The role of those who may change settings.
const ADMIN: &str = "admin";
/// The plugin by which plugins are turned on again.
const NAME: &str = "settings";

/// What settings may name.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The networks that something can be said on.
    pub networks: Vec<String>,
}

impl Known {
    /// Whether a setting names only what there is.
    ///
    /// # Errors
    /// What there is not, and what there is.
    pub fn check(&self, scope: &Scope, name: &Name, value: Option<&Value>) -> Result<(), String> {
        name.fits(scope)?;
        if let Scope::In(place) = scope {
            self.network(&place.target().network)?;
        }
        // what was set for something that is gone can be unset
        let Some(value) = value else { return Ok(()) };
        match (name, value) {
            (Name::Plugin(plugin), _) if plugin == NAME => {
                Err(format!("the plugin {NAME} stays on: without it, nobody here could turn it on again"))
            }
            (Name::Plugin(plugin), _) if !crate::NAMES.contains(&plugin.as_str()) => {
                Err(format!("there is no plugin {plugin}; plugins: {}", crate::NAMES.join(", ")))
            }
            (_, Value::Targets(targets)) => targets.iter().try_for_each(|target| self.network(&target.network)),
            _ => Ok(()),
        }
    }

    fn network(&self, network: &str) -> Result<(), String> {
        if self.networks.iter().any(|known| known == network) {
            return Ok(());
        }
        Err(format!("there is no network {network}; networks: {}", self.networks.join(", ")))
    }
}

/// Which setting words name: `plugin echo` as well as `plugin.echo`; and how many words that took.
///
/// # Errors
/// What there is to set.
pub fn name(words: &[&str]) -> Result<(Name, usize), String> {
    match words {
        [kind @ ("plugin" | "route"), which, ..] => Ok((format!("{kind}.{which}").parse()?, 2)),
        [word, ..] => Ok((word.parse()?, 1)),
        [] => Err(format!("what shall I set? {}", store::settings::NAMES)),
    }
}

pub(crate) fn plugin(settings: LiveSettings, networks: Vec<String>) -> Plugin {
    Plugin::new(NAME)
        .state(settings)
        .state(Known { networks })
        .on(
            command("set")
                .role(ADMIN)
                .usage("[in network/#channel | everywhere] plugin <name> on|off | route <name> <targets> | subscribe <tags> | block <tags>")
                .help("change a setting, here unless you say where; without a value: what it is"),
            set,
        )
        .on(
            command("unset")
                .role(ADMIN)
                .usage("[in network/#channel | everywhere] <setting>")
                .help("take a setting back to what the configuration says"),
            unset,
        )
}

async fn set(
    sender: Sender,
    args: Args,
    channel: Channel,
    clock: Ambience,
    settings: State<LiveSettings>,
    known: State<Known>,
) -> Result<String, Error> {
    let (scope, name, text) = read(&args, &channel).map_err(|why| Error::tell(sender.answer(why)))?;
    if text.is_empty() {
        return Ok(sender.answer(told(&settings, &scope, &name)));
    }
    let value = name.value(&text).and_then(|value| known.check(&scope, &name, Some(&value)).map(|()| value));
    let value = value.map_err(|why| Error::tell(sender.answer(why)))?;
    change(&sender, &clock, &settings, (scope, name, Some(value))).await
}

async fn unset(
    sender: Sender,
    args: Args,
    channel: Channel,
    clock: Ambience,
    settings: State<LiveSettings>,
) -> Result<String, Error> {
    let (scope, name, rest) = read(&args, &channel).map_err(|why| Error::tell(sender.answer(why)))?;
    if !rest.is_empty() {
        return Err(Error::tell(sender.answer(format!("{name} alone, please: unsetting takes no value"))));
    }
    change(&sender, &clock, &settings, (scope, name, None)).await
}

/// Where, what, and the rest.
fn read(args: &Args, channel: &Channel) -> Result<(Scope, Name, String), String> {
    let words: Vec<&str> = args.words().collect();
    let (scope, words) = match words.as_slice() {
        ["in", place, rest @ ..] => (Some(place.parse()?), rest),
        ["everywhere", rest @ ..] => (Some(Scope::Everywhere), rest),
        rest => (None, rest),
    };
    let (name, taken) = name(words)?;
    let scope = match (scope, &name) {
        (Some(scope), _) => scope,
        (None, Name::Route(_)) => Scope::Everywhere,
        (None, _) if channel.private => {
            return Err(format!("where? in network/#channel {name} …, or everywhere {name} …"));
        }
        (None, _) => Scope::of(&channel.network, &channel.name),
    };
    Ok((scope, name, words[taken..].join(" ")))
}

/// What a setting is, and says who.
fn told(settings: &LiveSettings, scope: &Scope, name: &Name) -> String {
    match (settings.now().get(scope, name), settings.file().get(scope, name)) {
        (None, _) => format!("{name} is not set ({scope})"),
        (Some(value), Some(file)) if value == file => format!("{name} is {value} ({scope}, by the configuration)"),
        (Some(value), _) => format!("{name} is {value} ({scope})"),
    }
}

async fn change(
    sender: &Sender,
    clock: &Ambience,
    settings: &LiveSettings,
    (scope, name, value): (Scope, Name, Option<Value>),
) -> Result<String, Error> {
    // whoever has a role has an account
    let who = format!("{}/{}", sender.network, sender.account.as_deref().unwrap_or_default());
    let changed = match settings.set(&scope, &name, value.as_ref(), &who, clock.now()).await {
        Err(why @ store::Error::Unfit { .. }) => return Err(Error::tell(sender.answer(why))),
        changed => changed?,
    };
    let now = told(settings, &scope, &name);
    Ok(sender.answer(match changed {
        None => format!("{now}, as before"),
        Some(change) => format!("{now}; before: {}", change.before.as_deref().unwrap_or("not set")),
    }))
}

#[cfg(test)]
mod tests {
    use store::testing::Temporary;
    use worker::testing::FakeChat;
    use worker::{Worker, event};

    use super::*;
    use crate::{echo, help};

    async fn chat(store: &Temporary) -> FakeChat {
        let file = [(Scope::of("test", "#test"), Name::Block, Value::Tags(["spam".to_owned()].into()))];
        let live = LiveSettings::new(file.into_iter().collect(), Some((**store).clone()));
        let worker = Worker::new("main")
            .plugins([plugin(live.clone(), vec!["test".to_owned()]), echo::plugin(), help::plugin()])
            .database((**store).clone())
            .settings(live);
        let mut chat = FakeChat::with_worker(worker).await;
        chat.logs_in("alice", "alice");
        let now = protocol::Timestamp::from_millis(1_700_000_000_000);
        let alice = store.people().introduce("test", "alice", now).await.unwrap();
        store.people().grant(alice, ADMIN, "a test", now).await.unwrap();
        chat
    }

    #[tokio::test]
    async fn an_admin_turns_a_plugin_off_here_and_it_is_silent_here_alone() {
        let store = Temporary::sqlite().await;
        let mut chat = chat(&store).await;
        chat.says("alice", "!set plugin echo off").await;
        chat.hears("alice: plugin.echo is off (test/#test); before: not set");
        chat.says("alice", "!echo hello").await.hears_nothing();
        chat.says("alice", "!commands").await.hears("alice: Available commands: set unset help commands");
        chat.says_privately("bob", "!echo hello").await.hears("hello");
        chat.says("alice", "!set plugin.echo on").await.hears("alice: plugin.echo is on (test/#test); before: off");
        chat.says("alice", "!echo hello").await.hears("hello");
        chat.says("alice", "!set everywhere plugin echo off").await;
        chat.hears("alice: plugin.echo is off (everywhere); before: not set");
        chat.says("alice", "!echo hello").await.hears("hello");
        chat.says("alice", "!unset plugin echo").await.hears("alice: plugin.echo is not set (test/#test); before: on");
        chat.says("alice", "!echo hello").await.hears_nothing();
        let history = store.settings().history(None, None, 10).await.unwrap();
        let told = history.iter().map(|it| (&*it.who, it.before.as_deref(), it.after.as_deref())).collect::<Vec<_>>();
        assert_eq!(
            told,
            [
                ("test/alice", Some("on"), None),
                ("test/alice", None, Some("off")),
                ("test/alice", Some("off"), Some("on")),
                ("test/alice", None, Some("off")),
            ]
        );
    }

    #[tokio::test]
    async fn what_the_file_says_is_told_and_comes_back_when_it_is_unset() {
        let store = Temporary::sqlite().await;
        let mut chat = chat(&store).await;
        chat.says("alice", "!set block").await.hears("alice: block is spam (test/#test, by the configuration)");
        chat.says("alice", "!set block noise, rumour").await;
        chat.hears("alice: block is noise,rumour (test/#test); before: not set");
        chat.says("alice", "!set block rumour noise")
            .await
            .hears("alice: block is noise,rumour (test/#test), as before");
        chat.says("alice", "!unset block").await;
        chat.hears("alice: block is spam (test/#test, by the configuration); before: noise,rumour");
        chat.says("alice", "!set route news test/#a").await;
        chat.hears("alice: route.news is test/#a (everywhere); before: not set");
    }

    #[tokio::test]
    async fn others_are_told_what_it_needs_whatever_their_nick_and_mistakes_are_told_in_one_sentence() {
        let store = Temporary::sqlite().await;
        let mut chat = chat(&store).await;
        chat.logs_out("alice");
        chat.says("alice", "!set plugin echo off").await.hears("alice: that needs the role admin");
        chat.logs_in("alice", "alice");
        for (said, expected) in [
            ("!set", "what shall I set? plugin.<name> on|off"),
            ("!set colour red", "there is no setting \"colour\""),
            ("!set plugin echo maybe", "expected on or off"),
            ("!set plugin eco off", "there is no plugin eco; plugins: help, ping, echo"),
            ("!set plugin settings off", "stays on"),
            ("!set in nowhere/#a plugin echo off", "there is no network nowhere; networks: test"),
            ("!set route news nowhere/#a", "there is no network nowhere"),
            ("!set everywhere subscribe a", "a channel's own"),
            ("!set in libera plugin echo off", "network/#channel"),
            ("!unset plugin echo off", "takes no value"),
        ] {
            let told = chat.says("alice", said).await.hears_something();
            assert!(told.starts_with("alice: ") && told.contains(expected), "{said}: {told}");
        }
        assert!(store.settings().history(None, None, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_a_plugin_says_by_itself_does_not_go_where_it_is_off() {
        async fn news() -> Result<Vec<worker::Reply>, Error> {
            Ok(vec![worker::Reply::text("a").to("test/#a".parse()?), worker::Reply::text("b").to("test/#b".parse()?)])
        }
        let file = [(Scope::of("test", "#A"), Name::Plugin("news".to_owned()), Value::On(false))];
        let live = LiveSettings::new(file.into_iter().collect(), None);
        let worker = Worker::new("main").plugin(Plugin::new("news").on(event("news"), news)).settings(live);
        let mut chat = FakeChat::with_worker(worker).await;
        chat.happens("news", serde_json::json!({})).await.hears_in("#b", "b").hears_nothing();
    }
}
