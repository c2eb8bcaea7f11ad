//! Every table of the server; one file per table. Functions take the transaction they run in.

pub mod ages;
pub mod challenges;
pub mod damage;
pub mod devices;
pub mod holds;
pub mod mailbox;
pub mod notifications;
pub mod parts;
pub mod pending;
pub mod retention;
pub mod token_keys;
pub mod wakes;

use storage::MigrationSet;

/// The server's tables, applied in order.
pub const MIGRATIONS: MigrationSet = storage::migration_set!("server":
    "0001_holds",
    "0002_mailbox",
    "0003_devices",
    "0004_wakes",
    "0005_time",
    "0006_wake_ledger",
    "0007_device_test",
    "0008_limits",
    "0009_device_push",
    "0010_sealed_tokens",
    "0011_notifications",
    "0012_indexes",
    "0013_hold_digest",
    "0014_wake_lanes",
    "0015_mailbox_box",
    "0016_kept_counts",
    "0017_challenge_rooms",
    "0018_mailbox_senders",
);

/// A row that does not make sense. Fail closed: act on none of it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed")]
    Storage(#[from] storage::StorageError),
    /// A hold's rows contradict each other.
    #[error("hold {hold_id} cannot be read")]
    Hold {
        /// The row's id.
        hold_id: i64,
        /// What is wrong.
        source: protocol::hold::RowError,
    },
    /// A column holds what no version of this program wrote.
    #[error("column {column} of {table} cannot be read")]
    Column {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
}

impl StoreError {
    /// Whether one row is to blame, and the database works.
    #[must_use]
    pub const fn is_of_a_row(&self) -> bool {
        match self {
            Self::Hold { .. } | Self::Column { .. } => true,
            Self::Storage(error) => {
                matches!(
                    error,
                    storage::StorageError::Column { .. } | storage::StorageError::ColumnRange { .. }
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use storage::testing::{Scratch, assert_migrations_listed, schema};
    use storage::values;

    use super::*;

    #[test]
    fn every_migration_is_listed() {
        assert_migrations_listed(&MIGRATIONS);
    }

    #[tokio::test]
    async fn both_kinds_of_database_have_the_same_tables() {
        let Some(postgres) = Scratch::postgres() else { return };
        let sqlite = Scratch::sqlite();
        let (ours, theirs) = (sqlite.open(&[MIGRATIONS]).await, postgres.open(&[MIGRATIONS]).await);
        let (ours, theirs) = (schema(&ours, false).await, schema(&theirs, true).await);
        assert!(ours.contains(&"hold.pid_hash bytea NOT NULL".to_owned()), "{ours:#?}");
        assert!(ours.contains(&"hold_live ON hold (payer) WHERE".to_owned()), "{ours:#?}");
        assert_eq!(ours, theirs);
    }

    storage::on_both!(what_waited_before_waits_after_the_new_index_and_counts_are_right,);

    async fn what_waited_before_waits_after_the_new_index_and_counts_are_right(scratch: Scratch) {
        const BEFORE: MigrationSet = MigrationSet {
            sqlite: MIGRATIONS.sqlite.split_at(14).0,
            postgres: MIGRATIONS.postgres.split_at(14).0,
            name: MIGRATIONS.name,
        };
        const MESSAGE: &str = "INSERT INTO mailbox_message (recipient, message_hash, message, message_bytes, received_at, \
             expires_at, deliveries) VALUES ($1, $2, $2, 1, 5, 6, 0)";
        let earlier = scratch.open(&[BEFORE]).await;
        let filled = earlier.submit("fill", |tx| {
            Box::pin(async move {
                for byte in 1_u8..=3 {
                    tx.execute(MESSAGE, &values![[7; 33], [byte; 32]]).await?;
                    tx.execute(
                        "INSERT INTO used_challenge (challenge, expires_at) VALUES ($1, 9)",
                        &values![[byte; 4]],
                    )
                    .await?;
                    tx.execute(
                        "INSERT INTO device (device_id, node_id, platform, registered_at, registrations, has_channel, \
                         paused_until) VALUES ($1, $1, 'fcm', 1, 1, $2, 0)",
                        &values![[byte; 16], i64::from(byte / 2)],
                    )
                    .await?;
                }
                tx.execute("DELETE FROM mailbox_message WHERE id = 3", &[]).await
            })
        });
        filled.await.unwrap();
        earlier.close().await;

        let now = scratch.open(&[MIGRATIONS]).await;
        let found = now.submit("look", |tx| {
            Box::pin(async move {
                tx.execute(MESSAGE, &values![[8; 33], [4_u8; 32]]).await?;
                let messages =
                    tx.fetch_all("SELECT id, recipient, message_hash FROM mailbox_message ORDER BY id", &[]);
                let messages: Result<Vec<_>, _> = messages
                    .await?
                    .iter()
                    .map(|row| {
                        Ok::<_, storage::StorageError>((
                            row.get_i64("id")?,
                            row.get_blob("recipient")?[0],
                            row.get_blob("message_hash")?[0],
                        ))
                    })
                    .collect();
                let counts = tx.fetch_all("SELECT n FROM kept_count ORDER BY of_what", &[]).await?;
                let counts: Result<Vec<_>, _> = counts.iter().map(|row| row.get_i64("n")).collect();
                Ok::<_, storage::StorageError>((messages?, counts?))
            })
        });
        let (messages, counts) = found.await.unwrap();
        assert_eq!(messages, [(1, 7, 1), (2, 7, 2), (4, 8, 4)], "no id is given twice");
        // No challenge of before is good for anything after a start.
        assert_eq!(counts, [1, 0, 0]);
        now.close().await;
    }
}
