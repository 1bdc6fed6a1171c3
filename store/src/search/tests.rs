//! Searches as they are typed, and that the engines find what a walk through all messages finds.

mod engines;
mod typed;
