//! Which channels the bot should be in, and when it asks to be let in: at the beginning, after a KICK, and again and
//! again where it was refused, as soon as the reason may have passed.

use std::time::Duration;

use tokio::time::Instant;

use crate::irc::Channel;
use crate::irc::doubling::Doubling;
use crate::irc::hear::casemap::CaseMapping;
use crate::irc::hear::isupport::Isupport;

/// An answer to a JOIN that takes longer than this is not coming.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// So many channels are asked for at once, and as many more after a pause: servers count each of them.
pub(crate) const AT_ONCE: usize = 10;
const NEXT_AFTER: Duration = Duration::from_secs(2);
/// Who was let in for so long may be kicked as if for the first time.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);
/// The most channels that invitations may add in one session.
const MAX_INVITED: usize = 50;

/// Kicked: somebody may have meant it.
const KICKED: Doubling = Doubling::new(10, 600);
/// It passes by itself: a full channel, a netsplit, joins that come too fast.
const PASSES: Doubling = Doubling::new(30, 600);
/// Somebody would have to change their mind: a ban, a key, an invitation.
const DECIDED: Doubling = Doubling::new(300, 3_600);
/// A server answers nothing at all.
const UNANSWERED: Doubling = Doubling::new(60, 600);

/// What a refusal of a JOIN means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// To be tried again.
    Later(Doubling),
    /// To be tried again once we are logged in; without that now and then.
    Account,
    /// There is no such channel, and never will be.
    Never,
}

/// What a number says about a JOIN (RFC 2812, section 5.2, and the numerics of modern servers); `None`: nothing.
fn meaning(number: u16) -> Option<Meaning> {
    Some(match number {
        // too many channels, nick or channel unavailable, full, throttled, too many joins
        405 | 437 | 471 | 480 | 500 => Meaning::Later(PASSES),
        // invitation only, banned, wrong key, TLS only, operators only
        473 | 474 | 475 | 489 | 519 | 520 => Meaning::Later(DECIDED),
        477 => Meaning::Account,
        // no such channel, bad mask, bad name
        403 | 476 | 479 => Meaning::Never,
        _ => return None,
    })
}

/// The channels of one session.
pub(crate) struct Rejoin {
    channels: Vec<Wanted>,
    casemapping: CaseMapping,
    /// How many were invited to, beside the configured ones.
    invited: usize,
    /// The next ones may be asked for from then on.
    not_before: Option<Instant>,
}

struct Wanted {
    channel: Channel,
    state: State,
    /// How often it was refused, or we were kicked, in a row.
    setbacks: u32,
    /// It is not among the first ones, as many as the server allows.
    one_too_many: bool,
    by: By,
}

/// Why the bot should be in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// It is configured, or an action asked for it and was let in: as long as this process lives.
    Choice,
    /// An action asks for it: once.
    Trial,
    /// Somebody has invited the bot: for one session.
    Invitation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    In { since: Instant },
    Asked { at: Instant },
    Out { again: Instant, needs_account: bool },
    Hopeless,
}

impl Rejoin {
    /// All of them are asked for at once.
    pub fn new(channels: &[Channel]) -> Self {
        let now = Instant::now();
        let out = State::Out { again: now, needs_account: false };
        let channels = channels.iter().map(|channel| Wanted::new(channel.clone(), out, By::Choice));
        Rejoin { channels: channels.collect(), casemapping: CaseMapping::default(), invited: 0, not_before: None }
    }

    /// Compares names, and counts channels, as the server has told from now on. The channels that are not asked for any
    /// more, since there are too many of their kind (CHANLIMIT): the last ones.
    pub fn learn(&mut self, isupport: &Isupport) -> Vec<String> {
        self.casemapping = isupport.casemapping;
        let mut left_out = Vec::new();
        for index in 0..self.channels.len() {
            let has_place = self.has_place(index, isupport);
            let Wanted { channel, one_too_many, .. } = &mut self.channels[index];
            if !std::mem::replace(one_too_many, !has_place) && !has_place {
                left_out.push(channel.name.clone());
            }
        }
        left_out
    }

