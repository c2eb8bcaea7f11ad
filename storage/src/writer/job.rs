use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use crate::{Failure, StorageError, Tx, Value};

pub(crate) type KvAnswer = oneshot::Sender<Result<(), StorageError>>;

/// What the queue carries.
pub(crate) enum Job {
    /// Without an answer, nobody waits: see [`Kv::write_behind`](crate::Kv::write_behind).
    Write {
        key: KvKey,
        value: Vec<u8>,
        answer: Option<KvAnswer>,
    },
    Remove {
        key: KvKey,
        answer: Option<KvAnswer>,
    },
    Transaction(Box<dyn Transaction>),
    Close,
}

impl Job {
    /// What it adds to the write-ahead log at least.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Write { value, .. } => value.len(),
            Self::Remove { .. } | Self::Transaction(_) | Self::Close => 0,
        }
    }

    /// Nobody waits for its commit.
    pub(super) fn is_behind(&self) -> bool {
        matches!(self, Self::Write { answer: None, .. } | Self::Remove { answer: None, .. })
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct KvKey {
    primary: String,
    secondary: String,
    key: String,
}

impl KvKey {
    pub(crate) fn new(primary: &str, secondary: &str, key: &str) -> Self {
        Self { primary: primary.to_owned(), secondary: secondary.to_owned(), key: key.to_owned() }
    }

    pub(super) fn write(self, value: Vec<u8>) -> (&'static str, Vec<Value>) {
        let sql =
            "INSERT INTO kv (primary_namespace, secondary_namespace, key, value) VALUES ($1, $2, $3, $4)
             ON CONFLICT (primary_namespace, secondary_namespace, key) DO UPDATE SET value = excluded.value";
        let mut params = self.into_params();
        params.push(value.into());
        (sql, params)
    }

    pub(super) fn remove(self) -> (&'static str, Vec<Value>) {
        let sql = "DELETE FROM kv WHERE primary_namespace = $1 AND secondary_namespace = $2 AND key = $3";
        (sql, self.into_params())
    }

    fn into_params(self) -> Vec<Value> {
        vec![self.primary.into(), self.secondary.into(), self.key.into()]
    }
}

/// An application's transaction, its types forgotten.
pub(crate) trait Transaction: Send {
    fn name(&self) -> &'static str;

    fn run<'a>(self: Box<Self>, tx: &'a mut Tx) -> BoxFuture<'a, (Verdict, Answer)>;
}

/// What becomes of the savepoint.
pub(crate) enum Verdict {
    Keep,
    Undo,
    /// The batch must not be committed, for this reason.
    Fail(String),
}

pub(crate) struct AppTransaction<T, E, F> {
    pub(crate) name: &'static str,
    pub(crate) body: F,
    /// Set if nothing may be committed after it fails: how to tell why.
    pub(crate) required: Option<fn(&E) -> String>,
    pub(crate) answer: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Transaction for AppTransaction<T, E, F>
where
    T: Send + 'static,
    E: From<StorageError> + Send + 'static,
    F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn run<'a>(self: Box<Self>, tx: &'a mut Tx) -> BoxFuture<'a, (Verdict, Answer)> {
        Box::pin(async move {
            let Self { name, body, required, answer } = *self;
            // Unwinding past the writer would take everybody's writes with it. What the body leaves half done is rolled back.
            let outcome = AssertUnwindSafe(async { body(&mut *tx).await }).catch_unwind().await;
            let result = match outcome {
                Ok(Ok(_)) if tx.is_aborted() => Err(StorageError::Aborted.into()),
                Ok(result) => result,
                Err(_) => Err(StorageError::Panicked { name }.into()),
            };
            let verdict = match (&result, required) {
                (Ok(_), _) => Verdict::Keep,
                (Err(_), None) => Verdict::Undo,
                (Err(error), Some(reason)) => Verdict::Fail(reason(error)),
            };
            (verdict, Answer::Transaction(Box::new(Typed { result, answer })))
        })
    }
}

/// An answer that waits for the commit.
pub(crate) enum Answer {
    Kv(KvAnswer),
    Transaction(Box<dyn Deliver>),
}

/// A transaction's answer, its types forgotten.
pub(crate) trait Deliver: Send {
    fn committed(self: Box<Self>);
    fn failed(self: Box<Self>, error: StorageError);
}

struct Typed<T, E> {
    result: Result<T, E>,
    answer: oneshot::Sender<Result<T, E>>,
}

// A caller that does not listen any more is no error.
impl<T: Send, E: From<StorageError> + Send> Deliver for Typed<T, E> {
    fn committed(self: Box<Self>) {
        let _ = self.answer.send(self.result);
    }

    fn failed(self: Box<Self>, error: StorageError) {
        let _ = self.answer.send(Err(error.into()));
    }
}

impl Answer {
    pub(super) fn committed(self) {
        match self {
            Self::Kv(answer) => {
                let _ = answer.send(Ok(()));
            }
            Self::Transaction(answer) => answer.committed(),
        }
    }

    pub(super) fn failed(self, failure: &Failure) {
        let error = StorageError::NotCommitted(failure.clone());
        match self {
            Self::Kv(answer) => {
                let _ = answer.send(Err(error));
            }
            Self::Transaction(answer) => answer.failed(error),
        }
    }
}
