//! `[channels."network/#channel"]`: what workers should know of a channel. All of it can be changed while the bot runs; the
//! database says so then, over the file.

use store::settings::{Name, Scope, Value, check_tag};

use super::section::{Found, Section};
use super::tree::Entry;
use super::{network, plugin};

/// A setting in its place.
pub type Setting = (Scope, Name, Value);

/// Reads the table: places, and the settings of each.
pub fn channels(mut section: Section<'_>, networks: &[String]) -> Vec<Setting> {
    let places = section.names();
    places.into_iter().flat_map(|(place, entry)| channel(&mut section, &place, entry, networks)).collect()
}

fn channel(section: &mut Section<'_>, place: &str, Entry { key, node }: Entry, networks: &[String]) -> Vec<Setting> {
    let what = section.path(place);
    let scope = match scope(place, networks) {
        Ok(scope) => scope,
        Err(why) => {
            section.complain(&key, format!("{what}: {why}"));
            return Vec::new();
        }
    };
    let Some(table) = section.as_table(&what, node) else { return Vec::new() };
    let mut channel = Section::new(what, table, section.reading());
    let mut settings = Vec::new();
    for (key, name) in [("subscribe", Name::Subscribe), ("block", Name::Block)] {
        let tags = tags(&mut channel, key);
        settings.extend(tags.map(|tags| (scope.clone(), name, Value::Tags(tags.into_iter().collect()))));
    }
    for plugin in off(&mut channel) {
        settings.push((scope.clone(), Name::Plugin(plugin), Value::On(false)));
    }
    channel.finish();
    settings
}

fn scope(place: &str, networks: &[String]) -> Result<Scope, String> {
    let target: protocol::Target = place.parse().map_err(|why: protocol::TargetError| why.to_string())?;
    network::check_known(&target.network, networks)?;
    Ok(Scope::of(&target.network, &target.channel))
}

fn tags(section: &mut Section<'_>, key: &'static str) -> Option<Vec<String>> {
    let texts = texts(section, key)?;
    let what = section.path(key);
    for Found { value, origin } in &texts {
        if let Err(why) = check_tag(value) {
            section.complain(origin, format!("{what}: {why}"));
        }
    }
    Some(texts.into_iter().map(|found| found.value).collect())
}

fn off(section: &mut Section<'_>) -> Vec<String> {
    let what = section.path("plugins_off");
    let names = texts(section, "plugins_off").unwrap_or_default();
    names.into_iter().filter_map(|name| plugin(section, &what, name)).collect()
}

fn texts(section: &mut Section<'_>, key: &'static str) -> Option<Vec<Found<String>>> {
    let list = section.list(key)?.value;
    let what = section.path(key);
    Some(list.into_iter().filter_map(|node| section.as_text(&what, node)).collect())
}
