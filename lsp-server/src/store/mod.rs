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
    "0019_mailbox_places",
    "0020_wake_under_way",
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
    use bitcoin::hashes::{Hash, sha256};
    use protocol::mailbox::{MailboxLimits, Sender};
    use storage::testing::{Scratch, assert_migrations_listed, schema};
    use storage::values;

    use super::*;
    use crate::testing::public;

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
             expires_at, deliveries) VALUES ($1, $2, $3, 1, 5, 6, 0)";
        let recipient = public(7);
        let earlier = scratch.open(&[BEFORE]).await;
        let filled = earlier.submit("fill", move |tx| {
            Box::pin(async move {
                for byte in 1_u8..=3 {
                    let hash = sha256::Hash::hash(&[byte]).to_byte_array();
                    tx.execute(MESSAGE, &values![recipient.serialize(), hash, [byte]]).await?;
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
        let found = now.submit("look", move |tx| {
            Box::pin(async move {
                let new = mailbox::NewMessage {
                    recipient,
                    previous_hop: None,
                    sender: Sender::Own,
                    message: vec![4],
                    received_at: 5,
                    expires_at: 6,
                };
                assert_eq!(mailbox::keep(tx, &new, &MailboxLimits::default()).await?, mailbox::Kept::New);
                let waiting = mailbox::waiting(tx, recipient, 0, 10).await?.messages;
                let listed = mailbox::list(tx, 10).await?;
                let counts = tx.fetch_all("SELECT n FROM kept_count ORDER BY of_what", &[]).await?;
                let counts: Result<Vec<_>, _> = counts.iter().map(|row| row.get_i64("n")).collect();
                Ok::<_, StoreError>((waiting, listed, counts?))
            })
        });
        let (waiting, listed, counts) = found.await.unwrap();
        let waiting: Vec<_> = waiting.into_iter().map(|message| message.message).collect();
        assert_eq!(waiting, [[1], [2], [4]], "in order of arrival, whatever version kept them");
        let arrivals: Vec<_> = listed.iter().map(|message| message.arrival).collect();
        assert_eq!(arrivals, [1, 2, 4], "no number is given twice");
        // No challenge of before is good for anything after a start.
        assert_eq!(counts, [1, 0, 0]);
        now.close().await;
    }
}
