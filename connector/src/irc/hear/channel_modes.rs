//! Modes of channels. Which of them have a parameter is for the server to say (005 ISUPPORT, CHANMODES and PREFIX).

use protocol::ModeChange;

use crate::irc::hear::ranks::Ranks;

/// The most letters that are believed of one kind.
const MAX_LETTERS: usize = 64;

/// Which modes have a parameter, at first as in RFC 2811.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelModes {
    /// Lists, as of bans: always with a parameter, but for a question.
    lists: String,
    /// Always with a parameter, as a key.
    always: String,
    /// With a parameter when set, as a limit.
    when_set: String,
    /// Never with a parameter.
    flags: String,
    /// The server has said so.
    is_told: bool,
}

impl Default for ChannelModes {
    fn default() -> Self {
        let [lists, always, when_set, flags] = ["beI", "k", "l", "imnpst"].map(str::to_owned);
        ChannelModes { lists, always, when_set, flags, is_told: false }
    }
}

impl ChannelModes {
    /// `CHANMODES=eIbq,k,flj,CFLMPQScgimnprstz`; those of the fourth kind have no parameter.
    pub fn learn(&mut self, kinds: &str) {
        let mut kinds = kinds.split(',').map(|letters| letters.chars().take(MAX_LETTERS).collect());
        [self.lists, self.always, self.when_set, self.flags] =
            std::array::from_fn(|_| kinds.next().unwrap_or_default());
        self.is_told = true;
    }

    /// Whether the server has said which these are, and not only RFC 2811.
    pub fn is_told(&self) -> bool {
        self.is_told
    }

    /// Whether it is a list, as of bans: many may be set at once, and they say nothing of the channel itself.
    pub fn is_list(&self, mode: char) -> bool {
        self.lists.contains(mode)
    }

    /// The mode of channels that let only those in who are logged in to services: solanum's `r`, everybody else's `R`.
    pub fn registered_only(&self) -> char {
        if self.flags.contains('R') || !self.flags.contains('r') { 'R' } else { 'r' }
    }

    /// What `+o-v alice bob` changes, where ranks have a parameter, too. A parameter that is missing is none.
    pub fn changes(&self, ranks: &Ranks, modes: &str, parameters: &[String]) -> Vec<ModeChange> {
        let mut parameters = parameters.iter();
        let (mut set, mut changes) = (true, Vec::new());
        for mode in modes.chars() {
            match mode {
                '+' | '-' => set = mode == '+',
                mode => {
                    let has_parameter = ranks.has_letter(mode) || self.has_parameter(mode, set);
                    let parameter = has_parameter.then(|| parameters.next().cloned()).flatten();
                    changes.push(ModeChange { set, mode, parameter });
                }
            }
        }
        changes
    }

    fn has_parameter(&self, mode: char, set: bool) -> bool {
        self.lists.contains(mode) || self.always.contains(mode) || set && self.when_set.contains(mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(modes: &ChannelModes, ranks: &str, words: &str) -> String {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let told = modes.changes(&Ranks::parse(ranks).unwrap(), &words[0], &words[1..]).into_iter().map(|change| {
            let sign = if change.set { '+' } else { '-' };
            format!("{sign}{}{}", change.mode, change.parameter.map_or(String::new(), |it| format!("={it}")))
        });
        told.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn parameters_belong_to_the_modes_that_have_them() {
        let modes = ChannelModes::default();
        assert_eq!(changes(&modes, "(ov)@+", "+ov-b alice bob *!*@h"), "+o=alice +v=bob -b=*!*@h");
        assert_eq!(changes(&modes, "(ov)@+", "+lk-l 5 key"), "+l=5 +k=key -l");
        assert_eq!(changes(&modes, "(ov)@+", "mn"), "+m +n");
        assert_eq!(changes(&modes, "(ov)@+", "+o"), "+o");
    }

    #[test]
    fn the_server_says_which_those_are() {
        let mut modes = ChannelModes::default();
        modes.learn("eIbq,k,flj,imnpst");
        assert_eq!(changes(&modes, "(qaohv)~&@%+", "+qhj-j x alice 3:5"), "+q=x +h=alice +j=3:5 -j");
        modes.learn("b");
        assert_eq!(changes(&modes, "", "+kl key 5"), "+k +l");
    }
}
