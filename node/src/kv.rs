//! `storage` as LDK's `KVStore`.
//!
//! A write is queued in the call, not in the returned future: that is how same-key writes keep their call order, and
//! how rows that our event handlers queued earlier are durable no later than the LDK write that forgets the event.

use std::future::Future;

use lightning::io;
use lightning::util::persist::KVStore;
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

    fn write(
        &self,
        primary_namespace: &str,
        secondary_namespace: &str,
        key: &str,
        buf: Vec<u8>,
    ) -> impl Future<Output = Result<(), io::Error>> + 'static + Send {
        storage::crash_point!("before_ldk_write_queued");
        let commit = self.database.kv().write(primary_namespace, secondary_namespace, key, buf);
        storage::crash_point!("ldk_write_queued");
        async move {
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
        _lazy: bool,
    ) -> impl Future<Output = Result<(), io::Error>> + 'static + Send {
        let commit = self.database.kv().remove(primary_namespace, secondary_namespace, key);
        async move { commit.await.map_err(io_error) }
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
