//! What a handler's parameters are taken from: the event, and what matched in it.

use std::sync::Arc;

use protocol::{Ambient, Chat};

use crate::Catalogue;
use crate::plugin::States;

/// One event before one handler.
pub struct Context {
    /// The event as it came.
    pub event: protocol::Event,
    /// Its body, where somebody said something.
    pub chat: Option<Arc<Chat>>,
    pub(crate) matched: Matched,
    pub(crate) states: Arc<States>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) ambient: Arc<dyn Ambient>,
    #[cfg(feature = "store")]
    pub(crate) plugin: &'static str,
    #[cfg(feature = "store")]
    pub(crate) database: Option<store::Store>,
    /// That of a transactional handler.
    #[cfg(feature = "store")]
    pub(crate) transaction: Option<crate::transaction::Open>,
}

/// What led to the handler.
pub(crate) enum Matched {
    /// Its trigger's named groups: name, text where the group took part.
    Trigger(Vec<(String, Option<String>)>),
    /// Its command, with the text after it.
    Command(String),
    /// Its pattern.
    Event,
}
