//! What is made of what the server says.

pub(crate) mod batches;
pub(crate) mod bouncer;
pub(crate) mod casemap;
pub(crate) mod channel_modes;
pub(crate) mod channels;
pub(crate) mod ctcp;
pub(crate) mod events;
pub(crate) mod framing;
pub(crate) mod history;
pub(crate) mod identity;
pub(crate) mod inquiry;
pub(crate) mod isupport;
pub(crate) mod mask;
pub(crate) mod people;
pub(crate) mod ranks;
pub(crate) mod refusal;
pub(crate) mod rejoin;
pub(crate) mod standard_reply;
pub(crate) mod tags;
