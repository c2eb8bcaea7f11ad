//! Webhooks that mean harm.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures::stream;
use tokio::net::TcpListener;

use super::server::Server;
use super::*;

/// Answers every look-up with the same addresses.
struct Fixed {
    addresses: Vec<SocketAddr>,
    asked: AtomicUsize,
}

impl Fixed {
    fn new(addresses: &[&str]) -> Arc<Self> {
        let addresses =
            addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect();
        Arc::new(Self { addresses, asked: AtomicUsize::new(0) })
    }
}

impl Lookup for Fixed {
    fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        futures::future::ready(Ok(self.addresses.clone())).boxed()
    }
}

/// DNS rebinding: the URL is blameless and its name leads home.
#[tokio::test]
async fn a_public_name_with_local_addresses_is_not_connected_to() {
    install_tls_provider();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let lookup = Fixed::new(&["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254"]);
    let gateway = gateway_with_lookup(&UrlClientConfig::default(), lookup.clone());
    let target = target(format!("https://rebind.attacker.com:{port}/"));

    gateway.check(&target).unwrap();
    let verdict = gateway.push(&target, &push()).await;

    assert_eq!(verdict, Verdict::RetryAfter(None, "the host name resolves to no public address".into()));
    assert_eq!(lookup.asked.load(Ordering::Relaxed), 1);
    assert!(listener.accept().now_or_never().is_none(), "nothing knocked");
}

/// The same look-up with the filter off arrives: it is the filter that stops the one above.
#[tokio::test]
async fn the_resolver_is_asked_for_names() {
    install_tls_provider();
    let server = Server::start(|_| StatusCode::OK.into_response()).await;
    let lookup = Fixed::new(&["127.0.0.1"]);
    let gateway = gateway_with_lookup(&development(), lookup.clone());

    let url = format!("http://phone.wallet.com:{}/", server.port);
    assert_eq!(gateway.push(&target(url), &push()).await, Verdict::Accepted);
    assert_eq!(lookup.asked.load(Ordering::Relaxed), 1);
    assert_eq!(server.requests()[0].headers["host"], format!("phone.wallet.com:{}", server.port).as_str());
}

#[tokio::test]
async fn of_mixed_addresses_only_the_public_ones_are_left() {
    let lookup = Fixed::new(&["127.0.0.1", "1.1.1.1", "fe80::1"]);
    let resolver = FilteringResolver::new(AddressPolicy::PublicOnly, lookup);
    let name = "a.com".parse().unwrap();
    let left: Vec<_> = reqwest::dns::Resolve::resolve(&resolver, name).await.unwrap().collect();
    assert_eq!(left, ["1.1.1.1:0".parse().unwrap()]);
}

#[tokio::test]
async fn the_system_resolver_is_filtered_too() {
    let resolver = FilteringResolver::new(AddressPolicy::PublicOnly, Arc::new(SystemLookup::new(1)));
    let name = "localhost".parse().unwrap();
    let error = reqwest::dns::Resolve::resolve(&resolver, name).await.err().unwrap();
    assert!(error.is::<NoUsableAddress>(), "{error:?}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let inner = Server::start(|_| StatusCode::OK.into_response()).await;
    let location = inner.url();
    let outer = Server::start(move |_| {
        (StatusCode::TEMPORARY_REDIRECT, [("location", location.clone())]).into_response()
    })
    .await;
    let verdict = gateway(&development()).push(&target(outer.url()), &push()).await;
    assert_eq!(verdict, Verdict::BadPayload("HTTP 307".into()));
    assert!(inner.requests().is_empty());
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let server = Server::start(move |_| {
        let counter = Arc::clone(&counter);
        let chunks = stream::repeat_with(move || {
            counter.fetch_add(1024, Ordering::Relaxed);
            Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 1024]))
        });
        Body::from_stream(chunks).into_response()
    })
    .await;
    // The bound on time alone would end this only after an hour.
    let config = UrlClientConfig { timeout: Duration::from_secs(3600), ..development() };
    assert_eq!(gateway(&config).push(&target(server.url()), &push()).await, Verdict::Accepted);
    // What the sockets' buffers took was sent, but the stream has come to its end.
    while Arc::strong_count(&sent) > 2 {
        tokio::task::yield_now().await;
    }
    assert!(sent.load(Ordering::Relaxed) > config.response_bytes_max);
}

#[tokio::test]
async fn a_host_that_never_answers_takes_only_its_own_slots() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start(|_| StatusCode::OK.into_response()).await;
    let config = UrlClientConfig { in_flight_per_host_max: 1, ..development() };
    let gateway = gateway(&config);
    let slow = target(format!("http://127.0.0.1:{}/", silent.local_addr().unwrap().port()));
    let other = target(format!("http://localhost:{}/", server.port));
    let push = push();

    let mut first = gateway.push(&slow, &push);
    assert!(futures::poll!(&mut first).is_pending());
    let second = gateway.push(&slow, &push).await;
    assert!(matches!(second, Verdict::RetryAfter(Some(HOST_BUSY_RETRY), _)), "{second}");
    assert_eq!(gateway.push(&other, &push).await, Verdict::Accepted);

    drop(first);
    assert!(futures::poll!(gateway.push(&slow, &push)).is_pending(), "the slot came back");
}

#[tokio::test]
async fn a_host_that_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = UrlClientConfig { timeout: Duration::from_millis(100), ..development() };
    let slow = target(format!("http://127.0.0.1:{}/", silent.local_addr().unwrap().port()));
    assert_eq!(gateway(&config).push(&slow, &push()).await, Verdict::RetryAfter(None, "timed out".into()));
}

/// The environment can only be set for another process: this test runs itself in one.
#[tokio::test]
async fn a_proxy_in_the_environment_is_not_used() {
    const URL: &str = "NOTIFIER_TEST_URL";
    if let Ok(url) = std::env::var(URL) {
        assert_eq!(gateway(&development()).push(&target(url), &push()).await, Verdict::Accepted);
        return;
    }
    let server = Server::start(|_| StatusCode::OK.into_response()).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy_url = format!("http://{}", proxy.local_addr().unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "webhook::tests::hostile::a_proxy_in_the_environment_is_not_used"])
        .env(URL, server.url())
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        child.env(name, &proxy_url);
    }
    let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(server.requests().len(), 1);
    assert!(proxy.accept().now_or_never().is_none(), "the proxy was not asked");
}
