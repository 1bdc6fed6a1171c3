//! All settings at one moment, in memory, ready to be asked for each event: those of the database, or those of the file with
//! the database's over them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::Target;

use super::{DEFAULT_TAG, Name, Scope, Value};

/// Settings by name and place.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    settings: BTreeMap<(Name, Scope), Value>,
    /// Whether a plugin is on, where it was set: looked at for each event.
    switches: HashMap<String, HashMap<Scope, bool>>,
}

/// Which channels take what is said by tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takers {
    /// These.
    Channels(Vec<Target>),
    /// Those who would take it block one of its tags.
    Blocked,
    /// Nobody subscribes to a tag of it, nor to `default`.
    Nobody,
}

impl FromIterator<(Scope, Name, Value)> for Snapshot {
    fn from_iter<I: IntoIterator<Item = (Scope, Name, Value)>>(settings: I) -> Self {
        Snapshot::of(settings.into_iter().map(|(scope, name, value)| ((name, scope), value)).collect())
    }
}

impl Snapshot {
    fn of(settings: BTreeMap<(Name, Scope), Value>) -> Self {
        let mut switches: HashMap<String, HashMap<Scope, bool>> = HashMap::new();
        for ((name, scope), value) in &settings {
            if let (Name::Plugin(plugin), Value::On(on)) = (name, value) {
                switches.entry(plugin.clone()).or_default().insert(scope.clone(), *on);
            }
        }
        Snapshot { settings, switches }
    }

    /// These settings with others over them: for each name and place, the other's if it has one.
    #[must_use]
    pub fn under(&self, over: &Snapshot) -> Self {
        let mut settings = self.settings.clone();
        for ((name, scope), value) in &over.settings {
            // with it goes the spelling of its place
            settings.remove(&(name.clone(), scope.clone()));
            settings.insert((name.clone(), scope.clone()), value.clone());
        }
        Snapshot::of(settings)
    }

