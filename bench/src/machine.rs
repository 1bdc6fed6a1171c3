//! The machine that figures come from, in one line: they mean nothing without it.

use std::fmt;

use serde::Serialize;

/// How large this machine is, as far as it tells.
#[derive(Serialize)]
pub(crate) struct Machine {
    cores: usize,
    processor: Option<String>,
    memory_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rabbitmq: Option<String>,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let kib: Option<f64> = field("/proc/meminfo", "MemTotal").and_then(|text| number(&text));
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field("/proc/cpuinfo", "model name"),
            memory_gib: kib.map(|kib| (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0),
            rabbitmq: None,
        }
    }

    pub(crate) fn with_rabbitmq(self, version: Option<String>) -> Self {
        Machine { rabbitmq: version, ..self }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cores", self.cores)?;
        if let Some(processor) = &self.processor {
            write!(f, " ({processor})")?;
        }
        if let Some(memory) = self.memory_gib {
            write!(f, ", {memory} GiB of memory")?;
        }
        match &self.rabbitmq {
            Some(version) => write!(f, ", RabbitMQ {version}"),
            None => Ok(()),
        }
    }
}

/// The first value of that name in a file of lines like `name: value`.
pub(crate) fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let value =
        |line: &str| line.strip_prefix(name)?.trim_start().strip_prefix(':').map(|value| value.trim().to_owned());
    text.lines().find_map(value)
}

/// The number that a value like `123 kB` begins with.
pub(crate) fn number<N: std::str::FromStr>(value: &str) -> Option<N> {
    value.split_whitespace().next()?.parse().ok()
}
