//! The channels: asked for when they are due, noted when we come in or are thrown out.

use irc_proto::{Command, Message};
use tokio::time::Instant;

use super::Session;
use crate::irc::ended::Ended;
use crate::irc::hear::events::{each, each_kick};
use crate::irc::hear::framing::numbered;
use crate::irc::hear::rejoin::{AT_ONCE, Rejoin};
use crate::irc::register::registration::join_lines;
use crate::irc::speak::asked::Change;
use crate::irc::{Answers, Channel, Invites};

impl Session<'_> {
    /// One that is to be in these channels.
    pub fn keeping(self, channels: &[Channel]) -> Self {
        Session { rejoin: Rejoin::new(channels), ..self }
    }

    /// Where the bot should be in the next session.
    pub fn channels(&self) -> Vec<Channel> {
        self.rejoin.channels()
    }

    /// Takes note of what actions have asked for.
    pub(super) fn note_asked(&mut self) {
        for change in self.asked.take() {
            match change {
                Change::Join(channel) => self.rejoin.asked_for(channel),
                Change::Part(channel) => self.rejoin.given_up(&channel),
                Change::Nick(nick) => self.asked_nick = Some(nick),
            }
        }
    }

    /// When channels are due next.
    pub(super) fn next_join(&self) -> Option<Instant> {
        self.rejoin.next().filter(|_| self.joined)
    }

    /// Asks for the channels that are due.
    pub(super) async fn join(&mut self) -> Result<(), Ended> {
        let most = self.view.isupport.targets("JOIN", AT_ONCE);
        for line in join_lines(&self.network.name, &self.rejoin.due(), most) {
            self.send(line).await?;
        }
        Ok(())
    }

    /// Whether a message refuses one of our JOINs; then it is tried again when the reason may have passed.
    pub(super) fn join_refused(&mut self, message: &Message) -> bool {
        let Some((number, parameters)) = numbered(&message.command) else { return false };
        let Some(channel) = parameters.get(1) else { return false };
        let Some(again) = self.rejoin.refused(number, channel) else { return false };
        let why = parameters.last().map_or("", String::as_str);
        let network = &self.network.name;
        match again {
            Some(pause) => tracing::warn!(network, channel, number, why, again_in = ?pause, "not let in"),
            None => tracing::error!(network, channel, number, why, "there can be no such channel: not asked for again"),
        }
        true
    }

    /// Takes note of the channels that we come into and are thrown out of.
    pub(super) fn note_channels(&mut self, message: &Message) {
        let network = &self.network.name;
        match &message.command {
            Command::JOIN(channels, ..) if self.is_ours(message) => {
                for channel in each(channels) {
                    self.rejoin.entered(channel);
                    if self.registration.agreed().history {
                        self.history.entered(channel, &self.view.isupport, &*self.ambient);
                    }
                }
            }
            Command::PART(channels, _) if self.is_ours(message) => {
                for channel in each(channels) {
                    self.history.left(channel, &self.view.isupport);
                    if let Some(pause) = self.rejoin.thrown_out(channel) {
                        tracing::warn!(network, channel, again_in = ?pause, "the server took us out of the channel");
                    }
                }
            }
            Command::KICK(channels, nicks, why) => {
                let by = message.source_nickname().unwrap_or_default();
                for (channel, _) in each_kick(channels, nicks).filter(|(_, nick)| self.view.is_me(nick)) {
                    self.history.left(channel, &self.view.isupport);
                    if let Some(pause) = self.rejoin.thrown_out(channel) {
                        tracing::warn!(network, channel, by, why = why.as_deref(), again_in = ?pause, "kicked");
                    }
                }
            }
            Command::INVITE(nick, channel) if self.view.is_me(nick) => {
                let anywhere = self.network.invites == Invites::Anywhere && self.view.isupport.is_channel(channel);
                let by = message.source_nickname().unwrap_or_default();
                let invited = Channel { name: channel.clone(), key: None, answers: Answers::All };
                let goes = self.rejoin.invited(&invited, anywhere, &self.view.isupport);
                tracing::info!(network, channel, by, goes, "invited");
            }
            _ => {}
        }
    }
}
