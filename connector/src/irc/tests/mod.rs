//! Conversations between the connector and a scripted server, on a paused clock.

mod faults;
mod hearing;
mod registration;
mod speaking;
mod world;
