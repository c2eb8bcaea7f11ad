//! What the last look through the tables found damaged, for the log, the metrics, health and `doctor`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use storage::{Database, DatabaseUrl, StorageError};

use crate::clock::Clock;
use crate::metrics::names;
use crate::store::damage::{self, DamagedRow, Place, TABLES};

/// Between two looks, unless somebody comes upon a damaged row before.
const LOOK_INTERVAL: Duration = Duration::from_secs(3_600);

/// How soon a damaged row that somebody came upon is a reason to look.
const STUMBLE_INTERVAL: Duration = Duration::from_secs(2);

/// After the database failed to answer, or while it cannot be written.
const ERROR_PAUSE: Duration = Duration::from_secs(10);

/// Damaged rows that are named; of more there is only a count.
const NAMED_MAX: usize = 100;

/// Damaged rows: how many of each table, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Tables with damaged rows.
    pub counts: BTreeMap<&'static str, u64>,
    /// At most a hundred of them.
    pub rows: Vec<DamagedRow>,
}

impl Found {
    fn add(&mut self, rows: Vec<DamagedRow>) {
        for row in rows {
            *self.counts.entry(row.table).or_default() += 1;
            if self.rows.len() < NAMED_MAX {
                self.rows.push(row);
            }
        }
    }

    /// `hold 1, wake 2`, if any row is damaged. Names no row.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        if self.counts.is_empty() {
            return None;
        }
        let counts: Vec<_> = self.counts.iter().map(|(table, count)| format!("{table} {count}")).collect();
        Some(counts.join(", "))
    }

    /// One line for each damaged row that is named, and one for those that are not.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |row: &DamagedRow| format!("{} {}: {}", row.table, row.id, row.why);
        let mut lines: Vec<_> = self.rows.iter().map(line).collect();
        let more = self.counts.values().sum::<u64>().saturating_sub(self.rows.len() as u64);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }
}

/// Looks through the tables of a running server.
#[derive(Debug, Default)]
pub struct Damage {
    found: Mutex<Found>,
}

impl Damage {
    /// What the last look found.
    #[must_use]
    pub fn found(&self) -> Found {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at once, every hour, and whenever somebody comes upon a damaged row.
    pub async fn run(self: Arc<Self>, database: Database, clock: Arc<dyn Clock>) {
        loop {
            let stumbles = damage::stumbles();
            let looked_at = clock.elapsed();
            if let Err(error) = self.look(&database).await {
                if matches!(error, StorageError::Stopped) {
                    return;
                }
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the tables cannot be looked through"
                );
                clock.sleep(ERROR_PAUSE).await;
                continue;
            }
            while damage::stumbles() == stumbles && clock.elapsed().saturating_sub(looked_at) < LOOK_INTERVAL
            {
                clock.sleep(STUMBLE_INTERVAL).await;
            }
        }
    }

    /// One look through all tables.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look(&self, database: &Database) -> Result<(), StorageError> {
        let mut found = Found::default();
        let mut place = Some(Place::default());
        while let Some(from) = place {
            let page =
                database.read("look_for_damage", |tx| Box::pin(async move { damage::look(tx, &from).await }));
            let (rows, next) = page.await?;
            damage::name(&rows);
            found.add(rows);
            place = next;
        }
        for table in TABLES {
            let count = found.counts.get(table).copied().unwrap_or(0);
            names::DAMAGED_ROWS.set(count as f64, &[("table", table)]);
        }
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }
}

/// The same for a database that no server needs to have open; none if it has no tables yet. Changes nothing.
///
/// # Errors
/// When it cannot be opened or read.
pub async fn inspect(url: &DatabaseUrl) -> Result<Option<Found>, StorageError> {
    storage::inspect(url, |tx| {
        Box::pin(async move {
            if !tx.has_table(TABLES[0]).await? {
                return Ok(None);
            }
            let mut found = Found::default();
            let mut place = Some(Place::default());
            while let Some(from) = place {
                let (rows, next) = damage::look(tx, &from).await?;
                found.add(rows);
                place = next;
            }
            Ok(Some(found))
        })
    })
    .await
}
