use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use crate::StorageError;

/// The answer to a write, once it is on disk.
///
/// The write was queued by the call that gave this, and goes on if this is dropped. Wait for it before anything leaves the
/// process that rests on the write.
pub struct Commit<T, E> {
    answer: oneshot::Receiver<Result<T, E>>,
}

impl<T, E> Commit<T, E> {
    pub(crate) fn new(answer: oneshot::Receiver<Result<T, E>>) -> Self {
        Self { answer }
    }
}

impl<T, E: From<StorageError>> Future for Commit<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        Poll::Ready(answer.unwrap_or_else(|_| Err(StorageError::Stopped.into())))
    }
}
