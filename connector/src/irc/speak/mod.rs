//! How things are said: in turn, within the budget, whole, and once.

pub(crate) mod agenda;
pub(crate) mod asked;
pub(crate) mod choice;
pub(crate) mod deeds;
pub(crate) mod flood;
pub(crate) mod formatting;
pub(crate) mod line;
pub(crate) mod lines;
pub(crate) mod loops;
pub(crate) mod multiline;
pub(crate) mod pace;
pub(crate) mod proof;
pub(crate) mod round;
pub(crate) mod speaker;
pub(crate) mod split;
pub(crate) mod under_way;
