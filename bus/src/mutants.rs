//! Deliberate faults, by which the tests show that they can fail. They exist only with the feature `mutants`, which
//! nothing but `scripts/test --mutants` turns on; without it, [`is`] is a constant `false` and costs nothing.

/// A promise that is broken on purpose. The environment variable `PUBBOT_TEST_MUTANT` names one by its
/// [`name`](Mutant::name).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The speaker doesn't acknowledge what was proved to be said.
    NoAcknowledgement,
    /// The speaker says replies again that it has said before.
    NoDedupe,
    /// Events on their way to the broker are kept in memory only.
    NoJournal,
    /// The holder of a lock takes it to hold for ever.
    NoFence,
    /// The worker acknowledges an event before its replies are confirmed.
    EarlyAcknowledgement,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 5] =
        [Mutant::NoAcknowledgement, Mutant::NoDedupe, Mutant::NoJournal, Mutant::NoFence, Mutant::EarlyAcknowledgement];

    /// Its name in the environment.
    pub fn name(self) -> &'static str {
        match self {
            Mutant::NoAcknowledgement => "no-acknowledgement",
            Mutant::NoDedupe => "no-dedupe",
            Mutant::NoJournal => "no-journal",
            Mutant::NoFence => "no-fence",
            Mutant::EarlyAcknowledgement => "early-acknowledgement",
        }
    }
}

/// Whether this process is that mutant.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is(_: Mutant) -> bool {
    false
}

/// Whether this process is that mutant. Panics when the environment names one that there is not.
#[cfg(feature = "mutants")]
pub fn is(mutant: Mutant) -> bool {
    static THIS: std::sync::OnceLock<Option<Mutant>> = std::sync::OnceLock::new();
    *THIS.get_or_init(named) == Some(mutant)
}

#[cfg(feature = "mutants")]
fn named() -> Option<Mutant> {
    #[expect(clippy::disallowed_methods, reason = "the test's own switch, in no executable that anybody gets")]
    let name = std::env::var("PUBBOT_TEST_MUTANT").ok().filter(|name| !name.is_empty())?;
    let mutant = Mutant::ALL.into_iter().find(|mutant| mutant.name() == name);
    assert!(mutant.is_some(), "PUBBOT_TEST_MUTANT names no mutant: {name}");
    mutant
}
