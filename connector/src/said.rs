//! Which replies were said: what is delivered twice is said once.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

/// How many ids are remembered: at 50 lines/s the last 20 minutes, in about 4 MB.
const REMEMBERED: usize = 65_536;

/// The ids of the last replies said, and of those being said.
#[derive(Default)]
pub(crate) struct Said {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Said {
    /// Notes an id; false if it is known already.
    pub fn begin(&mut self, id: Uuid) -> bool {
        let new = self.ids.insert(id);
        if new {
            self.order.push_back(id);
            self.drop_oldest();
        }
        new
    }

    /// It was not said after all.
    pub fn forget(&mut self, id: Uuid) {
        if self.ids.remove(&id) {
            self.order.retain(|known| *known != id);
        }
    }

    fn drop_oldest(&mut self) {
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.ids.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_begins_once_until_it_is_forgotten() {
        let mut said = Said::default();
        assert!(said.begin(Uuid::from_u128(1)));
        assert!(!said.begin(Uuid::from_u128(1)));
        said.forget(Uuid::from_u128(1));
        assert!(said.begin(Uuid::from_u128(1)));
    }

    #[test]
    fn only_the_last_ids_are_remembered() {
        let mut said = Said::default();
        for n in 0..=REMEMBERED as u128 {
            assert!(said.begin(Uuid::from_u128(n)));
        }
        assert_eq!(said.ids.len(), REMEMBERED);
        assert!(said.begin(Uuid::from_u128(0)));
        assert!(!said.begin(Uuid::from_u128(REMEMBERED as u128)));
    }
}
