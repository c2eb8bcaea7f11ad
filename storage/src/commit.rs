use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use crate::StorageError;

/// The answer to a write, once it is on disk.
///
/// The write was queued by the call that gave this (unless it was refused there), and goes on if this is dropped. Wait for it before anything leaves the
/// process that rests on the write.
pub struct Commit<T, E> {
    answer: Answer<T, E>,
}

enum Answer<T, E> {
    Coming(oneshot::Receiver<Result<T, E>>),
    /// Nothing was queued.
    Refused(Option<E>),
}

// The error is moved, never pinned.
impl<T, E> Unpin for Commit<T, E> {}

impl<T, E> Commit<T, E> {
    pub(crate) fn new(answer: oneshot::Receiver<Result<T, E>>) -> Self {
        Self { answer: Answer::Coming(answer) }
    }

    pub(crate) fn refused(error: E) -> Self {
        Self { answer: Answer::Refused(Some(error)) }
    }
}

impl<T, E: From<StorageError>> Future for Commit<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.answer {
            Answer::Coming(answer) => {
                let answer = ready!(Pin::new(answer).poll(context));
                Poll::Ready(answer.unwrap_or_else(|_| Err(StorageError::Stopped.into())))
            }
            Answer::Refused(error) => {
                Poll::Ready(Err(error.take().unwrap_or_else(|| StorageError::Stopped.into())))
            }
        }
    }
}
