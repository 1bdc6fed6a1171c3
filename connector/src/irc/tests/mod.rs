//! Conversations between the connector and a scripted server, on a paused clock.

mod actions;
mod capabilities;
mod certificates;
mod channels;
mod choice;
mod dial;
mod faults;
mod flood;
mod hearing;
mod history;
mod inquiry;
mod limits;
mod login;
mod multiline;
mod oddities;
mod proof;
mod reconnecting;
mod regain;
mod registration;
mod speaking;
mod state;
mod tls;
mod turns;
mod voice;
pub(crate) mod world;
