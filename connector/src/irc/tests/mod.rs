//! Conversations between the connector and a scripted server, on a paused clock.

mod capabilities;
mod channels;
mod choice;
mod faults;
mod hearing;
mod login;
mod proof;
mod registration;
mod speaking;
mod voice;
mod world;
