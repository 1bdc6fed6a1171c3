//! How much was said in a channel, day by day, in any time zone.

use protocol::Timestamp;
use sea_orm::{DbErr, QueryResult};

use super::Archive;
use super::taking::quarter;
use crate::Error;

/// So many days are asked for at once: a year, and a day more.
const MAX_DAYS: usize = 367;

/// A day on which something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// When it begins.
    pub begins: Timestamp,
    /// How much was said: lines, actions and notices.
    pub messages: i64,
}

impl Archive<'_> {
    /// The days on which something was said in a channel, of those that begin at these moments, in order; the last moment
    /// only ends the day before. So whoever asks says what a day is: time zones, and days of 23 hours, are theirs. Moments are
    /// those of a calendar, whole quarters of an hour. At most 366 days are asked for.
    ///
    /// # Errors
    /// When the database is away, locked, or another version's.
    pub async fn days(&self, network: &str, channel: &str, moments: &[Timestamp]) -> Result<Vec<Day>, Error> {
        let moments = &moments[..moments.len().min(MAX_DAYS)];
        let (Some(first), Some(last)) = (moments.first(), moments.last()) else { return Ok(Vec::new()) };
        let Some(place) = self.place(network, channel).await? else { return Ok(Vec::new()) };
        let sql = "SELECT quarter, messages FROM activity WHERE place_id = $1 AND quarter >= $2 AND quarter < $3
            AND messages > 0 ORDER BY quarter";
        let values = vec![place.into(), quarter(*first).into(), quarter(*last).into()];
        let rows = self.rows(sql, values).await?;
        let read = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
        let quarters: Result<Vec<(i64, i64)>, DbErr> = rows.iter().map(read).collect();
        Ok(by_day(moments, &quarters.map_err(|why| self.0.error(&why))?))
    }
}

/// Adds up quarters of an hour, both in order.
fn by_day(moments: &[Timestamp], quarters: &[(i64, i64)]) -> Vec<Day> {
    let mut days = Vec::new();
    for day in moments.windows(2) {
        let (from, to) = (quarter(day[0]), quarter(day[1]));
        let within = quarters.iter().filter(|(quarter, _)| (from..to).contains(quarter));
        let messages: i64 = within.map(|(_, messages)| messages).sum();
        if messages > 0 {
            days.push(Day { begins: day[0], messages });
        }
    }
    days
}
