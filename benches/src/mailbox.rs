//! What it costs to keep a message, to fetch what waits for a phone, and to forget what it has, in a mailbox of a thousand messages
//! and, in turns, in one of a million.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use futures::future::BoxFuture;
use lsp_server::clock::{Clock, SystemClock};
use lsp_server::mailbox::{Mailbox, MailboxNode};
use lsp_server::store::mailbox::{self, Kept, NewMessage};
use lsp_server::tasks::Tasks;
use lsp_server::tokens::TokenKeys;
use lsp_server::wake::Waker;
use node::NodeError;
use protocol::mailbox::{MailboxLimits, Sender, Usage as Bound};
use serde::{Deserialize, Serialize};
use storage::{Commit, Database, StorageError};
use tests::failure::Failure;

use crate::arguments::Arguments;
use crate::outbox::{Sleepers, database, wrong};
use crate::providers::Device;
use crate::pushes::own_folder;
use crate::shim::Shim;
use crate::usage::Usage;
use crate::worker::{self, progress};

/// The small mailbox.
const FEW_MESSAGES: usize = 1_000;
/// Each phone has so many, from one peer.
const MESSAGES_PER_PHONE: usize = 20;
/// An onion message with a packet of the usual size (BOLT 4).
const MESSAGE_BYTES: usize = 1_403;
/// Messages in one transaction while a mailbox is filled.
const FILLED_AT_ONCE: usize = 2_000;
/// Phones that get messages and fetch them, in one turn.
const PHONES_PER_TURN: usize = 50;
/// What each of them gets in one turn.
const NEW_PER_PHONE: usize = 4;
/// Turns of each mailbox in one round.
const TURNS: usize = 10;
/// As the courier asks for.
const HANDED_OVER_MAX: u32 = 50;
const KEPT_SECONDS: u64 = 1_008 * 600;
/// Of each mailbox, when it has been filled: so far ahead it is told.
const TOLD_SHARE: usize = 10;
const KIB: f64 = 1024.0;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    folder: PathBuf,
    rounds: usize,
    messages: usize,
}

/// Both mailboxes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) small: Figures,
    pub(crate) large: Figures,
    /// The large mailbox's divided by the small one's.
    pub(crate) store_ratio: f64,
    pub(crate) fetch_ratio: f64,
    pub(crate) forget_ratio: f64,
    pub(crate) store_bytes_ratio: f64,
    pub(crate) store_cpu_ratio: f64,
    pub(crate) fetch_cpu_ratio: f64,
}

/// Per message, in a transaction of its own among others of the same commit, fsyncs included; `fetch` per phone.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) messages: usize,
    pub(crate) store_us: f64,
    pub(crate) store_cpu_us: f64,
    pub(crate) store_kib: f64,
    pub(crate) fetch_us: f64,
    pub(crate) fetch_cpu_us: f64,
    pub(crate) forget_us: f64,
    /// The look that the server takes every 30 seconds, and nobody has come.
    pub(crate) rescan_ms: f64,
    /// The look through the whole mailbox that a start takes, and everybody is woken already.
    pub(crate) walk_ms: f64,
}

/// Starts the worker.
pub(crate) async fn measure(arguments: &Arguments, folder: &Path, shim: &Shim) -> Result<Report, Failure> {
    let folder = own_folder(folder, "mailbox")?;
    let job = Job { folder: folder.clone(), rounds: arguments.rounds(), messages: arguments.messages() };
    worker::employ("mailbox", &worker::Job::Mailbox(job), &folder, shim).await
}

/// In the worker's process.
pub(crate) async fn work(job: &Job) -> Result<Report, Failure> {
    let mut small = Filled::open(&job.folder, "small", FEW_MESSAGES).await?;
    let mut large = Filled::open(&job.folder, "large", job.messages).await?;
    for round in 1..=job.rounds {
        for _ in 0..TURNS {
            small.turn().await?;
            large.turn().await?;
        }
        progress(format!(
            "round {round}: {:.0} us to store a message among {}, {:.0} us among {}",
            small.sums.figures(0).store_us,
            small.messages,
            large.sums.figures(0).store_us,
            large.messages
        ));
    }
    let (small, large) = (small.finish().await?, large.finish().await?);
    Ok(Report {
        store_ratio: large.store_us / small.store_us,
        fetch_ratio: large.fetch_us / small.fetch_us,
        forget_ratio: large.forget_us / small.forget_us,
        store_bytes_ratio: large.store_kib / small.store_kib,
        store_cpu_ratio: large.store_cpu_us / small.store_cpu_us,
        fetch_cpu_ratio: large.fetch_cpu_us / small.fetch_cpu_us,
        small,
        large,
    })
}

/// A node whose phones all have channels, and sleep.
struct Clients;

fn asleep() -> NodeError {
    NodeError::Refused { action: "reaching a phone", reason: "it sleeps".to_owned() }
}

impl MailboxNode for Clients {
    fn is_connected(&self, _: PublicKey) -> bool {
        false
    }

    fn has_channel(&self, _: PublicKey) -> bool {
        true
    }

