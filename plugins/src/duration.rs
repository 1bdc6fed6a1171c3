//! Durations in words, as people read them.

const UNITS: [(&str, u64); 6] =
    [("year", 365 * 86_400), ("week", 7 * 86_400), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];

/// `1 hour and 2 seconds`: every unit that there is, from years (of 365 days) to seconds.
pub(crate) fn in_words(seconds: u64) -> String {
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        let count = rest / length;
        rest %= length;
        match count {
            0 => {}
            1 => parts.push(format!("1 {unit}")),
            _ => parts.push(format!("{count} {unit}s")),
        }
    }
    match parts.as_slice() {
        [] => "0 seconds".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_the_units_there_are() {
        assert_eq!(in_words(0), "0 seconds");
        assert_eq!(in_words(61), "1 minute and 1 second");
        assert_eq!(in_words(2 * 86_400 + 7_200 + 5), "2 days, 2 hours and 5 seconds");
        assert_eq!(in_words(365 * 86_400 + 15 * 86_400), "1 year, 2 weeks and 1 day");
    }
}
