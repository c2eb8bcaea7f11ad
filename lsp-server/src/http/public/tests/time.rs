//! How long a request may take, by a clock that stands still.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;

/// A clock that the test moves, sleepers included.
#[derive(Default)]
pub(super) struct HandClock(Mutex<Hand>);

#[derive(Default)]
struct Hand {
    elapsed: Duration,
    sleepers: Vec<(Duration, oneshot::Sender<()>)>,
}

impl HandClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Waits until so many sleep whom nobody has given up.
    pub(super) async fn slept(&self, sleepers: usize) {
        loop {
            {
                let mut hand = self.0.lock().unwrap();
                hand.sleepers.retain(|(_, sleeper)| !sleeper.is_closed());
                if hand.sleepers.len() >= sleepers {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn advance(&self, by: Duration) {
        let mut hand = self.0.lock().unwrap();
        hand.elapsed += by;
        let now = hand.elapsed;
        let (over, still) =
            std::mem::take(&mut hand.sleepers).into_iter().partition(|(until, _)| *until <= now);
        hand.sleepers = still;
        let over: Vec<(Duration, oneshot::Sender<()>)> = over;
        for (_, sleeper) in over {
            // It may have given up since.
            let _ = sleeper.send(());
        }
    }
}

impl Clock for HandClock {
    fn now_unix(&self) -> u64 {
        START + self.elapsed().as_secs()
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().elapsed
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (sleeper, woken) = oneshot::channel();
        let mut hand = self.0.lock().unwrap();
        let until = hand.elapsed + duration;
        hand.sleepers.push((until, sleeper));
        Box::pin(async move { drop(woken.await) })
    }
}

#[tokio::test]
async fn a_request_is_done_within_its_time_or_not_at_all() {
    let db = TestDatabase::new().await;
    let (node, clock, hand) = (FakeNode::new(), TestClock::new(), HandClock::new());
    let waker = Waker::new(db.database.clone(), node.clone(), Vec::new(), token_keys(), clock.clone());
    let notifications = notifications(&db, &waker, &clock);
    let limits = DeviceLimits::default();
    let state = PublicState::new(db.database.clone(), node, waker, notifications, limits, 8, hand.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { axum::serve(listener, router(state)).await.unwrap() });

    let body = serde_json::to_string(&ChallengeRequest { node_id: public(PHONE) }).unwrap();
    let just_below = REQUEST_TIMEOUT - Duration::from_millis(1);
    for (waited, is_completed, status) in
        [(just_below, true, "200"), (REQUEST_TIMEOUT, false, "408"), (REQUEST_TIMEOUT * 2, false, "408")]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (first, rest) = body.split_at(10);
        let head = format!(
            "POST /v1/challenge HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{first}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        hand.slept(1).await;
        hand.advance(waited);
        if is_completed {
            stream.write_all(rest.as_bytes()).await.unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{waited:?}: {answer}");
    }
    task.abort();
}
