//! A phone: it receives pushes, and starts the wallet as the phone's system would.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::fakes::{Taken, system_clock};
use crate::process::Process;
use crate::wait::{Seen, wait_until};
use crate::wallet::{Line, Run, Wallet};

pub mod webhook;

/// A push as it came in.
#[derive(Clone, Debug)]
pub struct Push {
    /// When.
    pub at: Instant,
    /// What it said.
    pub body: PushBody,
    /// As the app gets it: its length must not depend on what it says.
    pub raw: String,
    /// It came to the phone's webhook.
    pub by_webhook: bool,
}

impl Push {
    /// Reads what the app gets. Of a sealed push only the wallet can tell more than that it is one.
    pub(crate) fn read(at: Instant, raw: String, by_webhook: bool) -> Option<Self> {
        let sealed = || PushBody { reason: SEALED.to_owned(), id: String::new(), expires_at: 0 };
        let value: Value = serde_json::from_str(&raw).ok()?;
        let body = match value.get("sealed") {
            Some(_) => sealed(),
            None => serde_json::from_value(value).ok()?,
        };
        Some(Self { at, body, raw, by_webhook })
    }
}

/// The reason of a push that only the wallet can read.
pub const SEALED: &str = "sealed";

/// What a push says; `padding` aside.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct PushBody {
    /// Why, as [`protocol::wake::WakeReason`]'s code.
    pub reason: String,
    /// The wake's opaque id.
    pub id: String,
    /// Seconds since 1970.
    pub expires_at: u64,
}

/// What happened on a phone, for a story that is told as it happens.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A push came.
    Pushed(Push),
    /// The system started the wallet, for the pushes that came since the last start.
    Woken,
    /// The woken wallet said something.
    Said(Line),
    /// The woken wallet ended.
    Slept(Run),
}

type Witness = Box<dyn Fn(&Happening) + Send + Sync>;

/// One phone. Its wallet runs only while a command does, or because a push came.
pub struct Phone {
    shared: Arc<Shared>,
    url: String,
    port: u16,
    tasks: Vec<JoinHandle<()>>,
}

pub(crate) struct Shared {
    wallet: Wallet,
    /// Held while the wallet's process runs: there is never a second one.
    process: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    changed: Notify,
    witness: Mutex<Option<Witness>>,
}

#[derive(Debug, Default)]
struct State {
    out_of_coverage: bool,
    /// A push came since the wallet was last started.
    rung: bool,
    pushes: Vec<Push>,
    /// Those that came when their time was over.
    late: Vec<String>,
    wakes: Vec<Run>,
    /// What went wrong while nobody was looking.
    failure: Option<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, happening: &Happening) {
        if let Some(witness) = &*self.witness.lock().unwrap_or_else(PoisonError::into_inner) {
            witness(happening);
        }
    }

    pub(crate) fn pushed(&self, push: Push) {
        self.tell(&Happening::Pushed(push.clone()));
        let now = system_clock()();
        let mut state = self.state();
        // Of a sealed one only the wallet knows.
        if push.body.reason != SEALED && push.body.expires_at <= now {
            state.late.push(format!("the push {:?} came at {now}", push.body));
        }
        state.pushes.push(push);
        state.rung = true;
        drop(state);
        self.changed.notify_one();
    }

    /// Starts the wallet whenever a push came and there is coverage.
    async fn serve(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            loop {
                let turn = self.process.lock().await;
                let body = {
                    let mut state = self.state();
                    if !state.rung || state.out_of_coverage {
                        break;
                    }
                    state.rung = false;
                    state.pushes.last().map(|push| push.raw.clone()).unwrap_or_default()
                };
                self.tell(&Happening::Woken);
                let outcome = self
                    .wallet
                    .follow(&["wake", "--push", &body], |line| self.tell(&Happening::Said(line.clone())))
                    .await;
                drop(turn);
                match outcome {
                    Ok(run) => {
                        self.tell(&Happening::Slept(run.clone()));
                        let mut state = self.state();
                        if !run.success && !run.died {
                            state.failure = Some("`wallet wake` ended with a failure".to_owned());
                        }
                        state.wakes.push(run);
                    }
                    Err(error) => self.state().failure = Some(xtask::with_causes(&error)),
                }
            }
        }
    }
}

