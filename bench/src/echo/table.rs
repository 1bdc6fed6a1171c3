//! What was measured, put together: medians of the rounds, the table for people, the object for machines.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::aims::{Aim, aims};
use super::start::Starts;
use super::systems::{Cpu, Kind, Memory, median};
use super::{CHATTER, Plan, WINDOWS};
use crate::machine::Machine;

/// What one system showed in each round.
#[derive(Default)]
pub(super) struct Figures {
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    rates: [Vec<f64>; WINDOWS.len()],
    unanswered: u64,
    cpu: Cpu,
}

impl Figures {
    pub(super) fn add_latencies(&mut self, mut latencies: Vec<Duration>) {
        latencies.sort_unstable();
        self.p50_ms.push(percentile(&latencies, 50));
        self.p99_ms.push(percentile(&latencies, 99));
    }

    pub(super) fn add_rate(&mut self, window: usize, rate: f64) {
        self.rates[window].push(rate);
    }

    /// CPU time adds up: the clock that tells it is too coarse for single rounds.
    pub(super) fn add_cpu(&mut self, lines: u64, cpu: Cpu) {
        self.unanswered += lines;
        self.cpu = Cpu { own: self.cpu.own + cpu.own, broker: self.cpu.broker + cpu.broker };
    }

    fn row(&self, kind: Kind) -> Row {
        let per_1000 = |time: Duration| time.as_secs_f64() * 1e3 / (self.unanswered.max(1) as f64 / 1e3);
        Row {
            system: kind.key(),
            p50_ms: median(&self.p50_ms),
            p99_ms: median(&self.p99_ms),
            replies_64: median(&self.rates[0]),
            replies_1000: median(&self.rates[1]),
            cpu_ms_per_1000_lines: per_1000(self.cpu.own + self.cpu.broker),
            cpu_ms_without_broker: per_1000(self.cpu.own),
        }
    }
}

/// In ms, of sorted times.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// One system's figures.
#[derive(Serialize)]
pub(super) struct Row {
    system: &'static str,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) replies_64: f64,
    pub(super) replies_1000: f64,
    pub(super) cpu_ms_per_1000_lines: f64,
    pub(super) cpu_ms_without_broker: f64,
}

/// Everything.
#[derive(Serialize)]
pub(super) struct Report {
    machine: Machine,
    rounds: usize,
    latency_turns: usize,
    latency_lines: usize,
    saturated_s: f64,
    unanswered_lines: u64,
    systems: Vec<Row>,
    idle_mib: Memory,
    after_mib: Memory,
    broker_after_mib: f64,
    start: Starts,
    aims: Vec<Aim>,
}

impl Report {
    pub(super) fn new(
        machine: Machine,
        plan: &Plan,
        figures: &[Figures],
        [idle, after]: [Memory; 2],
        broker_after_mib: f64,
        start: Starts,
    ) -> Self {
        let systems: Vec<Row> = Kind::ALL.into_iter().map(|kind| figures[kind.index()].row(kind)).collect();
        let aims = aims(&systems, &idle, &start);
        Report {
            machine,
            rounds: plan.rounds,
            latency_turns: plan.rounds * plan.turns,
            latency_lines: plan.rounds * plan.turns * plan.latency_lines,
            saturated_s: plan.rounds as f64 * plan.saturate.as_secs_f64(),
            unanswered_lines: figures.first().map_or(0, |figures| figures.unanswered),
            systems,
            idle_mib: idle,
            after_mib: after,
            broker_after_mib,
            start,
            aims,
        }
    }
}

/// The report as a table, with what its figures are.
pub(super) fn text(report: &Report) -> String {
    let mut text = format!("{}\n\n", report.machine);
    systems(report, &mut text);
    memory_and_start(report, &mut text);
    let _ = writeln!(text, "\n{:<74} {:>11}  {:>11}", "aims", "is", "shall be");
    for aim in &report.aims {
        let _ = writeln!(text, "{aim}");
    }
    text
}

fn systems(report: &Report, text: &mut String) {
    let Report { rounds, latency_turns, latency_lines, saturated_s, unanswered_lines, .. } = report;
    let _ = writeln!(
        text,
        "lines of 10 users in 5 channels, each line in a packet of its own; every answer checked\n\
         p50, p99: one line outstanding, {latency_lines} lines or more in {latency_turns} turns, the median turn\n\
         replies/s: {} lines outstanding, and {}, for {saturated_s} s in {rounds} rounds, the median round\n\
         CPU: time for 1,000 lines that nothing answers, at {CHATTER} a second, over {unanswered_lines} lines\n",
        WINDOWS[0], WINDOWS[1],
    );
    let _ = writeln!(
        text,
        "{:<26} {:>9} {:>9}  {:>11} {:>12}  {:>9} {:>15}",
        "", "p50", "p99", "replies/s", "at 1,000", "CPU", "without broker"
    );
    for (kind, row) in Kind::ALL.into_iter().zip(&report.systems) {
        let _ = writeln!(
            text,
            "{kind:<26} {:>6.3} ms {:>6.3} ms  {:>11.0} {:>12.0}  {:>6.0} ms {:>12.0} ms",
            row.p50_ms,
            row.p99_ms,
            row.replies_64,
            row.replies_1000,
            row.cpu_ms_per_1000_lines,
            row.cpu_ms_without_broker,
        );
    }
}

fn memory_and_start(report: &Report, text: &mut String) {
    let Report { idle_mib: idle, after_mib: after, start, .. } = report;
    let _ = writeln!(text, "\n{:<26} {:>12} {:>12} {:>12} {:>12}", "resident", "up", "connector", "worker", "RabbitMQ");
    for (when, memory, broker) in [("idle", idle, None), ("after the run", after, Some(report.broker_after_mib))] {
        let broker = broker.map(|mib| format!("{mib:.0} MiB")).unwrap_or_default();
        let Memory { up, connector, worker } = memory;
        let _ = writeln!(text, "{when:<26} {up:>8.1} MiB {connector:>8.1} MiB {worker:>8.1} MiB {broker:>12}");
    }
    let Starts { runs, up_ms, raw_ms } = start;
    let _ = writeln!(
        text,
        "\nexec to own JOIN on ngircd, {runs} starts each: `pubbot up` {up_ms:.1} ms, a raw client {raw_ms:.1} ms"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!((percentile(&times, 50), percentile(&times, 99)), (100.0, 198.0));
        assert!(percentile(&[], 50).is_nan());
    }

    #[test]
    fn the_median_of_the_rounds_counts_and_cpu_time_adds_up() {
        let mut figures = Figures::default();
        for rate in [10.0, 1000.0, 20.0] {
            figures.add_rate(0, rate);
            let cpu = Cpu { own: Duration::from_millis(10), broker: Duration::from_millis(30) };
            figures.add_cpu(500, cpu);
        }
        let row = figures.row(Kind::Up);
        assert_eq!(row.replies_64, 20.0);
        assert!((row.cpu_ms_per_1000_lines - 80.0).abs() < 1e-9);
        assert!((row.cpu_ms_without_broker - 20.0).abs() < 1e-9);
    }
}
