//! Which messages of the server say that it does not take a line of ours, a message or a command.

use irc_proto::{Command, Message, Prefix};

use crate::irc::hear::batches::Labelled;
use crate::irc::hear::framing::numbered;
use crate::irc::hear::standard_reply::StandardReply;
use crate::irc::speak::proof::Refusal;

/// The numbers by which a server says that it does not take a message: no such nick or channel, not allowed to send,
/// too many targets, no colours, a bad mask, targets that change too fast, not in the channel, not identified, silenced,
/// ignored (RFC 2812, section 5.2, and the numerics of modern servers).
const OF_MESSAGES: [u16; 18] =
    [401, 403, 404, 407, 408, 412, 413, 414, 415, 439, 442, 477, 486, 489, 492, 531, 707, 716];
/// Those by which it refuses what an action asks for, by the command where the number alone tells which it is (RFC 2812,
/// section 5.2, and the numerics of modern servers).
const OF_COMMANDS: [(&str, &[u16]); 7] = [
    // no such nick or channel, unknown, not there, not allowed; they name the channel, the nick or the command
    ("", &[401, 403, 421, 439, 440, 442, 461, 477, 480, 481, 482, 484, 485, 489, 707]),
    ("JOIN", &[405, 437, 471, 473, 474, 475, 476, 479, 500, 519, 520]),
    ("KICK", &[441, 972]),
    ("MODE", &[467, 472, 478, 486, 494, 501, 696, 697, 698]),
    ("INVITE", &[443, 518]),
    ("NICK", &[431, 432, 433, 435, 436, 438, 447]),
    ("TAGMSG", &[404, 407, 531, 716]),
];
/// Those by which it says that we speak to too many too fast: ERR_TARGETTOOFAST and solanum's ERR_TARGCHANGE.
const TOO_FAST: [u16; 2] = [439, 707];
/// What a server's notice says that throttles, in place of a number (ircd-hybrid's and bahamut's "Message to … throttled due
/// to flooding", and the like).
const THROTTLED: [&str; 4] = ["throttled", "too fast", "flooding", "message dropped"];
/// From here on, numbers tell of errors: as the answer to a labelled line, any of them is a refusal.
const ERRORS: u16 = 400;

/// The refusal of something that we said or did, if the message is one. A JOIN of the session's own may be refused by the
/// same numbers: that is none of a message.
pub(crate) fn refusal(message: &Message, labelled: Labelled, of_own_join: bool) -> Option<Refusal> {
    if let Some(reply) = StandardReply::read(&message.command) {
        return reply.is_refusal().then(|| Refusal {
            label: label(labelled),
            // a message of several lines is refused as a batch, and what is told then is its limit
            target: reply.context.first().filter(|_| reply.command != "BATCH").cloned(),
            of_message: reply.is_about_something_said(),
            of_command: vec![reply.command.to_owned()],
            why: reply.why,
            too_fast: false,
        });
    }
    if let (Command::NOTICE(_, text), None | Some(Prefix::ServerName(_))) = (&message.command, &message.prefix) {
        return throttling(text, labelled);
    }
    // the first parameter is our own nick
    let (number, [_, target, parameters @ ..]) = numbered(&message.command)? else { return None };
    let answers = labelled != Labelled::No && number >= ERRORS;
    let command = OF_COMMANDS.iter().find(|(_, refusing)| refusing.contains(&number)).map(|(command, _)| *command);
    let refusal = Refusal {
        label: label(labelled),
        target: Some(target.clone()),
        of_message: !of_own_join && OF_MESSAGES.contains(&number),
        of_command: command.map_or_else(Vec::new, |command| named(command, target, parameters)),
        why: format!("{number} {}", parameters.join(" ")),
        too_fast: TOO_FAST.contains(&number),
    };
    (answers || refusal.of_message || command.is_some()).then_some(refusal)
}

/// A notice by which the server says that it has thrown a line away. Nobody else can send it: it comes from no user.
fn throttling(text: &str, labelled: Labelled) -> Option<Refusal> {
    let words = text.to_ascii_lowercase();
    let target = text.split(' ').find(|word| word.starts_with(['#', '&'])).map(str::to_owned);
    THROTTLED.iter().any(|said| words.contains(said)).then(|| Refusal {
        label: label(labelled),
        of_message: true,
        of_command: target.iter().cloned().collect(),
        target,
        why: text.to_owned(),
        too_fast: true,
    })
}

/// What a refusal names, but for the text for people.
fn named(command: &str, target: &str, parameters: &[String]) -> Vec<String> {
    let context = parameters.split_last().map_or(&[] as &[String], |(_, context)| context);
    let words = [command, target].into_iter().filter(|word| !word.is_empty()).map(str::to_owned);
    words.chain(context.iter().cloned()).collect()
}

fn label(labelled: Labelled) -> Option<u64> {
    match labelled {
        Labelled::Part(label) | Labelled::End(label) => Some(label),
        Labelled::No => None,
    }
}