impl Phone {
    /// A phone with this wallet, listening for pushes on a free port.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub async fn new(wallet: Wallet) -> Result<Self, Failure> {
        Self::listening_on(wallet, 0).await
    }

    /// As [`Phone::new`], on the port that was a phone's before.
    ///
    /// # Errors
    ///
    /// When it cannot listen there.
    pub async fn listening_on(wallet: Wallet, port: u16) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            wallet,
            process: tokio::sync::Mutex::new(()),
            state: Mutex::default(),
            changed: Notify::new(),
            witness: Mutex::new(None),
        });
        let pushed = Arc::clone(&shared);
        let (url, port, server) = webhook::serve(port, move |push| pushed.pushed(push)).await?;
        let system = tokio::spawn(Arc::clone(&shared).serve());
        Ok(Self { shared, url, port, tasks: vec![server, system] })
    }

    /// Tells `witness` everything that happens from now on.
    pub fn witness(&self, witness: impl Fn(&Happening) + Send + Sync + 'static) {
        *self.shared.witness.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(witness));
    }

    /// Where pushes go.
    pub fn webhook_url(&self) -> &str {
        &self.url
    }

    /// What a push service calls for every push that it took for this phone.
    pub fn receiver(&self) -> impl Fn(&Taken) + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move |taken| match Push::read(taken.at, taken.push.clone(), false) {
            Some(push) => shared.pushed(push),
            None => shared.state().failure = Some(format!("no app could read the push {:?}", taken.push)),
        }
    }

    /// The pushes that came when their time was over, as far as they can be read.
    pub fn late_pushes(&self) -> Vec<String> {
        self.shared.state().late.clone()
    }

    /// How many pushes came to its webhook.
    pub fn webhook_pushes(&self) -> usize {
        self.shared.state().pushes.iter().filter(|push| push.by_webhook).count()
    }

    /// The port that it listens on for pushes.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its wallet, for what needs no process.
    pub fn wallet(&self) -> &Wallet {
        &self.shared.wallet
    }

    /// No coverage: pushes are received (by the push service, in truth) and remembered, the wallet is not started.
    pub fn leave_coverage(&self) {
        self.shared.state().out_of_coverage = true;
    }

    /// Coverage is back: the wallet starts if a push came meanwhile.
    pub fn enter_coverage(&self) {
        self.shared.state().out_of_coverage = false;
        self.shared.changed.notify_one();
    }

    /// Whether a push reaches it, and its wallet the LSP.
    pub fn has_coverage(&self) -> bool {
        !self.shared.state().out_of_coverage
    }

    /// What went wrong when a push started the wallet, if that did not go well.
    pub fn failure(&self) -> Option<String> {
        self.shared.state().failure.clone()
    }

    /// Whether its wallet's process runs now.
    pub fn is_busy(&self) -> bool {
        self.shared.process.try_lock().is_err()
    }

    /// Every push so far.
    pub fn pushes(&self) -> Vec<Push> {
        self.shared.state().pushes.clone()
    }

    /// Every time that a push started the wallet, once it had ended.
    pub fn wakes(&self) -> Vec<Run> {
        self.shared.state().wakes.clone()
    }

    /// The user runs a command that prints one JSON value.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn ask(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let _turn = self.shared.process.lock().await;
        self.shared.wallet.ask(arguments).await
    }

    /// The user runs a command, and watches the lines that it prints.
    ///
    /// # Errors
    ///
    /// When it cannot be run. A failure of the command is none: it is in the answer.
    pub async fn follow(&self, arguments: &[&str], seen: impl FnMut(&Line)) -> Result<Run, Failure> {
        let _turn = self.shared.process.lock().await;
        self.shared.wallet.follow(arguments, seen).await
    }

    /// Does something to its wallet while no process of it runs.
    ///
    /// # Errors
    ///
    /// What `body` gives.
    pub async fn while_off<T>(
        &self,
        body: impl AsyncFnOnce(&Wallet) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _turn = self.shared.process.lock().await;
        body(&self.shared.wallet).await
    }

    /// The user opens the app and keeps it open until [`OpenApp::close`].
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn open_app(&self) -> Result<OpenApp<'_>, Failure> {
        let turn = self.shared.process.lock().await;
        let process = self.shared.wallet.start(&["run"])?;
        Ok(OpenApp { process, _turn: turn })
    }

    /// Waits for the push number `count` (the first is 1) since it was made, and returns it.
    ///
    /// # Errors
    ///
    /// When it does not come.
    pub async fn wait_for_push(&self, count: usize, timeout: Duration) -> Result<Push, Failure> {
        wait_until(&format!("push {count} on {}'s phone", self.shared.wallet.name()), timeout, async || {
            let pushes = self.pushes();
            Ok(match count.checked_sub(1).and_then(|index| pushes.get(index)) {
                Some(push) => Seen::Done(push.clone()),
                None => Seen::NotYet(format!("{} pushes", pushes.len())),
            })
        })
        .await
    }

    /// Waits until a wallet that a push started has reported `step`, and has ended.
    ///
    /// # Errors
    ///
    /// When none does in time, or one fails.
    pub async fn wait_for_step(&self, step: &str, timeout: Duration) -> Result<Run, Failure> {
        self.wait_for_step_since(0, step, timeout).await
    }

    /// As [`Phone::wait_for_step`], without the first `wakes` times that a push started the wallet.
    ///
    /// # Errors
    ///
    /// When none does in time, or one fails.
    pub async fn wait_for_step_since(
        &self,
        wakes: usize,
        step: &str,
        timeout: Duration,
    ) -> Result<Run, Failure> {
        let what = format!("{}'s woken wallet to report {step}", self.shared.wallet.name());
        wait_until(&what, timeout, async || {
            let state = self.shared.state();
            if let Some(failure) = &state.failure {
                return Err(Failure::wrong(format!("{}: {failure}", self.shared.wallet.name())));
            }
            let new = state.wakes.get(wakes..).unwrap_or_default();
            if let Some(run) = new.iter().find(|run| run.step(step).is_some()) {
                return Ok(Seen::Done(run.clone()));
            }
            let said: Vec<&str> = new.iter().flat_map(|run| &run.lines).map(Line::step).collect();
            Ok(Seen::NotYet(format!("{} pushes, {} wakes, steps {said:?}", state.pushes.len(), new.len())))
        })
        .await
    }

    /// Stops receiving pushes.
    pub async fn switch_off(&mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// An app in the foreground.
pub struct OpenApp<'a> {
    process: Process,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl OpenApp<'_> {
    /// The user closes the app.
    ///
    /// # Errors
    ///
    /// When it does not end well.
    pub async fn close(self) -> Result<(), Failure> {
        self.process.terminate(Duration::from_secs(60)).await
    }
}
