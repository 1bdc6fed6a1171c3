//! A search as conditions on the tokens of a message: what both engines are told, each in its own words.

use super::{Phrase, Place, Query};
use crate::words::{channel_token, network_token, nick_token};

/// Tokens that follow one another.
pub(super) type Run = Vec<String>;
/// All of these runs are there.
pub(super) type Together = Vec<Run>;

/// What must hold for a message to be found, the period aside.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// Of each, one alternative holds; none is without alternatives.
    pub all: Vec<Vec<Together>>,
    /// None of these holds.
    pub none: Vec<Together>,
}

impl Conditions {
    pub fn of(query: &Query) -> Self {
        let words = query.all.iter().map(|phrase| vec![together(phrase)]);
        let filters = [
            query.from.iter().map(|nick| nick_is(nick)).collect(),
            query.channels.iter().flat_map(place_is).collect(),
            query.networks.iter().map(|network| network_is(network)).collect(),
        ];
        let filters = filters.into_iter().filter(|alternatives: &Vec<Together>| !alternatives.is_empty());
        let none = query.none.iter().map(together);
        let none = none.chain(query.not_from.iter().map(|nick| nick_is(nick)));
        let none = none.chain(query.not_channels.iter().flat_map(place_is));
        let none = none.chain(query.not_networks.iter().map(|network| network_is(network)));
        Conditions { all: words.chain(filters).collect(), none: none.collect() }
    }
}

fn together(phrase: &Phrase) -> Together {
    vec![phrase.words().map(str::to_owned).collect()]
}

fn nick_is(nick: &str) -> Together {
    vec![vec![nick_token(nick)]]
}

fn network_is(network: &str) -> Together {
    vec![vec![network_token(network)]]
}

/// The place; and for a channel without a sign before its name, the one with `#`, too.
fn place_is(place: &Place) -> Vec<Together> {
    let network = place.network.as_deref().map(network_token);
    let at = |channel: &str| {
        let tokens = network.clone().into_iter().chain([channel_token(channel)]);
        tokens.map(|token| vec![token]).collect()
    };
    let mut places = vec![at(&place.channel)];
    if place.channel.starts_with(char::is_alphanumeric) {
        places.push(at(&format!("#{}", place.channel)));
    }
    places
}
