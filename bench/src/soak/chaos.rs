//! The faults of a soak: what each does, to whom, and when it is over.

use std::fmt;
use std::time::{Duration, Instant};

use servers::Relay;

use super::cast::{Cast, Role};

/// How long a process is stopped, or a way is cut or holds everything back, at most.
const SHORT: u64 = 5;
/// How long a connector is stopped: longer than its lock lives without it.
const LONG: u64 = 30;
/// How long a broker stays away.
const AWAY: Duration = Duration::from_secs(2);
/// How long a role that is told to stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// How often a victim is looked for.
const TRIES: usize = 20;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    KillWorker,
    StopWorker,
    FreezeWorker,
    CutWorkerOff,
    KillSpeaker,
    StopSpeaker,
    FreezeSpeaker,
    KillStandby,
    CutSpeakerOff,
    HoldSpeakersBroker,
    ResetIrc,
    HoldIrc,
    KillBroker,
}

impl Kind {
    const ALL: [Kind; 13] = [
        Kind::KillWorker,
        Kind::StopWorker,
        Kind::FreezeWorker,
        Kind::CutWorkerOff,
        Kind::KillSpeaker,
        Kind::StopSpeaker,
        Kind::FreezeSpeaker,
        Kind::KillStandby,
        Kind::CutSpeakerOff,
        Kind::HoldSpeakersBroker,
        Kind::ResetIrc,
        Kind::HoldIrc,
        Kind::KillBroker,
    ];

    /// Whether a speaker may say its unproved lines again after it.
    pub(super) fn may_double(self) -> bool {
        use Kind::*;
        matches!(
            self,
            KillSpeaker | FreezeSpeaker | CutSpeakerOff | HoldSpeakersBroker | ResetIrc | HoldIrc | KillBroker
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::KillWorker => "worker: kill -9",
            Kind::StopWorker => "worker: SIGTERM",
            Kind::FreezeWorker => "worker: SIGSTOP",
            Kind::CutWorkerOff => "worker: broker connection cut",
            Kind::KillSpeaker => "connector: kill -9",
            Kind::StopSpeaker => "connector: SIGTERM",
            Kind::FreezeSpeaker => "connector: SIGSTOP",
            Kind::KillStandby => "standby: kill -9",
            Kind::CutSpeakerOff => "connector: broker connection cut",
            Kind::HoldSpeakersBroker => "connector: broker connection half-open",
            Kind::ResetIrc => "connector: IRC connection cut",
            Kind::HoldIrc => "connector: IRC connection half-open",
            Kind::KillBroker => "broker: kill -9",
        })
    }
}

/// A fault that lasts: how it ends, and when.
pub(super) struct Lasting {
    pub(super) until: Instant,
    who: Who,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Worker(usize),
    Connector(usize),
    Broker,
}

#[derive(Clone, Copy)]
enum End {
    Thaw,
    Heal,
    Abandon,
    StartAgain,
}

/// Numbers that depend on the seed alone (SplitMix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % limit.max(1) as u64).unwrap_or(0)
    }
}

/// The faults of a soak.
pub(super) struct Chaos {
    dice: Dice,
    lasting: Vec<Lasting>,
}

impl Chaos {
    pub(super) fn new(seed: u64) -> Self {
        Chaos { dice: Dice(seed), lasting: Vec::new() }
    }

    /// Lets a random fault happen to somebody who is well.
    pub(super) fn strike(&mut self, cast: &mut Cast) -> Option<(Kind, String)> {
        (0..TRIES).find_map(|_| self.try_to_strike(cast))
    }

    /// None when its victim isn't well, or is the only connector that is.
    fn try_to_strike(&mut self, cast: &mut Cast) -> Option<(Kind, String)> {
        let kind = Kind::ALL[self.dice.below(Kind::ALL.len())];
        let worker = self.dice.below(cast.workers.len());
        let speaker = cast.speaker().unwrap_or(0);
        let who = match kind {
            Kind::KillWorker | Kind::StopWorker | Kind::FreezeWorker | Kind::CutWorkerOff => Who::Worker(worker),
            Kind::KillStandby => Who::Connector(1 - speaker),
            Kind::KillBroker => Who::Broker,
            _ => Who::Connector(speaker),
        };
        let is_connector = |who| matches!(who, Who::Connector(_));
        if self.lasting.iter().any(|fault| fault.who == who || (is_connector(fault.who) && is_connector(who))) {
            return None;
        }
        let name = match who {
            Who::Worker(number) => cast.workers[number].service.name().to_owned(),
            Who::Connector(number) => cast.connectors[number].service.name().to_owned(),
            Who::Broker => "RabbitMQ".to_owned(),
        };
        let seconds = Duration::from_secs(1 + self.dice.below(SHORT as usize) as u64);
        let lasts = |end, long| Some((end, long));
        let ends = match kind {
            Kind::KillWorker => act(|| cast.workers[worker].service.kill()),
            Kind::StopWorker => act(|| stop(&cast.workers[worker])),
            Kind::FreezeWorker => {
                cast.workers[worker].service.freeze();
                lasts(End::Thaw, seconds)
            }
            Kind::CutWorkerOff => {
                cast.workers[worker].to_broker.cut();
                lasts(End::Heal, seconds)
            }
            Kind::KillSpeaker => act(|| cast.connectors[speaker].service.kill()),
            Kind::StopSpeaker => act(|| stop(&cast.connectors[speaker])),
            Kind::KillStandby => act(|| cast.connectors[1 - speaker].service.kill()),
            Kind::FreezeSpeaker => {
                cast.connectors[speaker].service.freeze();
                lasts(End::Thaw, Duration::from_secs(LONG))
            }
            Kind::CutSpeakerOff => {
                cast.connectors[speaker].to_broker.cut();
                lasts(End::Heal, seconds)
            }
            Kind::HoldSpeakersBroker => {
                cast.connectors[speaker].to_broker.hold();
                lasts(End::Abandon, Duration::from_secs(LONG))
            }
            Kind::ResetIrc => act(|| to_irc(&cast.connectors[speaker], Relay::reset)),
            Kind::HoldIrc => act(|| {
                to_irc(&cast.connectors[speaker], Relay::hold);
                to_irc(&cast.connectors[speaker], Relay::abandon);
            }),
            Kind::KillBroker => {
                cast.broker.kill();
                lasts(End::StartAgain, AWAY)
            }
        };
        self.lasting.extend(ends.map(|(end, long)| Lasting { until: Instant::now() + long, who, end }));
        Some((kind, name))
    }

    /// Ends the faults whose time is over, or all.
    pub(super) fn heal(&mut self, cast: &mut Cast, all: bool) {
        let now = Instant::now();
        for fault in self.lasting.extract_if(.., |fault| all || fault.until <= now) {
            let role = match fault.who {
                Who::Worker(number) => &cast.workers[number],
                Who::Connector(number) => &cast.connectors[number],
                Who::Broker => {
                    cast.broker.start_again();
                    continue;
                }
            };
            match fault.end {
                End::Thaw => role.service.thaw(),
                End::Heal => role.to_broker.heal(),
                End::Abandon => role.to_broker.abandon(),
                End::StartAgain => {}
            }
        }
    }
}

fn act(act: impl FnOnce()) -> Option<(End, Duration)> {
    act();
    None
}

fn stop(role: &Role) {
    role.service.terminate(STOP_WITHIN);
}

fn to_irc(role: &Role, act: fn(&Relay)) {
    role.to_irc.iter().for_each(act);
}