    /// Whether so few channels of its kind stand before this one that the server allows it.
    fn has_place(&self, index: usize, isupport: &Isupport) -> bool {
        let Some((types, limit)) = isupport.channel_limit(&self.channels[index].channel.name) else { return true };
        let same_kind =
            |it: &&Wanted| it.channel.name.starts_with(|c| types.contains(c)) && it.state != State::Hopeless;
        self.channels[..index].iter().filter(same_kind).count() < limit
    }

    /// The channels to ask for now, a few at a time; call again at [`Rejoin::next`].
    pub fn due(&mut self) -> Vec<Channel> {
        let now = Instant::now();
        self.give_up_waiting(now);
        if self.not_before.is_some_and(|not_before| not_before > now) {
            return Vec::new();
        }
        let due = |wanted: &&mut Wanted| wanted.again().is_some_and(|again| again <= now);
        let mut channels = Vec::new();
        for wanted in self.channels.iter_mut().filter(due).take(AT_ONCE) {
            wanted.state = State::Asked { at: now };
            channels.push(wanted.channel.clone());
        }
        self.not_before = (!channels.is_empty()).then(|| now + NEXT_AFTER);
        channels
    }

    /// When there may be something to ask for.
    pub fn next(&self) -> Option<Instant> {
        let next = self.channels.iter().filter_map(|wanted| match wanted.state {
            State::Asked { at } => Some(at + ANSWER_WITHIN),
            _ => wanted.again().map(|again| self.not_before.map_or(again, |not_before| again.max(not_before))),
        });
        next.min()
    }

    /// We are in.
    pub fn entered(&mut self, channel: &str) {
        if let Some(wanted) = self.find(channel) {
            wanted.state = State::In { since: Instant::now() };
            if wanted.by == By::Trial {
                wanted.by = By::Choice;
            }
        }
    }

    /// An action asks for a channel: it is kept if the server lets us in.
    pub fn asked_for(&mut self, channel: Channel) {
        let state = State::Asked { at: Instant::now() };
        match self.find(&channel.name) {
            // a key that was given now is the one that worked last
            Some(wanted) => {
                wanted.channel.key = channel.key.or(wanted.channel.key.take());
                if !matches!(wanted.state, State::In { .. }) {
                    wanted.state = state;
                }
                if wanted.by == By::Invitation {
                    wanted.by = By::Choice;
                }
            }
            None => self.channels.push(Wanted::new(channel, state, By::Trial)),
        }
    }

    /// An action leaves a channel: it is not asked for any more.
    pub fn given_up(&mut self, channel: &str) {
        let casemapping = self.casemapping;
        self.channels.retain(|wanted| !casemapping.same(&wanted.channel.name, channel));
    }

    /// Where the bot should be in the next session.
    pub fn channels(&self) -> Vec<Channel> {
        let kept = self.channels.iter().filter(|wanted| wanted.by == By::Choice);
        kept.map(|wanted| wanted.channel.clone()).collect()
    }

    /// We are out, kicked or otherwise moved without having asked for it: how long we stay out.
    pub fn thrown_out(&mut self, channel: &str) -> Option<Duration> {
        let wanted = self.find(channel)?;
        if matches!(wanted.state, State::In { since } if since.elapsed() >= FORGIVEN_AFTER) {
            wanted.setbacks = 0;
        }
        Some(wanted.wait(KICKED, false))
    }

    /// A number with which the server may have refused a JOIN. How long until it is tried again; `None`: it was about
    /// something else; `Some(None)`: never.
    pub fn refused(&mut self, number: u16, channel: &str) -> Option<Option<Duration>> {
        let meaning = meaning(number)?;
        let wanted = self.find(channel).filter(|wanted| matches!(wanted.state, State::Asked { .. }))?;
        if wanted.by == By::Trial {
            self.given_up(channel);
            return None;
        }
        Some(match meaning {
            Meaning::Later(pauses) => Some(wanted.wait(pauses, false)),
            Meaning::Account => Some(wanted.wait(DECIDED, true)),
            Meaning::Never => {
                wanted.state = State::Hopeless;
                None
            }
        })
    }

