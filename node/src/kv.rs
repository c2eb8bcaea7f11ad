//! `storage` as LDK's `KVStore`.
//!
//! A write is queued in the call, not in the returned future: that is how same-key writes keep their call order, and
//! how rows that our event handlers queued earlier are durable no later than the LDK write that forgets the event.

use std::future::Future;

use lightning::io;
use lightning::util::persist::{
    CHANNEL_MANAGER_PERSISTENCE_KEY, CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE,
    CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE, KVStore,
};
use storage::{Database, StorageError};

/// LDK's state in the one database.
#[derive(Clone)]
pub(crate) struct NodeKv {
    database: Database,
}

impl NodeKv {
    /// The key-value face of `database`.
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }
}

fn io_error(error: StorageError) -> io::Error {
    io::Error::new(io::ErrorKind::Other, error)
}

impl NodeKv {
    /// LDK waits for its managers while the database takes no writes, so that they do not pile up.
    fn is_written_behind(&self, primary_namespace: &str, secondary_namespace: &str, key: &str) -> bool {
        is_manager(primary_namespace, secondary_namespace, key) && self.database.trouble().is_none()
    }
}

fn is_manager(primary_namespace: &str, secondary_namespace: &str, key: &str) -> bool {
    primary_namespace == CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE
        && secondary_namespace == CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE
        && key == CHANNEL_MANAGER_PERSISTENCE_KEY
}

impl KVStore for NodeKv {
    fn read(
        &self,
        primary_namespace: &str,
        secondary_namespace: &str,
        key: &str,
    ) -> impl Future<Output = Result<Vec<u8>, io::Error>> + 'static + Send {
        let kv = self.database.kv();
        let (primary, secondary, key) =
            (primary_namespace.to_owned(), secondary_namespace.to_owned(), key.to_owned());
        async move {
            let value = kv.read(&primary, &secondary, &key).await.map_err(io_error)?;
            value.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no value for key {key}")))
        }
    }

    /// The channel manager counts as written as soon as it is queued, and so do lazy removals. What LDK does after it has
    /// written the manager is to write monitors, which are queued behind it: no monitor is ever on disk before the manager
    /// that goes with it, and both share a commit. If a commit fails, the database stops the process.
    fn write(
        &self,
        primary_namespace: &str,
        secondary_namespace: &str,
        key: &str,
        buf: Vec<u8>,
    ) -> impl Future<Output = Result<(), io::Error>> + 'static + Send {
        storage::crash_point!("before_ldk_write_queued");
        let kv = self.database.kv();
        let commit = if self.is_written_behind(primary_namespace, secondary_namespace, key) {
            kv.write_behind(primary_namespace, secondary_namespace, key, buf);
            None
        } else {
            Some(kv.write(primary_namespace, secondary_namespace, key, buf))
        };
        storage::crash_point!("ldk_write_queued");
        async move {
            let Some(commit) = commit else { return Ok(()) };
            let outcome = commit.await.map_err(io_error);
            storage::crash_point!("ldk_write_durable");
            outcome
        }
    }

    fn remove(
        &self,
        primary_namespace: &str,
        secondary_namespace: &str,
        key: &str,
        lazy: bool,
    ) -> impl Future<Output = Result<(), io::Error>> + 'static + Send {
        let kv = self.database.kv();
        let commit = if lazy {
            kv.remove_behind(primary_namespace, secondary_namespace, key);
            None
        } else {
            Some(kv.remove(primary_namespace, secondary_namespace, key))
        };
        async move {
            let Some(commit) = commit else { return Ok(()) };
            commit.await.map_err(io_error)
        }
    }

    fn list(
        &self,
        primary_namespace: &str,
        secondary_namespace: &str,
    ) -> impl Future<Output = Result<Vec<String>, io::Error>> + 'static + Send {
        let kv = self.database.kv();
        let (primary, secondary) = (primary_namespace.to_owned(), secondary_namespace.to_owned());
        async move { kv.list(&primary, &secondary).await.map_err(io_error) }
    }
}
