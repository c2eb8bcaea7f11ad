//! A network between us and the server, which is cut where the test says.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use storage::DatabaseUrl;
use storage::testing::Scratch;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// The server never hears of it.
    BeforeCommit = 1,
    /// The server has made it, and its answer is lost.
    AfterCommit = 2,
}

pub(super) struct Cutter {
    port: u16,
    text: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// `HOST:PORT`
    server: Mutex<String>,
    cuts: Notify,
    armed: AtomicU8,
    refuses: AtomicBool,
}

impl Cutter {
    pub(super) async fn start(scratch: &Scratch) -> Self {
        let text = scratch.url_text().to_owned();
        let (_, behind) = text.split_once('@').unwrap();
        let server = behind.split_once('/').unwrap().0.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { server: Mutex::new(server), ..State::default() });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = shared.clone();
                let server = state.server.lock().unwrap().clone();
                tokio::spawn(async move {
                    if !state.refuses.load(Ordering::SeqCst) {
                        pass(client, TcpStream::connect(server).await.unwrap(), &state).await;
                    }
                });
            }
        });
        Self { port, text, state }
    }

    pub(super) fn url(&self) -> DatabaseUrl {
        let (user, behind) = self.text.split_once('@').unwrap();
        let (_, database) = behind.split_once('/').unwrap();
        format!("{user}@127.0.0.1:{}/{database}", self.port).parse().unwrap()
    }

    pub(super) fn arm(&self, cut: Cut) {
        self.state.armed.store(cut as u8, Ordering::SeqCst);
    }

    pub(super) fn has_cut(&self) -> bool {
        self.state.armed.load(Ordering::SeqCst) == 0
    }

    /// Every connection ends, and later ones go to another server.
    pub(super) fn redirect(&self, server: &str) {
        server.clone_into(&mut self.state.server.lock().unwrap());
        self.state.cuts.notify_waiters();
    }

    /// Nothing gets through, and what was connected is not any more as soon as somebody says something.
    pub(super) fn refuse(&self, refuses: bool) {
        self.state.refuses.store(refuses, Ordering::SeqCst);
    }
}

fn has(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// Until either side ends, or the cut.
async fn pass(mut client: TcpStream, mut server: TcpStream, state: &State) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut is_committing = false;
    loop {
        tokio::select! {
            () = state.cuts.notified() => return,
            read = client.read(&mut asked) => {
                let Ok(bytes @ 1..) = read else { return };
                if state.refuses.load(Ordering::SeqCst) {
                    return;
                }
                is_committing = has(&asked[..bytes], b"; COMMIT\0");
                if is_committing && take(state, Cut::BeforeCommit) {
                    return;
                }
                server.write_all(&asked[..bytes]).await.unwrap();
            }
            read = server.read(&mut answered) => {
                let Ok(bytes @ 1..) = read else { return };
                if is_committing && has(&answered[..bytes], b"COMMIT\0") && take(state, Cut::AfterCommit) {
                    return;
                }
                if client.write_all(&answered[..bytes]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn take(state: &State, cut: Cut) -> bool {
    state.armed.compare_exchange(cut as u8, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}