    /// We were invited: whether we go. To a channel that is not configured only where that is allowed, also by the server.
    pub fn invited(&mut self, channel: &Channel, anywhere: bool, isupport: &Isupport) -> bool {
        let now = Instant::now();
        if let Some(wanted) = self.find(&channel.name) {
            if matches!(wanted.state, State::Out { .. } | State::Asked { .. }) {
                wanted.state = State::Out { again: now, needs_account: false };
            }
            return !wanted.one_too_many;
        }
        if !anywhere || self.invited >= MAX_INVITED {
            return false;
        }
        self.channels.push(Wanted::new(
            channel.clone(),
            State::Out { again: now, needs_account: false },
            By::Invitation,
        ));
        let has_place = self.has_place(self.channels.len() - 1, isupport);
        if has_place {
            self.invited += 1;
        } else {
            self.channels.pop();
        }
        has_place
    }

    /// We are logged in: what waited for that is asked for.
    pub fn logged_in(&mut self) {
        let now = Instant::now();
        for wanted in &mut self.channels {
            if matches!(wanted.state, State::Out { needs_account: true, .. }) {
                wanted.state = State::Out { again: now, needs_account: false };
            }
        }
    }

    fn find(&mut self, channel: &str) -> Option<&mut Wanted> {
        let casemapping = self.casemapping;
        self.channels.iter_mut().find(|wanted| casemapping.same(&wanted.channel.name, channel))
    }

    fn give_up_waiting(&mut self, now: Instant) {
        let is_late = |wanted: &Wanted| matches!(wanted.state, State::Asked { at } if at + ANSWER_WITHIN <= now);
        self.channels.retain(|wanted| !(wanted.by == By::Trial && is_late(wanted)));
        for wanted in &mut self.channels {
            if is_late(wanted) {
                wanted.wait(UNANSWERED, false);
            }
        }
    }
}

impl Wanted {
    fn new(channel: Channel, state: State, by: By) -> Self {
        Wanted { channel, state, setbacks: 0, one_too_many: false, by }
    }

    /// When it may be asked for again, if it may.
    fn again(&self) -> Option<Instant> {
        match self.state {
            State::Out { again, .. } if !self.one_too_many => Some(again),
            _ => None,
        }
    }

