//! Conversations between the connector and a scripted server, on a paused clock.

mod choice;
mod faults;
mod flood;
mod hearing;
mod proof;
mod registration;
mod speaking;
mod turns;
mod voice;
mod world;
