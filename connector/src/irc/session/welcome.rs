//! From the first line to the channels: the steps of the registration, the welcome, what the server tells of itself, and NickServ.

use std::time::Duration;

use irc_proto::{Command, Message, Response};
use tokio::time::Instant;

use super::{Phase, Session};
use crate::irc::ended::Ended;
use crate::irc::hear::framing::numbered;
use crate::irc::reach::reason::Reason;
use crate::irc::register::nickserv;
use crate::irc::register::registration::Todo;
use crate::irc::speak::speaker::Order;

/// How long the channels wait for what the server says of itself behind its welcome, if nothing shows that this is over.
const INTRODUCED_WITHIN: Duration = Duration::from_secs(1);
/// RPL_LOGGEDIN: we have an account from now on (IRCv3 SASL).
const LOGGED_IN: u16 = 900;

impl Session<'_> {
    pub(super) async fn register(&mut self) -> Result<(), Ended> {
        tracing::info!(network = self.network.name, "connected, registering");
        let lines = self.registration.opening();
        self.send_all(lines).await
    }

    pub(super) fn is_registering(&self) -> bool {
        matches!(self.phase, Phase::Registering)
    }

    /// What the server offers may be to be spoken to through TLS only: then nothing more is said without.
    pub(super) fn hear_of_tls(&self, command: &Command) -> Result<(), Ended> {
        self.server.as_ref().map_or(Ok(()), |(server, sts)| sts.hear(server, command))
    }

    /// Does what the registration asks for, and tells the speaker if something else is agreed upon.
    pub(super) async fn go_on(&mut self, todo: Todo) -> Result<(), Ended> {
        let lines = self.registration.lines(todo).await?;
        self.send_all(lines).await?;
        let agreed = self.registration.agreed();
        if std::mem::replace(&mut self.told_agreed, agreed) == agreed {
            return Ok(());
        }
        self.order(Order::Capabilities(agreed)).await
    }

    /// Something that we asked for was refused: a password, a channel.
    pub(super) fn refused(&mut self, refusal: Response, parameters: &[String]) {
        let why = parameters.get(1..).unwrap_or_default().join(" ");
        tracing::warn!(network = self.network.name, number = refusal as u16, why, "the server refused");
        if self.is_registering() {
            self.refusal = Reason::of_numeric(refusal as u16).or(self.refusal);
            self.last_words = Some(why);
        }
    }

    /// `001`: registered. The nick that the server gives us is ours, whatever we asked for.
    pub(super) async fn welcomed(&mut self, nick: &str, welcome: &str) -> Result<(), Ended> {
        if !self.is_registering() {
            return Ok(());
        }
        self.registration.welcomed()?;
        self.phase = Phase::Registered { since: Instant::now() };
        self.was_up = true;
        // what was refused before does not tell why it ends
        self.last_words = None;
        if !nick.is_empty() {
            self.view.me.nick = nick.to_owned();
        }
        self.view.me.welcomed(welcome);
        tracing::info!(network = self.network.name, nick = self.view.me.nick, "registered");
        self.events.connection(&self.view, "up", None::<&Ended>);
        self.introduction = Some(Instant::now() + INTRODUCED_WITHIN);
        self.tell_frame().await?;
        self.send_all(self.modes.of_configuration(&self.view.me.nick)).await?;
        self.identify().await?;
        self.nick_may_have_changed().await
    }

    /// The server has told more of itself.
    pub(super) async fn learned(&mut self) -> Result<(), Ended> {
        let isupport = &self.view.isupport;
        self.framing.expect_lines_of(isupport.line_bytes);
        let left_out = self.rejoin.learn(isupport);
        if !left_out.is_empty() {
            let (network, channels) = (&self.network.name, left_out.join(" "));
            tracing::error!(
                network,
                channels,
                "the server lets us into fewer channels of a kind (CHANLIMIT): these are not asked for; \
                 leave channels out of the configuration, or have another connector with another nick in them"
            );
        }
        self.tell_frame().await
    }

    /// Numbers of users, the message of the day: what the server says of itself (005) stands before those.
    pub(super) async fn hear_of_introduction(&mut self, message: &Message) -> Result<(), Ended> {
        match numbered(&message.command) {
            Some((200..=399 | 422, _)) if self.introduction.is_some() => self.introduced().await,
            _ => Ok(()),
        }
    }

    /// The server has told what it is, or never will.
    pub(super) async fn introduced(&mut self) -> Result<(), Ended> {
        self.introduction = None;
        self.nick_may_have_changed().await
    }

    /// Tells NickServ who we are, if that is left to do.
    pub(super) async fn identify(&mut self) -> Result<(), Ended> {
        let line = nickserv::identify(&self.network.login).filter(|_| !self.registration.is_logged_in());
        self.identifying = line.is_some().then(|| Instant::now() + nickserv::ANSWER_WITHIN);
        self.send_all(line).await
    }

    /// The server or its services know us by our account now, or NickServ will not.
    pub(super) async fn hear_of_login(&mut self, message: &Message) -> Result<(), Ended> {
        if matches!(numbered(&message.command), Some((LOGGED_IN, _))) {
            self.rejoin.logged_in();
            self.regain.logged_in();
        }
        if self.identifying.is_some() && nickserv::is_answer(message, |nick| self.view.is_me(nick)) {
            self.regain.nickserv_answered(nickserv::is_refusal(message));
            self.stop_waiting_for_nickserv().await?;
        }
        Ok(())
    }

    /// NickServ has answered, or took too long.
    pub(super) async fn stop_waiting_for_nickserv(&mut self) -> Result<(), Ended> {
        self.identifying = None;
        self.nick_may_have_changed().await
    }
}
