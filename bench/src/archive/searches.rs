//! What is searched for: a third each with common, medium and rare words, half of them with filters, and one by one the kinds
//! that are hard for an index.

use protocol::Timestamp;

use super::chat::World;
use crate::random::Random;

/// Ranks of words: those that are in every few lines, and those that are in one of some thousand.
const COMMON: std::ops::Range<usize> = 0..30;
const MEDIUM: std::ops::Range<usize> = 500..3_000;
/// Of these there are as many as a rare person has said.
const RARE: std::ops::Range<usize> = 25_000..50_000;
/// How often a rare person was there.
const RARE_NICK: f64 = 30.0;
/// The kinds of words, and of filters with them; each of both with each other, the first filter three times.
const FILTERS: usize = 6;

/// A kind of search, and some of it.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// Whether it has an aim.
    pub(crate) is_aimed: bool,
    pub(crate) searches: Vec<String>,
}

/// Makes a search.
type Make<'m, S> = &'m dyn Fn(&mut S) -> String;

/// What searches are made of.
pub(crate) struct Searches<'w> {
    pub(crate) world: &'w World,
    pub(crate) random: Random,
    pub(crate) events: usize,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

impl Searches<'_> {
    /// So many of each kind.
    pub(crate) fn groups(&mut self, count: usize) -> Vec<Group> {
        let mut groups = Vec::new();
        for (name, ranks) in [("common", COMMON), ("medium", MEDIUM), ("rare", RARE)] {
            let alone = (0..count).map(|_| self.word(&ranks)).collect();
            let filtered = (0..count).map(|n| format!("{} {}", self.word(&ranks), self.filter(n))).collect();
            let names = match name {
                "common" => ["a common word", "a common word, filtered"],
                "medium" => ["a medium word", "a medium word, filtered"],
                _ => ["a rare word", "a rare word, filtered"],
            };
            groups.push(Group { name: names[0], is_aimed: true, searches: alone });
            groups.push(Group { name: names[1], is_aimed: true, searches: filtered });
        }
        let few = count.div_ceil(3);
        let hard: [(&'static str, bool, Make<'_, Self>); 7] = [
            ("a common word from: a rare nick", true, &|it| format!("{} from:{}", it.word(&COMMON), it.rare_nick())),
            ("a common word in: a small channel", false, &|it| {
                let channel = it.world.channels.name(it.world.channels.len() - 1 - it.random.below(5));
                format!("{} in:{channel}", it.word(&COMMON))
            }),
            ("two common words", false, &|it| format!("{} {}", it.word(&COMMON), it.word(&COMMON))),
            ("a common phrase", false, &|it| format!("\"{} {}\"", it.word(&COMMON), it.word(&COMMON))),
            ("two rare words", false, &|it| format!("{} {}", it.word(&RARE), it.word(&RARE))),
            ("a common word, not another one", false, &|it| format!("{} -{}", it.word(&COMMON), it.word(&COMMON))),
            ("a period, not a common word", false, &|it| format!("before:{} -{}", it.day(), it.word(&COMMON))),
        ];
        for (name, is_aimed, make) in hard {
            let searches = (0..few).map(|_| make(self)).collect();
            groups.push(Group { name, is_aimed, searches });
        }
        groups
    }

    fn word(&mut self, ranks: &std::ops::Range<usize>) -> String {
        self.world.words.name(ranks.start + self.random.below(ranks.len())).to_owned()
    }

    fn filter(&mut self, n: usize) -> String {
        match n % FILTERS {
            0 => format!("from:{}", self.world.nicks.name(self.random.below(50))),
            1 => format!("in:{}", self.world.channels.name(self.random.below(self.world.channels.len()))),
            2 => format!("before:{}", self.day()),
            3 => format!("after:{}", self.day()),
            4 => format!("in:{} before:{}", self.world.channels.name(self.random.below(10)), self.day()),
            _ => format!("from:{}", self.rare_nick()),
        }
    }

    fn rare_nick(&mut self) -> String {
        let rank = self.world.nicks.rank_of(RARE_NICK, self.events);
        self.world.nicks.name(rank - self.random.below(rank / 2 + 1)).to_owned()
    }

    /// A day of the archive, or its first.
    fn day(&mut self) -> String {
        let span = (self.last.millis() - self.first.millis()).max(1);
        let at = self.first.millis() + (span as f64 * self.random.share()) as i64;
        Timestamp::from_millis(at).to_string().chars().take(16).collect()
    }
}