    /// What is set, by name and place.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, &Name, &Value)> {
        self.settings.iter().map(|((name, scope), value)| (scope, name, value))
    }

    /// What is set there, and nowhere else.
    pub fn get(&self, scope: &Scope, name: &Name) -> Option<&Value> {
        self.settings.get(&(name.clone(), scope.clone()))
    }

    /// Whether any plugin was switched on or off anywhere.
    pub fn has_switches(&self) -> bool {
        !self.switches.is_empty()
    }

    /// Whether this plugin was switched on or off anywhere: only then it matters where something happens.
    pub fn switches(&self, plugin: &str) -> bool {
        self.switches.contains_key(plugin)
    }

    /// Whether a plugin is on in a channel: what is set there counts, else what is set everywhere, else it is.
    pub fn is_on(&self, plugin: &str, scope: &Scope) -> bool {
        let Some(switches) = self.switches.get(plugin) else { return true };
        let on = switches.get(scope).or_else(|| switches.get(&Scope::Everywhere));
        on.copied().unwrap_or(true)
    }

    /// Where all routes lead.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &[Target])> {
        self.iter().filter_map(|(_, name, value)| match (name, value) {
            (Name::Route(route), Value::Targets(targets)) => Some((&**route, &**targets)),
            _ => None,
        })
    }

    /// Who takes what is said by these tags (without any: by `default`): every channel that subscribes to one of them and
    /// blocks none. If there is none, every channel that subscribes to `default`, and blocks none.
    pub fn takers(&self, tags: &[String]) -> Takers {
        let of = |scope: &Scope, name: Name| match self.settings.get(&(name, scope.clone())) {
            Some(Value::Tags(tags)) => Some(tags),
            _ => None,
        };
        let has = |set: Option<&BTreeSet<String>>, tags: &[String]| {
            set.is_some_and(|set| tags.iter().any(|tag| set.contains(tag)))
        };
        let mut blocked = false;
        for wanted in [tags, &[DEFAULT_TAG.to_owned()]] {
            let subscribers = self.iter().filter_map(|(scope, name, value)| match (scope, name, value) {
                (Scope::In(place), Name::Subscribe, Value::Tags(set)) => {
                    has(Some(set), wanted).then_some((scope, place))
                }
                _ => None,
            });
            let (no, yes): (Vec<_>, Vec<_>) = subscribers
                .partition(|(scope, ..)| has(of(scope, Name::Block), tags) || has(of(scope, Name::Block), wanted));
            blocked |= !no.is_empty();
            let targets: Vec<Target> = yes.into_iter().map(|(_, place)| place.target().clone()).collect();
            if !targets.is_empty() {
                return Takers::Channels(targets);
            }
        }
        if blocked { Takers::Blocked } else { Takers::Nobody }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(settings: &[(&str, &str, &str)]) -> Snapshot {
        let read = |&(scope, name, value): &(&str, &str, &str)| {
            let name: Name = name.parse().unwrap();
            let value = name.value(value).unwrap();
            (scope.parse().unwrap(), name, value)
        };
        settings.iter().map(read).collect()
    }

    fn takers(snapshot: &Snapshot, tags: &[&str]) -> Vec<String> {
        let tags: Vec<String> = tags.iter().map(|&tag| tag.to_owned()).collect();
        match snapshot.takers(&tags) {
            Takers::Channels(targets) => targets.iter().map(ToString::to_string).collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn what_is_set_in_a_channel_counts_more_than_what_is_set_everywhere_and_the_database_more_than_the_file() {
        let file = snapshot(&[("n/#a", "plugin.echo", "off"), ("everywhere", "plugin.music", "off")]);
        let database = snapshot(&[("everywhere", "plugin.echo", "on"), ("n/#B", "plugin.music", "on")]);
        let both = file.under(&database);
        let on = |plugin: &str, channel: &str| both.is_on(plugin, &Scope::of("n", channel));
        assert!(!on("echo", "#a") && !on("echo", "#A") && on("echo", "#b"));
        assert!(!on("music", "#a") && on("music", "#b") && on("ping", "#a"));
        assert!(both.switches("music") && !both.switches("ping"));
        assert!(file.under(&snapshot(&[("n/#a", "plugin.echo", "on")])).is_on("echo", &Scope::of("n", "#a")));
    }

    #[test]
    fn a_channel_takes_what_it_subscribes_to_and_does_not_block() {
        let settings = snapshot(&[
            ("n/#a", "subscribe", "github:org, news"),
            ("n/#b", "subscribe", "github:org,default"),
            ("n/#b", "block", "github:org/noisy"),
            ("n/#c", "block", "news"),
        ]);
        assert_eq!(takers(&settings, &["github:org/repo", "github:org"]), ["n/#a", "n/#b"]);
        assert_eq!(takers(&settings, &["github:org/noisy", "github:org"]), ["n/#a"]);
        assert_eq!(takers(&settings, &["news"]), ["n/#a"]);
        assert_eq!(takers(&settings, &["weather"]), ["n/#b"]);
        assert_eq!(takers(&settings, &[]), ["n/#b"]);
        assert_eq!(takers(&settings, &["github:org/noisy"]), ["Blocked"], "not under default either");
        assert_eq!(takers(&snapshot(&[]), &["weather"]), ["Nobody"]);
    }

    #[test]
    fn names_and_values_that_are_none_are_refused_with_what_was_expected() {
        for (name, expected) in [
            ("color", "settings: plugin.<name>"),
            ("route.tags", "say.tags"),
            ("route.a b", "route's name"),
            ("plugin.", "no setting"),
        ] {
            let why = name.parse::<Name>().unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        for (name, value, expected) in [
            ("plugin.echo", "maybe", "on or off"),
            ("route.news", "libera", "network/#channel"),
            ("subscribe", &"x".repeat(201), "no tag"),
        ] {
            let why = name.parse::<Name>().unwrap().value(value).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        assert!(Name::Subscribe.fits(&Scope::Everywhere).is_err());
        assert!(Name::Route("x".into()).fits(&Scope::of("n", "#a")).is_err());
        assert!("no-slash".parse::<Scope>().is_err());
    }
}
