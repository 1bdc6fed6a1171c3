//! What a process has used so far, as Linux tells in `/proc`.

use std::time::Duration;

use crate::failure::{Context, Failure, Result};
use crate::machine::{field, number};

/// One tick of `utime` and `stime` (proc_pid_stat(5)): Linux shows 100 a second on every architecture that we know.
const TICK: Duration = Duration::from_millis(10);

/// The CPU time that a process has used, its threads' and the system's on its behalf included.
pub(super) fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).context(&path)?;
    let ticks = ticks(&stat).context(format!("{path} is not what it should be"))?;
    Ok(TICK * ticks)
}

/// Fields 14 and 15 together, counted behind the name, which may hold anything.
fn ticks(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    user.checked_add(system)
}

/// The resident memory of a process, in MiB.
pub(super) fn resident_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let kib: Option<f64> = field(&path, "VmRSS").and_then(|value| number(&value));
    Ok(kib.ok_or_else(|| Failure::new(format!("{path} does not tell the resident memory")))? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_found_whatever_the_process_is_called() {
        let stat = "7 (a) b ) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 3 4 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(300));
    }

    #[test]
    fn this_process_has_used_memory() {
        assert!(resident_mib(std::process::id()).is_ok_and(|mib| mib > 0.5));
        assert!(cpu(std::process::id()).is_ok());
    }
}
