//! Which names are the same: the network's CASEMAPPING. By RFC 1459 `{}|^` are the small letters of `[]\~`.

/// A network's rule for comparing nicks and channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CaseMapping {
    /// Only A to Z have small letters.
    Ascii,
    /// `[]\^` too, whose small letters are `{}|~` (RFC 1459, section 2.2, as servers do it).
    #[default]
    Rfc1459,
    /// `[]\` only.
    StrictRfc1459,
}

impl CaseMapping {
    /// By its name in ISUPPORT. Networks with rules of their own (`precis`, `rfc7613`) are taken as `ascii`.
    pub fn from_isupport(name: &str) -> Self {
        match name {
            "rfc1459" => CaseMapping::Rfc1459,
            "strict-rfc1459" | "rfc1459-strict" => CaseMapping::StrictRfc1459,
            _ => CaseMapping::Ascii,
        }
    }

    /// The name in small letters; as many bytes as before.
    pub fn fold(self, name: &str) -> String {
        name.chars().map(|c| self.fold_char(c)).collect()
    }

    /// Whether both are names of one thing.
    pub fn same(self, a: &str, b: &str) -> bool {
        a.len() == b.len() && a.chars().map(|c| self.fold_char(c)).eq(b.chars().map(|c| self.fold_char(c)))
    }

    /// A character as a small letter.
    pub fn fold_char(self, c: char) -> char {
        match (c, self) {
            ('[', CaseMapping::Rfc1459 | CaseMapping::StrictRfc1459) => '{',
            (']', CaseMapping::Rfc1459 | CaseMapping::StrictRfc1459) => '}',
            ('\\', CaseMapping::Rfc1459 | CaseMapping::StrictRfc1459) => '|',
            ('^', CaseMapping::Rfc1459) => '~',
            _ => c.to_ascii_lowercase(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [CaseMapping; 3] = [CaseMapping::Ascii, CaseMapping::Rfc1459, CaseMapping::StrictRfc1459];

    #[test]
    fn each_mapping_folds_what_its_specification_says() {
        assert_eq!(CaseMapping::Rfc1459.fold(r"#A[]\^Ä"), "#a{}|~Ä");
        assert_eq!(CaseMapping::StrictRfc1459.fold(r"#A[]\^"), "#a{}|^");
        assert_eq!(CaseMapping::Ascii.fold(r"#A[]\^"), r"#a[]\^");
    }

    #[test]
    fn an_unknown_mapping_is_taken_as_ascii() {
        assert_eq!(CaseMapping::from_isupport("rfc7613"), CaseMapping::Ascii);
        assert_eq!(CaseMapping::from_isupport("rfc1459"), CaseMapping::default());
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once_and_keeps_the_length(name in "\\PC{0,20}|[\\[\\]^~{}|A-Z]{0,8}") {
            for mapping in ALL {
                let folded = mapping.fold(&name);
                prop_assert_eq!(&mapping.fold(&folded), &folded);
                prop_assert_eq!(folded.len(), name.len());
            }
        }

        #[test]
        fn names_are_the_same_exactly_when_they_fold_alike(a in "[\\[\\]{}^~aA]{0,4}", b in "[\\[\\]{}^~aA]{0,4}") {
            for mapping in ALL {
                prop_assert_eq!(mapping.same(&a, &b), mapping.fold(&a) == mapping.fold(&b));
            }
        }
    }
}
