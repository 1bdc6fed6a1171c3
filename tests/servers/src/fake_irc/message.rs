//! A line of a client's, taken apart.

/// A client's line: it has tags, but no source.
pub(super) struct Message<'a> {
    pub label: Option<&'a str>,
    pub command: String,
    parameters: Vec<&'a str>,
}

impl<'a> Message<'a> {
    pub fn parse(line: &'a str) -> Self {
        let (tags, rest) = match line.strip_prefix('@').and_then(|line| line.split_once(' ')) {
            Some((tags, rest)) => (tags, rest),
            None => ("", line),
        };
        let label = tags.split(';').find_map(|tag| tag.strip_prefix("label="));
        let (middle, trailing) = match rest.split_once(" :") {
            Some((middle, trailing)) => (middle, Some(trailing)),
            None => (rest, None),
        };
        let mut words = middle.split(' ').filter(|word| !word.is_empty());
        let command = words.next().unwrap_or_default().to_ascii_uppercase();
        Self { label, command, parameters: words.chain(trailing).collect() }
    }

    pub fn parameter(&self, index: usize) -> &'a str {
        self.parameters.get(index).copied().unwrap_or_default()
    }
}
