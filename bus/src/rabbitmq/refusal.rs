//! Why the broker refuses a queue. That it exists with other arguments is told by a sentence alone.

use crate::Error;

/// The sentence is `PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received the value
/// '1' of type 'signedint' but current is the value '2' of type 'signedint'`; for an argument that one side lacks it
/// says `none`, for a property of the queue `'true'`.
pub(super) fn of(queue: &str, why: String) -> Error {
    match differing(&why) {
        Some((argument, asked, found)) => Error::OtherArguments {
            queue: queue.to_owned(),
            argument: argument.to_owned(),
            asked: value(asked).to_owned(),
            found: value(found).to_owned(),
        },
        None => Error::Queue { queue: queue.to_owned(), why },
    }
}

/// The argument, and what is said of the value that was asked for and of the one that it has.
fn differing(why: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = why.split_once("inequivalent arg '")?;
    let (argument, rest) = rest.split_once('\'')?;
    let (rest, found) = rest.rsplit_once(" but current is ")?;
    let (_, asked) = rest.rsplit_once(": received ")?;
    Some((argument, asked, found))
}

fn value(said: &str) -> &str {
    let said = said.strip_prefix("the value ").unwrap_or(said);
    let value = said.rsplit_once(" of type ").map_or(said, |(value, _)| value);
    match value.trim_matches('\'') {
        "none" if !value.starts_with('\'') => "absent",
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(why: &str) -> String {
        of("q", format!("PRECONDITION_FAILED - {why}")).to_string()
    }

    #[test]
    fn the_argument_and_both_values_are_named() {
        assert_eq!(
            told(
                "inequivalent arg 'x-overflow' for queue 'q' in vhost '/': received the value 'drop-head' of type \
                 'longstr' but current is the value 'reject-publish' of type 'longstr'"
            ),
            "the queue q exists with other arguments: its x-overflow is reject-publish, not drop-head as asked for"
        );
        assert_eq!(
            told(
                "inequivalent arg 'x-expires' for queue 'q' in vhost '/': received the value '1' of type 'long' but \
                 current is none"
            ),
            "the queue q exists with other arguments: its x-expires is absent, not 1 as asked for"
        );
        assert_eq!(
            told("inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'"),
            "the queue q exists with other arguments: its durable is false, not true as asked for"
        );
    }

    #[test]
    fn any_other_sentence_is_passed_on() {
        for why in ["", "inequivalent arg '", "inequivalent arg 'x': received", "unknown"] {
            assert!(told(why).contains(why));
        }
    }
}
