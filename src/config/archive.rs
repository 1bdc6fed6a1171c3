//! The table `[archive]`: how long what was said is kept, everywhere and in single channels.

use std::time::Duration;

use plugins::archive::Keep;
use protocol::Target;

use super::network;
use super::section::Section;
use super::tree::Entry;

/// Reads it; a channel's network must be one of these.
pub fn archive(mut section: Section<'_>, networks: &[String]) -> Keep {
    let all = section.parsed("keep", keep).unwrap_or_default();
    let mut channels = section.section("channels");
    let names = channels.names();
    let channels =
        names.into_iter().filter_map(|(name, entry)| channel(&mut channels, name, entry, networks)).collect();
    section.finish();
    Keep { all, channels }
}

fn channel(
    section: &mut Section<'_>,
    name: String,
    Entry { key, node }: Entry,
    networks: &[String],
) -> Option<(Target, Option<Duration>)> {
    let what = section.path(&format!("{name:?}"));
    let target = name.parse::<Target>().map_err(|why| why.to_string());
    let target = target.and_then(|target| network::check_known(&target.network, networks).map(|()| target));
    let target = target.map_err(|why| section.complain(&key, format!("{what}: {why}"))).ok()?;
    let found = section.as_text(&what, node)?;
    match keep(&found.value) {
        Ok(keep) => Some((target, keep)),
        Err(why) => {
            section.complain(&found.origin, format!("{what}: {why}"));
            None
        }
    }
}

fn keep(text: &str) -> Result<Option<Duration>, String> {
    match humantime::parse_duration(text) {
        _ if text == "forever" => Ok(None),
        Ok(keep) if keep >= Duration::from_secs(60) => Ok(Some(keep)),
        _ => Err(format!("{text:?} is no length of time: write \"forever\", or \"30days\", \"1year\", at least 1m")),
    }
}
