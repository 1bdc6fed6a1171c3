//! Logs as mIRC writes them, with `***` before events, so that nobody's `/me` can pass for one.
//!
//! What such a log can't hold is lost on the way out: event id, account, msgid, network, milliseconds, and the channel but for
//! notices. It has a `user@host` that the archive has not: `?@?`. [`Format::Energymech`](super::Format::Energymech)
//! reads the rest back.

use std::io::{Result, Write};

use chrono::NaiveDateTime;

use super::clock::words_of_moment;
use super::writer::UNKNOWN_HOST;
use crate::archive::{Kind, Record};

/// The lines that open a log.
pub(super) fn write_opening(out: &mut impl Write, now: NaiveDateTime, channel: &str) -> Result<()> {
    write!(out, "Session Start: {}\r\nSession Ident: {channel}\r\n", words_of_moment(now))
}

/// The line that begins a day.
pub(super) fn write_day(out: &mut impl Write, now: NaiveDateTime) -> Result<()> {
    write!(out, "Session Time: {}\r\n", words_of_moment(now.date().into()))
}

/// The line that ends a log.
pub(super) fn write_closing(out: &mut impl Write, now: NaiveDateTime) -> Result<()> {
    write!(out, "Session Close: {}\r\n", words_of_moment(now))
}

/// One record. Its texts have no line ends.
pub(super) fn write(out: &mut impl Write, now: NaiveDateTime, record: &Record) -> Result<()> {
    let Record { nick, channel, text, .. } = record;
    write!(out, "[{}] ", now.format("%H:%M:%S"))?;
    match record.kind {
        Kind::Chat => write!(out, "<{nick}> {text}"),
        Kind::Action => write!(out, "* {nick} {text}"),
        Kind::Notice => write!(out, "-{nick}:{channel}- {text}"),
        Kind::Join => write!(out, "*** Joins: {nick} ({UNKNOWN_HOST})"),
        Kind::Part => write!(out, "*** Parts: {nick} ({UNKNOWN_HOST}) ({text})"),
        Kind::Quit => write!(out, "*** Quits: {nick} ({UNKNOWN_HOST}) ({text})"),
        Kind::Kick => write!(out, "*** {} was kicked by {nick} ({text})", record.whom.as_deref().unwrap_or("?")),
        Kind::Nick => write!(out, "*** {nick} is now known as {text}"),
        Kind::Topic => write!(out, "*** {nick} changes topic to '{text}'"),
        Kind::Mode => write!(out, "*** {nick} sets mode: {text}"),
    }?;
    out.write_all(b"\r\n")
}
