//! The ranks that people have in a channel, as the server lists them (005 ISUPPORT, PREFIX): `(ov)@+` says that mode `o`
//! is shown as `@`, and is higher than `v`, shown as `+`. A member may have several.

/// The most ranks of a network: a bit for each.
const MAX_RANKS: usize = 16;

/// A network's ranks, highest first; at first those of RFC 1459.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranks {
    letters: Vec<char>,
    marks: Vec<char>,
}

/// Which ranks somebody has in a channel: the lowest bit is the highest rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rank(u16);

impl Default for Ranks {
    fn default() -> Self {
        Ranks::parse("(ov)@+").unwrap_or(Ranks { letters: Vec::new(), marks: Vec::new() })
    }
}

impl Ranks {
    /// Reads `(ov)@+`; nothing at all is a network without ranks. `None` when letters and marks are not as many, or more
    /// than 16.
    pub fn parse(prefix: &str) -> Option<Self> {
        let (letters, marks) = match prefix {
            "" => ("", ""),
            prefix => prefix.strip_prefix('(')?.split_once(')')?,
        };
        let ranks = Ranks { letters: letters.chars().collect(), marks: marks.chars().collect() };
        (ranks.letters.len() == ranks.marks.len() && ranks.letters.len() <= MAX_RANKS).then_some(ranks)
    }

    /// Whether this mode gives a rank.
    pub fn has_letter(&self, letter: char) -> bool {
        self.letters.contains(&letter)
    }

    /// Whether this is the mark of a rank.
    pub fn has_mark(&self, mark: char) -> bool {
        self.marks.contains(&mark)
    }

    /// The ranks with these marks; what is no mark is passed over.
    pub fn of_marks(&self, marks: &str) -> Rank {
        let places = marks.chars().filter_map(|mark| self.marks.iter().position(|it| *it == mark));
        Rank(places.fold(0, |bits, place| bits | 1 << place))
    }

    /// The rank that this mode gives; `None` if it gives none.
    pub fn of_letter(&self, letter: char) -> Option<Rank> {
        self.letters.iter().position(|it| *it == letter).map(|place| Rank(1 << place))
    }

    /// The marks of these ranks, highest first.
    pub fn marks(&self, rank: Rank) -> String {
        let has = |place: &usize| rank.0 & 1 << place != 0;
        (0..self.marks.len()).filter(has).map(|place| self.marks[place]).collect()
    }
}

impl Rank {
    /// These ranks and that one, or without it.
    pub fn with(self, other: Rank, set: bool) -> Self {
        if set { Rank(self.0 | other.0) } else { Rank(self.0 & !other.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_given_and_taken_by_letters_and_shown_by_marks() {
        let ranks = Ranks::parse("(qaohv)~&@%+").unwrap();
        let rank = ranks.of_marks("+@x");
        assert_eq!(ranks.marks(rank), "@+", "highest first");
        let [op, owner] = ['o', 'q'].map(|letter| ranks.of_letter(letter).unwrap());
        assert_eq!(ranks.marks(rank.with(owner, true).with(op, false)), "~+");
        assert_eq!(ranks.marks(rank.with(owner, false)), "@+", "taking what is not there changes nothing");
        assert_eq!(ranks.of_letter('b'), None);
    }

    #[test]
    fn a_list_that_makes_no_sense_is_none_and_an_empty_one_is_a_network_without_ranks() {
        for bad in ["ov", "(ov", "(ov)@", "(abcdefghijklmnopq)ABCDEFGHIJKLMNOPQ"] {
            assert_eq!(Ranks::parse(bad), None, "{bad}");
        }
        let none = Ranks::parse("").unwrap();
        assert_eq!((none.marks(none.of_marks("@")), none.of_letter('o')), (String::new(), None));
    }
}