    fn wait(&mut self, pauses: Doubling, needs_account: bool) -> Duration {
        let pause = pauses.after(self.setbacks);
        self.setbacks = self.setbacks.saturating_add(1);
        self.state = State::Out { again: Instant::now() + pause, needs_account };
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irc::Answers;
    use tokio::time::{advance, sleep_until};

    fn channel(name: &str) -> Channel {
        Channel { name: name.to_owned(), key: None, answers: Answers::All }
    }

    fn rejoin(names: &[&str]) -> Rejoin {
        let channels: Vec<Channel> = names.iter().map(|name| channel(name)).collect();
        Rejoin::new(&channels)
    }

    fn due(rejoin: &mut Rejoin) -> Vec<String> {
        rejoin.due().into_iter().map(|channel| channel.name).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn channels_are_asked_for_ten_at_a_time() {
        let names: Vec<String> = (0..25).map(|n| format!("#{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut rejoin = rejoin(&names);
        let start = Instant::now();
        let mut asked = Vec::new();
        while asked.len() < 25 {
            sleep_until(rejoin.next().unwrap()).await;
            let now = due(&mut rejoin);
            assert!(now.len() <= AT_ONCE);
            now.iter().for_each(|name| rejoin.entered(name));
            asked.extend(now);
        }
        assert_eq!(asked, names);
        assert_eq!(start.elapsed(), 2 * NEXT_AFTER);
        assert_eq!(rejoin.next(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_kicked_comes_back_later_each_time_until_all_is_forgiven() {
        let mut rejoin = rejoin(&["#A"]);
        assert_eq!(due(&mut rejoin), ["#A"]);
        for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
            rejoin.entered("#a");
            assert_eq!(rejoin.thrown_out("#a"), Some(Duration::from_secs(pause)));
            assert_eq!(due(&mut rejoin), Vec::<String>::new());
            sleep_until(rejoin.next().unwrap()).await;
            assert_eq!(due(&mut rejoin), ["#A"]);
        }
        rejoin.entered("#a");
        advance(FORGIVEN_AFTER).await;
        assert_eq!(rejoin.thrown_out("#a"), Some(Duration::from_secs(10)));
        assert_eq!(rejoin.thrown_out("#elsewhere"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_followed_by_what_it_means() {
        let seconds = |secs| Some(Some(Duration::from_secs(secs)));
        for (number, expected) in [
            (471, seconds(30)),
            (437, seconds(30)),
            (474, seconds(300)),
            (475, seconds(300)),
            (403, Some(None)),
            (401, None),
        ] {
            let mut rejoin = rejoin(&["#a"]);
            due(&mut rejoin);
            assert_eq!(rejoin.refused(number, "#a"), expected, "{number}");
        }
        let mut idle = rejoin(&["#a"]);
        assert_eq!(idle.refused(474, "#a"), None, "it was not asked for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_for_accounts_waits_for_ours_and_an_invitation_is_followed_at_once() {
        let mut rejoin = rejoin(&["#a", "#b"]);
        due(&mut rejoin);
        rejoin.refused(477, "#a");
        rejoin.refused(473, "#b");
        advance(NEXT_AFTER).await;
        assert_eq!(due(&mut rejoin), Vec::<String>::new());
        rejoin.logged_in();
        assert_eq!(due(&mut rejoin), ["#a"]);
        let isupport = Isupport::default();
        assert!(rejoin.invited(&channel("#B"), false, &isupport));
        advance(NEXT_AFTER).await;
        assert_eq!(due(&mut rejoin), ["#b"]);
        assert!(!rejoin.invited(&channel("#new"), false, &isupport));
        assert!(rejoin.invited(&channel("#new"), true, &isupport));
        advance(NEXT_AFTER).await;
        assert_eq!(due(&mut rejoin), ["#new"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_join_without_an_answer_is_sent_again_after_two_minutes() {
        let mut rejoin = rejoin(&["#a"]);
        let start = Instant::now();
        due(&mut rejoin);
        let mut again = Vec::new();
        while again.is_empty() {
            sleep_until(rejoin.next().unwrap()).await;
            again = due(&mut rejoin);
        }
        assert_eq!(start.elapsed(), 2 * ANSWER_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn invitations_add_a_bounded_number_of_channels() {
        let mut rejoin = rejoin(&[]);
        let isupport = Isupport::default();
        let added = (0..100).filter(|n| rejoin.invited(&channel(&format!("#{n}")), true, &isupport)).count();
        assert_eq!(added, MAX_INVITED);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_channels_of_a_kind_are_asked_for_than_the_server_allows() {
        let mut rejoin = rejoin(&["#a", "&b", "#c", "#d", "&e"]);
        let mut isupport = Isupport::default();
        isupport.take("CHANLIMIT=#:2,&:");
        assert_eq!(rejoin.learn(&isupport), ["#d"]);
        assert_eq!(rejoin.learn(&isupport), Vec::<String>::new(), "that is said once");
        assert_eq!(due(&mut rejoin), ["#a", "&b", "#c", "&e"]);
        ["#a", "&b", "#c", "&e"].iter().for_each(|name| rejoin.entered(name));
        assert_eq!(rejoin.next(), None);
        assert!(
            !rejoin.invited(&channel("#d"), false, &isupport) && !rejoin.invited(&channel("#new"), true, &isupport)
        );
        assert!(rejoin.invited(&channel("&new"), true, &isupport));
        // one that there can't be leaves its place to another
        advance(NEXT_AFTER).await;
        rejoin.thrown_out("#a");
        advance(Duration::from_secs(10)).await;
        assert_eq!(due(&mut rejoin), ["#a", "&new"]);
        rejoin.refused(403, "#a");
        rejoin.learn(&isupport);
        advance(NEXT_AFTER).await;
        assert_eq!(due(&mut rejoin), ["#d"]);
    }
}
