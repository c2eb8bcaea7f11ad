use tokio::sync::oneshot;

use crate::session::Wanted;
use crate::writer::{Job, KvKey};
use crate::{Commit, Database, StorageError, values};

/// The key-value table, in the two namespaces and one key of LDK's `KVStore`. Any of the three may be empty.
#[derive(Clone)]
pub struct Kv {
    database: Database,
}

impl Kv {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Queues the value, in place of any earlier one.
    pub fn write(
        &self,
        primary: &str,
        secondary: &str,
        key: &str,
        value: Vec<u8>,
    ) -> Commit<(), StorageError> {
        let (answer, commit) = oneshot::channel();
        let answer = Some(answer);
        self.database.enqueue(Job::Write { key: KvKey::new(primary, secondary, key), value, answer });
        Commit::new(commit)
    }

    /// Queues the value, in place of any earlier one, for whoever need not wait until it is on disk: it is there no later than
    /// whatever is queued after it, and by itself after a few milliseconds. A value that is replaced before that is never
    /// written.
    pub fn write_behind(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) {
        let key = KvKey::new(primary, secondary, key);
        self.database.enqueue(Job::Write { key, value, answer: None });
    }

    /// Queues the removal of a value as [`Kv::write_behind`] queues a write.
    pub fn remove_behind(&self, primary: &str, secondary: &str, key: &str) {
        self.database.enqueue(Job::Remove { key: KvKey::new(primary, secondary, key), answer: None });
    }

    /// Queues the removal of a value. One that is not there is no error.
    pub fn remove(&self, primary: &str, secondary: &str, key: &str) -> Commit<(), StorageError> {
        let (answer, commit) = oneshot::channel();
        let answer = Some(answer);
        self.database.enqueue(Job::Remove { key: KvKey::new(primary, secondary, key), answer });
        Commit::new(commit)
    }

    /// The value that is committed; what is still queued does not show. The future borrows nothing.
    ///
    /// # Errors
    /// [`StorageError::Query`], or [`StorageError::Stopped`] once the database is closed.
    pub fn read(
        &self,
        primary: &str,
        secondary: &str,
        key: &str,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StorageError>> + Send + use<> {
        let sql =
            "SELECT value FROM kv WHERE primary_namespace = $1 AND secondary_namespace = $2 AND key = $3";
        let params = values![primary, secondary, key].to_vec();
        let (readers, shared) = (self.database.readers().clone(), self.database.shared());
        async move {
            let rows = readers.fetch(&shared, sql, params, Wanted::First).await?;
            rows.first().map(|row| row.get_blob("value")).transpose()
        }
    }

    /// The committed keys of one namespace, in order; empty if there is none. The future borrows nothing.
    ///
    /// # Errors
    /// [`StorageError::Query`], or [`StorageError::Stopped`] once the database is closed.
    pub fn list(
        &self,
        primary: &str,
        secondary: &str,
    ) -> impl Future<Output = Result<Vec<String>, StorageError>> + Send + use<> {
        let sql = "SELECT key FROM kv WHERE primary_namespace = $1 AND secondary_namespace = $2 ORDER BY key";
        let params = values![primary, secondary].to_vec();
        let (readers, shared) = (self.database.readers().clone(), self.database.shared());
        async move {
            let rows = readers.fetch(&shared, sql, params, Wanted::All).await?;
            rows.iter().map(|row| row.get_text("key")).collect()
        }
    }
}
