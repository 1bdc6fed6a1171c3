//! Which messages of the server say that it does not take a line of ours.

use irc_proto::{Command, Message, Prefix};

use crate::irc::hear::batches::Labelled;
use crate::irc::hear::framing::numbered;
use crate::irc::hear::standard_reply::StandardReply;
use crate::irc::speak::proof::Refusal;

/// The numbers by which a server says that it does not take a message: no such nick or channel, not allowed to send,
/// too many targets, no colours, a bad mask, targets that change too fast, not in the channel, not identified, silenced,
/// ignored (RFC 2812, section 5.2, and the numerics of modern servers).
const REFUSALS: [u16; 18] = [401, 403, 404, 407, 408, 412, 413, 414, 415, 439, 442, 477, 486, 489, 492, 531, 707, 716];
/// Those of them by which it says that we speak to too many too fast: ERR_TARGETTOOFAST and solanum's ERR_TARGCHANGE.
const TOO_FAST: [u16; 2] = [439, 707];
/// What a server's notice says that throttles, in place of a number (ircd-hybrid's and bahamut's "Message to … throttled due
/// to flooding", and the like).
const THROTTLED: [&str; 4] = ["throttled", "too fast", "flooding", "message dropped"];
/// From here on, numbers tell of errors: as the answer to a labelled line, any of them is a refusal.
const ERRORS: u16 = 400;

/// The refusal of something that we said, if the message is one.
pub(crate) fn refusal(message: &Message, labelled: Labelled) -> Option<Refusal> {
    if let Some(reply) = StandardReply::read(&message.command) {
        let refuses = reply.is_refusal() && reply.is_about_something_said();
        // a message of several lines is refused as a batch, and what is told then is its limit
        let target = reply.context.first().filter(|_| reply.command != "BATCH").cloned();
        let label = label(labelled);
        return refuses.then_some(Refusal { label, target, why: reply.why, too_fast: false });
    }
    if let (Command::NOTICE(_, text), None | Some(Prefix::ServerName(_))) = (&message.command, &message.prefix) {
        return throttling(text, labelled);
    }
    // the first parameter is our own nick
    let (number, [_, target, parameters @ ..]) = numbered(&message.command)? else { return None };
    let is_refusal = REFUSALS.contains(&number) || labelled != Labelled::No && number >= ERRORS;
    is_refusal.then(|| Refusal {
        label: label(labelled),
        target: Some(target.clone()),
        why: format!("{number} {}", parameters.join(" ")),
        too_fast: TOO_FAST.contains(&number),
    })
}

/// A notice by which the server says that it has thrown a line away. Nobody else can send it: it comes from no user.
fn throttling(text: &str, labelled: Labelled) -> Option<Refusal> {
    let words = text.to_ascii_lowercase();
    let target = || text.split(' ').find(|word| word.starts_with(['#', '&'])).map(str::to_owned);
    THROTTLED.iter().any(|said| words.contains(said)).then(|| Refusal {
        label: label(labelled),
        target: target(),
        why: text.to_owned(),
        too_fast: true,
    })
}

fn label(labelled: Labelled) -> Option<u64> {
    match labelled {
        Labelled::Part(label) | Labelled::End(label) => Some(label),
        Labelled::No => None,
    }
}
