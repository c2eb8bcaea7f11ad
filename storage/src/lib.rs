//! One database with **one ordered writer**.
//!
//! Everything that is written goes through a queue, in the order of the calls: LDK's key-value writes ([`Kv`]) and the
//! applications' own transactions ([`Database::submit`]). The writer takes what is queued, runs it as one database
//! transaction (each application transaction so that its error undoes only itself) and commits once, so that one fsync
//! serves many callers. What is durable is always a prefix of what was queued.
//!
//! A call enqueues at once, even if the [`Commit`] it returns is dropped; the [`Commit`] resolves once the batch is on
//! disk. A disk that is full, takes no writes or answers with errors, and a file that is locked or gone, are a
//! [`Trouble`]: nothing is acknowledged, [`Database::submit`] refuses new work, and the batch is done again until it is
//! committed. A batch that can never be committed ends the writer for good ([`Database::failed`]): what would follow
//! might rest on writes that are lost, so the process has to stop and start again from what the disk says.
//!
//! The URL's scheme chooses between SQLite (`sqlite/`) and Postgres (`postgres/`); nothing else tells them apart.
//!
//! Reads ([`Database::read`], [`Kv::read`]) have a pool of their own and never wait for the writer.
//!
//! This crate knows neither LDK nor the payments; the tables of the applications come with their [`MigrationSet`]s.

mod backup;
mod commit;
pub mod crash;
mod database;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
mod generation;
mod inspect;
#[cfg(feature = "faults")]
mod kill;
mod kv;
mod link;
mod migration;
mod postgres;
mod readers;
mod row;
mod session;
mod sqlite;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;
mod trouble;
mod tx;
mod url;
mod value;
mod writer;

pub use futures::future::BoxFuture;

pub use backup::backup;
pub use commit::Commit;
pub use database::Database;
pub use error::{ColumnError, Failure, QueryError, StorageError};
pub use generation::{Generation, Witness, WitnessError, accept_place, peek_generation};
pub use inspect::{damaged_pages, inspect};
pub use kv::Kv;
pub use migration::{Migration, MigrationSet};
pub use postgres::{PostgresUrl, ServerLook};
pub use row::Row;
pub use stats::Stats;
pub use trouble::{Trouble, TroubleKind};
pub use tx::{ReadTx, Tx};
pub use url::{DatabaseUrl, DatabaseUrlError};
pub use value::Value;
