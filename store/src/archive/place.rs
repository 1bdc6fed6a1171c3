//! Where messages were said: a number for each channel of each network. It never changes, so it is remembered.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use sea_orm::DbErr;

use super::Record;
use crate::sql::one;
use crate::{Writing, fold};

/// So many are remembered; a bot is in a thousand at the most, on each network.
const REMEMBERED: usize = 100_000;

/// Network, and channel as it is compared.
pub(super) type Name = (String, String);

/// The numbers that were seen in the database.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<HashMap<Name, i64>>);

impl Places {
    /// The number of each record's place, whose names were made of them. New ones are made in this transaction; call
    /// [`remember`](Places::remember) when it is committed.
    pub(super) async fn of(
        &self,
        records: &[Record],
        names: &[Name],
        writing: &Writing,
    ) -> Result<HashMap<Name, i64>, DbErr> {
        // in order, so that two processes that make the same ones don't wait for each other
        let as_said = records.iter().map(|record| &*record.channel);
        let wanted: BTreeMap<&Name, &str> = names.iter().zip(as_said).collect();
        let mut places = HashMap::with_capacity(wanted.len());
        for (name, as_said) in wanted {
            let known = self.lock().get(name).copied();
            let id = match known {
                Some(id) => id,
                None => make(name, as_said, writing).await?,
            };
            places.insert(name.clone(), id);
        }
        Ok(places)
    }

    /// These are in the database for good.
    pub(crate) fn remember(&self, places: HashMap<Name, i64>) {
        let mut known = self.lock();
        if known.len() < REMEMBERED {
            known.extend(places);
        }
    }

    /// None are known: the tables are not what they were.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Name, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where something happened.
pub(super) fn of(record: &Record) -> Name {
    name(&record.network, &record.channel)
}

/// A channel's name as it is compared.
pub(super) fn name(network: &str, channel: &str) -> Name {
    (network.to_owned(), fold(channel))
}

async fn make((network, channel): &Name, as_said: &str, writing: &Writing) -> Result<i64, DbErr> {
    const SQL: &str = "INSERT INTO places (network, channel, name) VALUES ($1, $2, $3)
        ON CONFLICT (network, channel) DO UPDATE SET name = excluded.name RETURNING id";
    let row = one(writing.on(), SQL, [network.into(), channel.into(), as_said.into()]).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("a place".to_owned()))?.try_get_by_index(0)
}
