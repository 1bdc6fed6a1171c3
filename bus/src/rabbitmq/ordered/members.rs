//! Who lives in an ordered group, and whose part is which partition.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::PARTITIONS;

/// A worker that was not heard of for this long is taken for dead: it has missed four beats.
const DEAD_AFTER: Duration = Duration::from_secs(4);
/// Workers known at most. Anybody can send beats; more workers than partitions have nothing to do anyway.
const MOST: usize = 1_000;

/// What a beat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sign {
    /// I am new: who else is there?
    Hello,
    Alive,
    Bye,
}

/// What workers tell each other.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Beat {
    pub(super) worker: u64,
    pub(super) sign: Sign,
}

impl Beat {
    pub(super) fn write(self) -> Bytes {
        // two plain fields can always be written
        serde_json::to_vec(&self).unwrap_or_default().into()
    }

    /// `None` for what makes no sense: a newer version's, or anybody's.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// The workers that live, as far as one of them knows.
pub(super) struct Members {
    me: u64,
    heard: HashMap<u64, Instant>,
}

impl Members {
    pub(super) fn new(me: u64) -> Self {
        Members { me, heard: HashMap::new() }
    }

    pub(super) fn me(&self) -> u64 {
        self.me
    }

    /// Notes a beat. True when it asks for an answer.
    pub(super) fn hear(&mut self, beat: Beat, now: Instant) -> bool {
        if beat.worker == self.me {
            return false;
        }
        match beat.sign {
            Sign::Bye => drop(self.heard.remove(&beat.worker)),
            _ if self.heard.len() >= MOST && !self.heard.contains_key(&beat.worker) => {}
            Sign::Hello | Sign::Alive => drop(self.heard.insert(beat.worker, now)),
        }
        beat.sign == Sign::Hello
    }

    pub(super) fn forget_silent(&mut self, now: Instant) {
        self.heard.retain(|_, heard| now.saturating_duration_since(*heard) < DEAD_AFTER);
    }

    /// The partitions that are ours.
    pub(super) fn parts(&self) -> Vec<u32> {
        let mut workers: Vec<u64> = self.heard.keys().copied().chain([self.me]).collect();
        workers.sort_unstable();
        let owners = share(&workers);
        (0..PARTITIONS).zip(owners).filter(|(_, owner)| *owner == self.me).map(|(partition, _)| partition).collect()
    }
}

/// The worker of each partition: the one to whom chance gives the highest weight there, among those who have less than
/// their share (rendezvous hashing, within limits). When a worker comes or goes, most partitions stay where they are.
fn share(workers: &[u64]) -> Vec<u64> {
    let most = (PARTITIONS as usize).div_ceil(workers.len().max(1));
    let weighed = |partition: u32| {
        workers.iter().map(move |&worker| (scatter(worker ^ scatter(u64::from(partition))), partition, worker))
    };
    let mut weights: Vec<(u64, u32, u64)> = (0..PARTITIONS).flat_map(weighed).collect();
    weights.sort_unstable_by(|one, other| other.cmp(one));
    let mut owners: Vec<Option<u64>> = vec![None; PARTITIONS as usize];
    let mut shares: HashMap<u64, usize> = HashMap::new();
    for (_, partition, worker) in weights {
        let share = shares.entry(worker).or_default();
        let Some(owner @ None) = owners.get_mut(partition as usize) else { continue };
        if *share < most {
            *owner = Some(worker);
            *share += 1;
        }
    }
    owners.into_iter().flatten().collect()
}

/// Spreads numbers over all others (the finalizer of SplitMix64). Workers of different versions must agree on it.
fn scatter(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: u64) -> Vec<u64> {
        (0..count).map(|n| scatter(n + 1_000)).collect()
    }

    #[test]
    fn every_partition_has_one_owner_and_nobody_more_than_a_fair_share() {
        for count in 1..=20 {
            let owners = share(&workers(count));
            assert_eq!(owners.len(), 16, "{count}");
            for worker in workers(count) {
                let owned = owners.iter().filter(|owner| **owner == worker).count();
                assert!(owned <= 16_usize.div_ceil(usize::try_from(count).unwrap()), "{count}: {owned}");
            }
        }
    }

    #[test]
    fn when_a_worker_goes_most_partitions_stay_where_they_are() {
        for count in 2..=8 {
            let before = share(&workers(count));
            let after = share(&workers(count - 1));
            let gone = *workers(count).last().unwrap();
            let moved = before.iter().zip(&after).filter(|(one, other)| one != other && **one != gone).count();
            assert!(moved <= 6, "{moved} of 16 moved between others when one of {count} went");
        }
    }

    #[test]
    fn all_who_know_the_same_workers_agree_and_each_part_is_somebodys() {
        let (now, all) = (Instant::now(), workers(4));
        let mut parts = Vec::new();
        for &me in &all {
            let mut members = Members::new(me);
            for &worker in &all {
                assert!(!members.hear(Beat { worker, sign: Sign::Alive }, now));
            }
            parts.extend(members.parts());
        }
        parts.sort_unstable();
        assert_eq!(parts, (0..16).collect::<Vec<_>>());
    }

    #[test]
    fn who_says_goodbye_or_falls_silent_has_no_part() {
        let begin = Instant::now();
        let mut members = Members::new(1);
        assert!(members.hear(Beat { worker: 2, sign: Sign::Hello }, begin));
        assert!(!members.hear(Beat { worker: 3, sign: Sign::Alive }, begin));
        assert!(!members.hear(Beat { worker: 1, sign: Sign::Hello }, begin), "its own");
        assert!(members.parts().len() <= 6);
        members.hear(Beat { worker: 2, sign: Sign::Bye }, begin);
        assert_eq!(members.parts().len(), 8);
        members.forget_silent(begin + DEAD_AFTER - Duration::from_millis(1));
        assert_eq!(members.parts().len(), 8);
        members.forget_silent(begin + DEAD_AFTER);
        assert_eq!(members.parts().len(), 16);
    }

    #[test]
    fn beats_of_others_are_read_and_anything_else_is_left_out() {
        let beat = Beat { worker: 7, sign: Sign::Bye };
        assert_eq!(&beat.write()[..], br#"{"worker":7,"sign":"bye"}"#);
        assert_eq!(Beat::read(br#"{"worker":7,"sign":"bye","more":1}"#).unwrap().sign, Sign::Bye);
        for odd in [&b""[..], b"{}", b"7", br#"{"worker":-1,"sign":"bye"}"#, br#"{"worker":1,"sign":"later"}"#] {
            assert!(Beat::read(odd).is_none());
        }
    }
}