    fn is_announced(&self, _: PublicKey) -> bool {
        false
    }

    fn has_announced_address(&self, _: PublicKey) -> bool {
        false
    }

    fn forward_onion(&self, _: &[u8], _: PublicKey) -> Result<(), NodeError> {
        Err(asleep())
    }

    fn connect_announced(&self, _: PublicKey) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(std::future::ready(Err(asleep())))
    }
}

#[derive(Default)]
struct Sums {
    stored: usize,
    store: Duration,
    store_usage: Usage,
    fetches: usize,
    fetch: Duration,
    fetch_usage: Usage,
    forgotten: usize,
    forget: Duration,
}

impl Sums {
    fn figures(&self, messages: usize) -> Figures {
        let us = |time: Duration, count: usize| time.as_secs_f64() * 1e6 / count as f64;
        Figures {
            messages,
            store_us: us(self.store, self.stored),
            store_cpu_us: us(self.store_usage.cpu, self.stored),
            store_kib: self.store_usage.durable.bytes as f64 / KIB / self.stored as f64,
            fetch_us: us(self.fetch, self.fetches),
            fetch_cpu_us: us(self.fetch_usage.cpu, self.fetches),
            forget_us: us(self.forget, self.forgotten),
            ..Figures::default()
        }
    }
}

async fn all_kept(count: usize, kept: Commit<usize, StorageError>) -> Result<(), Failure> {
    match kept.await.map_err(|error| wrong(&error))? {
        kept if kept == count => Ok(()),
        _ => Err(Failure::wrong("the mailbox did not keep a message")),
    }
}

/// One mailbox.
struct Filled {
    database: Database,
    mailbox: Arc<Mailbox>,
    peer: PublicKey,
    phones: Vec<PublicKey>,
    messages: usize,
    /// So many messages were made so far: the next one is another.
    made: usize,
    sums: Sums,
}

fn limits() -> MailboxLimits {
    let total_max = Bound { messages: u64::MAX / 1_000, bytes: u64::MAX / 1_000 };
    MailboxLimits { total_max, ..MailboxLimits::default() }
}

fn mailbox_in(database: &Database) -> Arc<Mailbox> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tokens = Arc::new(TokenKeys::new(&[7; 32], &[]));
    let waker = Waker::new(database.clone(), Arc::new(Sleepers), Vec::new(), tokens, clock.clone());
    Mailbox::new(database.clone(), Arc::new(Clients), waker, limits(), clock, Tasks::default())
}

impl Filled {
    /// A fresh one with so many messages, filled by way of the store.
    async fn open(folder: &Path, name: &str, messages: usize) -> Result<Self, Failure> {
        let database = database(folder, &format!("{name}.sqlite")).await?;
        let mailbox = mailbox_in(&database);
        let phones = (0..messages.div_ceil(MESSAGES_PER_PHONE).max(PHONES_PER_TURN))
            .map(|number| Ok(Device::number(number)?.node_id))
            .collect::<Result<Vec<_>, Failure>>()?;
        let peer = Device::number(usize::MAX)?.node_id;
        let sums = Sums::default();
        let mut filled = Self { database, mailbox, peer, phones, messages, made: 0, sums };
        filled.fill().await?;
        // Opens a wake for everybody for whom something waits.
        filled.mailbox.rescan().await.map_err(|error| wrong(&error))?;
        Ok(filled)
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        let (started, mut told) = (Instant::now(), 0);
        let mut under_way = None;
        while self.made < self.messages {
            let now_unix = SystemClock.now_unix();
            let count = FILLED_AT_ONCE.min(self.messages - self.made);
            let page: Vec<_> = (0..count)
                .map(|_| {
                    // As messages come: next to each other for whoever, not phone by phone.
                    let recipient = self.phones[self.made % self.phones.len()];
                    NewMessage {
                        recipient,
                        previous_hop: Some(self.peer),
                        sender: Sender::Client,
                        message: self.message(),
                        received_at: now_unix,
                        expires_at: now_unix + KEPT_SECONDS,
                    }
                })
                .collect();
            let kept = self.database.submit("fill_mailbox", move |tx| {
                Box::pin(async move {
                    let mut kept = 0;
                    for message in &page {
                        kept += usize::from(mailbox::keep(tx, message, &limits()).await? == Kept::New);
                    }
                    Ok::<_, StorageError>(kept)
                })
            });
            // The next page is made while this one is written.
            if let Some((count, kept)) = under_way.replace((count, kept)) {
                all_kept(count, kept).await?;
            }
            let share = self.made * TOLD_SHARE / self.messages;
            if share > told && self.messages > FEW_MESSAGES {
                told = share;
                let seconds = started.elapsed().as_secs_f64();
                progress(format!("{} messages are kept after {seconds:.1} s", self.made));
            }
        }
        match under_way {
            Some((count, kept)) => all_kept(count, kept).await,
            None => Ok(()),
        }
    }

