//! An HTTP/2 server over TLS that can misbehave.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use axum::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;
use super::lock;
use crate::failure::Failure;

/// Room for all the bodies that a client may have under way: one without it sends them in pieces, and h2 ends a connection that has
/// many small pieces open at once.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST`
    pub method: String,
    /// `/3/device/...`
    pub path: String,
    /// All of them.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Request {
    /// A header's text; empty if it is missing, or there twice.
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().unwrap_or_default(),
            _ => "",
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// In seconds.
    pub retry_after: Option<u64>,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// With this status and body.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, retry_after: None, body: body.into() }
    }

    /// And with `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

/// What a server does with a request.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// What it should.
    Honest,
    /// It is looked at, and then answered like this.
    Answer(Answer),
    /// As it should, after this time.
    Slow(Duration),
    /// Nothing, for as long as the connection lasts.
    Silent,
    /// Refuses the stream, which says that it was not looked at.
    Refuse,
    /// As it should, and then the connection takes no more requests.
    GoAway,
    /// Ends the connection with an error, this request with it.
    Abort,
    /// Begins an answer, and cuts the line in the middle of it.
    Cut,
}

type Handler = Arc<dyn Fn(Request) -> Answer + Send + Sync>;

#[derive(Default)]
struct Script {
    always: Option<Behaviour>,
    next: VecDeque<Behaviour>,
}

/// The server; it ends when this is dropped.
pub struct Server {
    url: String,
    script: Arc<Mutex<Script>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts one on a free port.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub async fn start(
        authority: &Authority,
        handler: impl Fn(Request) -> Answer + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let failure = |source| Failure::Start { name: "a fake push service".to_owned(), source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failure)?;
        let port = listener.local_addr().map_err(failure)?.port();
        let acceptor = TlsAcceptor::from(authority.server()?);
        let script: Arc<Mutex<Script>> = Arc::default();
        let connections: Arc<AtomicUsize> = Arc::default();
        let connection = Connection {
            acceptor,
            handler: Arc::new(handler),
            script: script.clone(),
            connections: connections.clone(),
        };
        let task = tokio::spawn(async move {
            // Dropped with the task, so that no connection outlives the server.
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(connection.clone().serve(stream));
                while open.try_join_next().is_some() {}
            }
        });
        Ok(Self { url: format!("https://localhost:{port}"), script, connections, task })
    }

    /// `https://localhost:PORT`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it does with every request from now on that has no behaviour of its own.
    pub fn always(&self, behaviour: Behaviour) {
        lock(&self.script).always = Some(behaviour);
    }

    /// What it does with the next request that has none yet.
    pub fn next(&self, behaviour: Behaviour) {
        lock(&self.script).next.push_back(behaviour);
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a request does to its connection.
enum End {
    GoAway,
    Abort,
    Cut,
}

#[derive(Clone)]
struct Connection {
    acceptor: TlsAcceptor,
    handler: Handler,
    script: Arc<Mutex<Script>>,
    connections: Arc<AtomicUsize>,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(stream) = self.acceptor.accept(stream).await else { return };
        let mut settings = h2::server::Builder::new();
        settings.initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let Ok(mut http) = settings.handshake(stream).await else { return };
        self.connections.fetch_add(1, Ordering::Relaxed);
        let (ends, mut end) = mpsc::unbounded_channel();
        // All in this one task: what several streams have to say goes out together.
        let mut streams = FuturesUnordered::new();
        poll_fn(move |context| {
            loop {
                while let Poll::Ready(Some(())) = streams.poll_next_unpin(context) {}
                match end.poll_recv(context) {
                    Poll::Ready(Some(End::GoAway)) => http.graceful_shutdown(),
                    Poll::Ready(Some(End::Abort)) => http.abrupt_shutdown(Reason::INTERNAL_ERROR),
                    Poll::Ready(Some(End::Cut)) => return Poll::Ready(()),
                    Poll::Ready(None) | Poll::Pending => {}
                }
                match http.poll_accept(context) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        streams.push(self.clone().answer(request, respond, ends.clone()));
                    }
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }

    async fn answer(
        self,
        request: axum::http::Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        ends: mpsc::UnboundedSender<End>,
    ) {
        let behaviour = {
            let mut script = lock(&self.script);
            script.next.pop_front().or_else(|| script.always.clone()).unwrap_or(Behaviour::Honest)
        };
        match behaviour {
            Behaviour::Refuse => {
                respond.send_reset(Reason::REFUSED_STREAM);
                return;
            }
            Behaviour::Silent => std::future::pending().await,
            Behaviour::Abort => {
                let _ = ends.send(End::Abort);
                return std::future::pending().await;
            }
            Behaviour::Cut => {
                let head = head(200, None);
                if let Ok(mut body) = respond.send_response(head, false) {
                    let _ = body.send_data(Bytes::from_static(b"{\"na"), false);
                }
                // The connection's task sends it before it looks at what ends it.
                tokio::task::yield_now().await;
                let _ = ends.send(End::Cut);
                return std::future::pending().await;
            }
            Behaviour::Slow(pause) => tokio::time::sleep(pause).await,
            Behaviour::Honest | Behaviour::Answer(_) | Behaviour::GoAway => {}
        }
        let Some(request) = whole(request).await else { return };
        let honest = (self.handler)(request);
        let answer = match &behaviour {
            // What the real one would refuse is refused here too, whatever the test has in mind.
            Behaviour::Answer(answer) if honest.status == 200 => answer.clone(),
            _ => honest,
        };
        if matches!(behaviour, Behaviour::GoAway) {
            let _ = ends.send(End::GoAway);
        }
        let is_all = answer.body.is_empty();
        let body = respond.send_response(head(answer.status, answer.retry_after), is_all);
        if let (Ok(mut body), false) = (body, is_all) {
            let _ = body.send_data(Bytes::from(answer.body), true);
        }
    }
}

fn head(status: u16, retry_after: Option<u64>) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = retry_after {
        head.headers_mut().insert("retry-after", seconds.into());
    }
    head
}

async fn whole(request: axum::http::Request<RecvStream>) -> Option<Request> {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.ok()?;
        let _ = stream.flow_control().release_capacity(chunk.len());
        body.extend_from_slice(&chunk);
    }
    Some(Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body: body.into(),
    })
}
