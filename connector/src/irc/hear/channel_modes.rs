//! Modes of channels. Which of them have a parameter is for the server to say (005 ISUPPORT, CHANMODES and PREFIX).

use protocol::ModeChange;

/// Which modes have a parameter, at first as in RFC 2811.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelModes {
    /// Lists, as of bans: always with a parameter, but for a question.
    lists: String,
    /// Always with a parameter, as a key.
    always: String,
    /// With a parameter when set, as a limit.
    when_set: String,
    /// Ranks: always with a nick.
    ranks: String,
}

impl Default for ChannelModes {
    fn default() -> Self {
        let [lists, always, when_set, ranks] = ["beI", "k", "l", "ov"].map(str::to_owned);
        ChannelModes { lists, always, when_set, ranks }
    }
}

impl ChannelModes {
    /// `CHANMODES=eIbq,k,flj,CFLMPQScgimnprstz`; the fourth kind has no parameters.
    pub fn learn(&mut self, kinds: &str) {
        let mut kinds = kinds.split(',').map(str::to_owned);
        [self.lists, self.always, self.when_set] = std::array::from_fn(|_| kinds.next().unwrap_or_default());
    }

    /// The letters of `PREFIX=(ov)@+`.
    pub fn learn_ranks(&mut self, letters: &str) {
        letters.clone_into(&mut self.ranks);
    }

    /// What `+o-v alice bob` changes. A parameter that is missing is none.
    pub fn changes(&self, modes: &str, parameters: &[String]) -> Vec<ModeChange> {
        let mut parameters = parameters.iter();
        let (mut set, mut changes) = (true, Vec::new());
        for mode in modes.chars() {
            match mode {
                '+' | '-' => set = mode == '+',
                mode => {
                    let parameter = self.has_parameter(mode, set).then(|| parameters.next().cloned()).flatten();
                    changes.push(ModeChange { set, mode, parameter });
                }
            }
        }
        changes
    }

    fn has_parameter(&self, mode: char, set: bool) -> bool {
        let always = [&self.lists, &self.always, &self.ranks];
        always.iter().any(|letters| letters.contains(mode)) || set && self.when_set.contains(mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(modes: &ChannelModes, words: &str) -> String {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let told = modes.changes(&words[0], &words[1..]).into_iter().map(|change| {
            let sign = if change.set { '+' } else { '-' };
            format!("{sign}{}{}", change.mode, change.parameter.map_or(String::new(), |it| format!("={it}")))
        });
        told.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn parameters_belong_to_the_modes_that_have_them() {
        let modes = ChannelModes::default();
        assert_eq!(changes(&modes, "+ov-b alice bob *!*@h"), "+o=alice +v=bob -b=*!*@h");
        assert_eq!(changes(&modes, "+lk-l 5 key"), "+l=5 +k=key -l");
        assert_eq!(changes(&modes, "mn"), "+m +n");
        assert_eq!(changes(&modes, "+o"), "+o");
    }

    #[test]
    fn the_server_says_which_those_are() {
        let mut modes = ChannelModes::default();
        modes.learn("eIbq,k,flj,imnpst");
        modes.learn_ranks("qaohv");
        assert_eq!(changes(&modes, "+qhj-j x alice 3:5"), "+q=x +h=alice +j=3:5 -j");
        modes.learn("b");
        assert_eq!(changes(&modes, "+kl key 5"), "+k +l");
    }
}
