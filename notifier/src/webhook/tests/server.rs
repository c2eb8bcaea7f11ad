//! A webhook receiver that remembers what it was sent.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

type Answer = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

#[derive(Clone)]
struct Shared {
    requests: Arc<Mutex<Vec<Request>>>,
    answer: Answer,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    shared: Shared,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers every POST with what `answer` makes.
    pub(crate) async fn start(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let shared = Shared { requests: Arc::default(), answer: Arc::new(answer) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = Router::new().fallback(receive).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, shared, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/wake/secret", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let request = Request { uri, headers, body };
    let response = (shared.answer)(&request);
    shared.requests.lock().unwrap().push(request);
    response
}
