//! A TCP listener for the open internet: so many connections at once, none idle for long, none for ever.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use crate::limits::{self, ServerLimit};

/// The bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once. Further ones wait in the system's queue.
    pub connections_max: usize,
    /// How long nothing may be read or written.
    pub idle_max: Duration,
    /// How long a connection may live, however busy: one that sends a byte now and then is never idle.
    pub lifetime_max: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            idle_max: Duration::from_secs(30),
            lifetime_max: Duration::from_secs(300),
        }
    }
}

/// The listener.
pub struct BoundedListener {
    tcp: TcpListener,
    limits: ConnectionLimits,
    places: Arc<Semaphore>,
}

impl BoundedListener {
    /// Bounds `tcp`.
    pub fn new(tcp: TcpListener, limits: ConnectionLimits) -> Self {
        Self { tcp, limits, places: Arc::new(Semaphore::new(limits.connections_max)) }
    }
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) => {
                limits::refused(ServerLimit::HttpConnections, None);
                // The semaphore is never closed.
                self.places.clone().acquire_owned().await.ok()
            }
        };
        let (stream, address) = Listener::accept(&mut self.tcp).await;
        let stream = BoundedStream {
            stream,
            idle_max: self.limits.idle_max,
            idle: Box::pin(sleep(self.limits.idle_max)),
            lifetime: Box::pin(sleep(self.limits.lifetime_max)),
            _place: place,
        };
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// One connection of a [`BoundedListener`].
pub struct BoundedStream {
    stream: TcpStream,
    idle_max: Duration,
    idle: Pin<Box<Sleep>>,
    lifetime: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl BoundedStream {
    /// Passes on what the stream says, unless its time is over.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.lifetime.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        let outcome = poll(Pin::new(&mut self.stream), cx);
        if outcome.is_ready() {
            self.idle.as_mut().reset(Instant::now() + self.idle_max);
        } else if self.idle.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        outcome
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().bounded(cx, |stream, cx| stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().bounded(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().bounded(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    async fn serve(limits: ConnectionLimits) -> SocketAddr {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let app = Router::new().route("/", get(async || "hello"));
        tokio::spawn(async move { axum::serve(BoundedListener::new(tcp, limits), app).await });
        address
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        while !text.ends_with("hello") {
            let mut buffer = [0; 1_024];
            let read = stream.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "the server hung up after {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn so_many_connections_are_served_at_once_and_the_next_when_one_leaves() {
        let address = serve(ConnectionLimits { connections_max: 2, ..ConnectionLimits::default() }).await;
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(TcpStream::connect(address).await.unwrap());
        }
        for stream in &mut streams {
            stream.write_all(REQUEST).await.unwrap();
        }
        let [first, second, third] = &mut streams[..] else { unreachable!("there are three") };
        for stream in [&mut *first, second] {
            assert!(answer(stream).await.starts_with("HTTP/1.1 200"), "below the bound, and at it");
        }
        // Both stay, and are served again before anything is read of the third.
        first.write_all(REQUEST).await.unwrap();
        answer(first).await;
        let error = third.try_read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "above it, nobody is served");
        drop(streams.remove(0));
        assert!(answer(&mut streams[1]).await.starts_with("HTTP/1.1 200"), "it only waited");
    }

    #[tokio::test]
    async fn whoever_says_nothing_loses_its_place_to_the_next() {
        let limits = ConnectionLimits {
            connections_max: 1,
            idle_max: Duration::from_millis(50),
            ..ConnectionLimits::default()
        };
        let address = serve(limits).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(REQUEST).await.unwrap();
        assert!(answer(&mut next).await.starts_with("HTTP/1.1 200"));
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0, "the silent one was put out");
    }

    #[tokio::test]
    async fn no_connection_lives_for_ever() {
        let limits =
            ConnectionLimits { lifetime_max: Duration::from_millis(50), ..ConnectionLimits::default() };
        let address = serve(limits).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Never idle, never done: a header that goes on and on.
        while stream.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