    /// As random as an encrypted one.
    fn message(&mut self) -> Vec<u8> {
        self.made += 1;
        let mut block = sha256::Hash::hash(&self.made.to_be_bytes()).to_byte_array();
        let mut message = Vec::with_capacity(MESSAGE_BYTES + block.len());
        while message.len() < MESSAGE_BYTES {
            message.extend_from_slice(&block);
            block[0] = block[0].wrapping_add(1);
        }
        message.truncate(MESSAGE_BYTES);
        message
    }

    async fn barrier(&self) -> Result<(), Failure> {
        let passed = self.database.submit("barrier", |_| Box::pin(async { Ok::<_, StorageError>(()) }));
        passed.await.map_err(|error| wrong(&error))
    }

    /// Some phones get messages, fetch what waits for them, and have the new ones. The mailbox is as large as before then.
    async fn turn(&mut self) -> Result<(), Failure> {
        let seed = sha256::Hash::hash(&self.made.to_le_bytes()).to_byte_array();
        let mut first = [0; 8];
        first.copy_from_slice(&seed[..8]);
        let step = (self.phones.len() / PHONES_PER_TURN).max(1);
        let first = usize::from_be_bytes(first) % self.phones.len();
        let phones: Vec<_> =
            (0..PHONES_PER_TURN).map(|nth| self.phones[(first + nth * step) % self.phones.len()]).collect();
        let new: Vec<_> =
            (0..NEW_PER_PHONE).flat_map(|_| phones.clone()).map(|phone| (phone, self.message())).collect();

        let stored = new.len();
        let (before, started) = (Usage::of_this_process(&self.database)?, Instant::now());
        for (phone, message) in new {
            self.mailbox
                .on_intercepted(Some(self.peer), phone, message)
                .map_err(|_| Failure::wrong("the mailbox takes no message"))?;
        }
        self.barrier().await?;
        self.sums.store += started.elapsed();
        self.sums.store_usage =
            self.sums.store_usage.and(Usage::of_this_process(&self.database)?.since(before));
        self.sums.stored += stored;

        let (before, started) = (Usage::of_this_process(&self.database)?, Instant::now());
        let mut fetched = Vec::new();
        for phone in phones {
            let waiting = self
                .database
                .read("mailbox_waiting", move |tx| Box::pin(mailbox::waiting(tx, phone, 0, HANDED_OVER_MAX)));
            fetched.push(waiting.await.map_err(|error: StorageError| wrong(&error))?.messages);
        }
        self.sums.fetch += started.elapsed();
        self.sums.fetch_usage =
            self.sums.fetch_usage.and(Usage::of_this_process(&self.database)?.since(before));
        self.sums.fetches += fetched.len();

        let started = Instant::now();
        let mut forgotten = Vec::new();
        for waiting in fetched {
            let ids: Vec<_> = waiting.iter().rev().take(NEW_PER_PHONE).map(|message| message.id).collect();
            if waiting.len() < NEW_PER_PHONE {
                return Err(Failure::wrong("a message that was kept does not wait"));
            }
            self.sums.forgotten += ids.len();
            forgotten.push(self.database.submit("confirm_delivery", move |tx| {
                Box::pin(async move { mailbox::delivered(tx, &ids).await })
            }));
        }
        for forgotten in forgotten {
            forgotten.await.map_err(|error: StorageError| wrong(&error))?;
        }
        self.sums.forget += started.elapsed();
        Ok(())
    }

    async fn finish(self) -> Result<Figures, Failure> {
        let mut figures = self.sums.figures(self.messages);
        // As after a start; then as every 30 seconds.
        let restarted = mailbox_in(&self.database);
        for took_ms in [&mut figures.walk_ms, &mut figures.rescan_ms] {
            let started = Instant::now();
            restarted.rescan().await.map_err(|error| wrong(&error))?;
            *took_ms = started.elapsed().as_secs_f64() * 1e3;
        }
        self.database.close().await;
        Ok(figures)
    }
}

impl Report {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let line = |figures: &Figures| {
            format!(
                "{:>10}  {:>8.1}  {:>12.1}  {:>9.2}  {:>8.1}  {:>12.1}  {:>9.1}  {:>9.1}  {:>8.1}\n",
                figures.messages,
                figures.store_us,
                figures.store_cpu_us,
                figures.store_kib,
                figures.fetch_us,
                figures.fetch_cpu_us,
                figures.forget_us,
                figures.rescan_ms,
                figures.walk_ms,
            )
        };
        format!(
            "mailboxes, {MESSAGES_PER_PHONE} messages of {MESSAGE_BYTES} bytes for each phone\n\n\
             {:>10}  store us  store CPU us  store KiB  fetch us  fetch CPU us  forget us  rescan ms   walk ms\n{}{}\
             large / small: store {:.2} (CPU {:.2}, bytes {:.2}), fetch {:.2} (CPU {:.2}), forget {:.2}\n",
            "messages",
            line(&self.small),
            line(&self.large),
            self.store_ratio,
            self.store_cpu_ratio,
            self.store_bytes_ratio,
            self.fetch_ratio,
            self.fetch_cpu_ratio,
            self.forget_ratio,
        )
    }
}
