//! JSON Schema (draft 2020-12) of everything that crosses the broker, made from the types.

use schemars::{Schema, schema_for};

use crate::action::ActionOnTheWire;
use crate::reply::ReplyOnTheWire;
use crate::{Account, Chat, Connection, Gap, Invite, Join, Leave, Mode, MusicTrack, Names, Nick, Say, Topic};

/// The schema of each shape by the name of its file in `protocol/schema/`.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("chat", schema_for!(Chat)),
        ("join", schema_for!(Join)),
        ("leave", schema_for!(Leave)),
        ("nick", schema_for!(Nick)),
        ("topic", schema_for!(Topic)),
        ("mode", schema_for!(Mode)),
        ("account", schema_for!(Account)),
        ("invite", schema_for!(Invite)),
        ("names", schema_for!(Names)),
        ("connection", schema_for!(Connection)),
        ("gap", schema_for!(Gap)),
        ("music.track", schema_for!(MusicTrack)),
        ("say", schema_for!(Say)),
        ("reply", schema_for!(ReplyOnTheWire)),
        ("action", schema_for!(ActionOnTheWire)),
    ]
}
