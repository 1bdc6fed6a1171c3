//! What the server says of itself (005 ISUPPORT): how names are compared, which marks stand before nicks, what begins
//! a channel's name.

use super::casemap::CaseMapping;

/// The parameters that matter here, at first those of RFC 1459.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Isupport {
    pub casemapping: CaseMapping,
    /// The marks of ranks, highest first: `@+`.
    pub marks: String,
    /// The characters that channels' names begin with.
    pub channel_types: String,
}

impl Default for Isupport {
    fn default() -> Self {
        let (marks, channel_types) = ("@+".to_owned(), "#&".to_owned());
        Isupport { casemapping: CaseMapping::default(), marks, channel_types }
    }
}

impl Isupport {
    /// Takes a parameter like `CASEMAPPING=ascii`; those it doesn't know change nothing.
    pub fn take(&mut self, parameter: &str) {
        match parameter.split_once('=') {
            Some(("CASEMAPPING", name)) => self.casemapping = CaseMapping::from_isupport(name),
            Some(("CHANTYPES", types)) => self.channel_types = types.to_owned(),
            Some(("PREFIX", prefix)) => {
                self.marks = prefix.split_once(')').map_or("", |(_, marks)| marks).to_owned();
            }
            _ => {}
        }
    }

    /// Splits the marks before a nick or a channel from its name.
    pub fn split_marks<'a>(&self, name: &'a str) -> (&'a str, &'a str) {
        let bare = name.trim_start_matches(|c| self.marks.contains(c));
        name.split_at(name.len() - bare.len())
    }

    /// Whether it is a channel, perhaps with a mark before it: `@#c` are the operators of `#c`.
    pub fn is_channel(&self, target: &str) -> bool {
        target.starts_with(|c| self.channel_types.contains(c))
            || self.split_marks(target).1.starts_with(|c| self.channel_types.contains(c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_casemapping_marks_and_channel_types() {
        let mut isupport = Isupport::default();
        for parameter in ["CASEMAPPING=ascii", "PREFIX=(qaohv)~&@%+", "CHANTYPES=#", "NICKLEN=30", "EXCEPTS", "PREFIX"]
        {
            isupport.take(parameter);
        }
        assert_eq!(isupport.casemapping, CaseMapping::Ascii);
        assert_eq!(isupport.split_marks("~@alice"), ("~@", "alice"));
        assert!(isupport.is_channel("#a") && isupport.is_channel("@#a"));
        assert!(!isupport.is_channel("&a") && !isupport.is_channel("alice") && !isupport.is_channel(""));
    }

    #[test]
    fn a_network_without_ranks_has_no_marks() {
        let mut isupport = Isupport::default();
        isupport.take("PREFIX=");
        assert_eq!(isupport.split_marks("@alice"), ("", "@alice"));
    }
}
