use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::get;
use futures::future::join_all;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;

#[tokio::test]
async fn so_many_requests_of_the_operator_are_under_way_and_the_next_hears_so() {
    let (arrived, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let (coming, gate) = (arrived.clone(), go_on.clone());
    let wait = async move || {
        coming.add_permits(1);
        gate.notified().await;
        Body::empty()
    };
    let places = Arc::new(Semaphore::new(REQUESTS_MAX));
    let app = Router::new()
        .route("/wait", get(wait))
        .route("/", get(async || "hello"))
        .layer(from_fn_with_state(places, bounded));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let _tls = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let status = async |path: &str| client.get(format!("{base}{path}")).send().await.unwrap().status();
    let begin = |count: u32| {
        let requests = (0..count).map(|_| client.get(format!("{base}/wait")).send());
        tokio::spawn(join_all(requests.collect::<Vec<_>>()))
    };

    let below = u32::try_from(REQUESTS_MAX).unwrap() - 1;
    let first = begin(below);
    arrived.acquire_many(below).await.unwrap().forget();
    assert_eq!(status("/").await, StatusCode::OK, "the last place");
    let last = begin(1);
    arrived.acquire().await.unwrap().forget();
    assert_eq!(status("/").await, StatusCode::SERVICE_UNAVAILABLE, "one more than there may be");
    go_on.notify_waiters();
    for answers in [first, last] {
        for answer in answers.await.unwrap() {
            assert_eq!(answer.unwrap().status(), StatusCode::OK, "none that was accepted is lost");
        }
    }
    assert_eq!(status("/").await, StatusCode::OK);
    task.abort();
}
