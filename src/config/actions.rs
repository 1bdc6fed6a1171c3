//! `[actions]`: which actions each worker group may ask for.

use std::collections::BTreeSet;

use connector::Permits;
use protocol::DeedKind;

use super::group;
use super::section::{Found, Section};
use super::tree::Entry;
use crate::nearest::did_you_mean;

/// Reads the table: names of groups, and a list of actions for each.
pub fn actions(mut section: Section<'_>) -> Permits {
    let groups = section.names();
    Permits::new(groups.into_iter().map(|(name, entry)| (name.clone(), allowed(&mut section, &name, entry))).collect())
}

fn allowed(section: &mut Section<'_>, name: &str, Entry { key, node }: Entry) -> BTreeSet<DeedKind> {
    if let Err(why) = group(name) {
        section.complain(&key, why);
    }
    let what = section.path(name);
    let Some(Found { value, .. }) = section.as_list(&what, node) else { return BTreeSet::new() };
    let words: Vec<_> = value.into_iter().filter_map(|node| section.as_text(&what, node)).collect();
    words.into_iter().filter_map(|word| action(section, &what, &word)).collect()
}

fn action(section: &mut Section<'_>, what: &str, Found { value, origin }: &Found<String>) -> Option<DeedKind> {
    let found = DeedKind::ALL.into_iter().find(|kind| kind.word() == value);
    if found.is_none() {
        let words = DeedKind::ALL.map(DeedKind::word);
        let meant = did_you_mean(value, words);
        section.complain(origin, format!("{what}: there is no action {value:?}{meant}; actions: {}", words.join(", ")));
    }
    found
}
