//! One mailbox, and what phones do with it.

use std::path::Path;
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
use storage::{Commit, Database, StorageError};
use tests::failure::Failure;

use super::{FEW_MESSAGES, Figures, MESSAGE_BYTES, MESSAGES_PER_PHONE};
use crate::outbox::{Sleepers, database, wrong};
use crate::providers::Device;
use crate::usage::Usage;
use crate::worker::progress;

/// Messages in one transaction while a mailbox is filled.
const FILLED_AT_ONCE: usize = 2_000;
/// Phones that get messages and fetch them, in one turn.
const PHONES_PER_TURN: usize = 50;
/// What each of them gets in one turn, together with the others.
const AT_ONCE_PER_PHONE: usize = 4;
/// And with one that comes alone.
const NEW_PER_PHONE: usize = AT_ONCE_PER_PHONE + 1;
/// As the courier asks for.
const HANDED_OVER_MAX: u32 = 50;
const KEPT_SECONDS: u64 = 1_008 * 600;
/// Of each mailbox, when it has been filled: so far ahead it is told.
const TOLD_SHARE: usize = 10;
const KIB: f64 = 1024.0;

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
    alone: Part,
    at_once: Part,
    fetch: Part,
    forget: Part,
}

/// What something has taken so far.
#[derive(Default)]
struct Part {
    count: usize,
    time: Duration,
    usage: Usage,
}

impl Part {
    async fn add<T>(
        &mut self,
        count: usize,
        database: &Database,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let (before, started) = (Usage::of_this_process(database)?, Instant::now());
        let done = work.await?;
        self.time += started.elapsed();
        self.usage = self.usage.and(Usage::of_this_process(database)?.since(before));
        self.count += count;
        Ok(done)
    }

    fn us(&self) -> f64 {
        self.time.as_secs_f64() * 1e6 / self.count as f64
    }

    fn cpu_us(&self) -> f64 {
        self.usage.cpu.as_secs_f64() * 1e6 / self.count as f64
    }
}

async fn all_kept(count: usize, kept: Commit<usize, StorageError>) -> Result<(), Failure> {
    match kept.await.map_err(|error| wrong(&error))? {
        kept if kept == count => Ok(()),
        _ => Err(Failure::wrong("the mailbox did not keep a message")),
    }
}

/// One mailbox.
pub(super) struct Filled {
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
    pub(super) async fn open(folder: &Path, name: &str, messages: usize) -> Result<Self, Failure> {
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

    /// What was queued before is on disk.
    async fn barrier(database: &Database) -> Result<(), Failure> {
        let passed = database.submit("barrier", |_| Box::pin(async { Ok::<_, StorageError>(()) }));
        passed.await.map_err(|error| wrong(&error))
    }

    /// Some phones get messages, many at once and then one after the other; each fetches what waits for it, and has the new ones. The
    /// mailbox is as large as before then.
    pub(super) async fn turn(&mut self) -> Result<(), Failure> {
        let seed = sha256::Hash::hash(&self.made.to_le_bytes()).to_byte_array();
        let mut first = [0; 8];
        first.copy_from_slice(&seed[..8]);
        let step = (self.phones.len() / PHONES_PER_TURN).max(1);
        let first = usize::from_be_bytes(first) % self.phones.len();
        let phones: Vec<_> =
            (0..PHONES_PER_TURN).map(|nth| self.phones[(first + nth * step) % self.phones.len()]).collect();
        let new: Vec<_> =
            (0..NEW_PER_PHONE).flat_map(|_| phones.clone()).map(|phone| (phone, self.message())).collect();

        let Self { database, mailbox, peer, sums, .. } = self;
        let take = |(phone, message)| {
            mailbox
                .on_intercepted(Some(*peer), phone, message)
                .map_err(|_| Failure::wrong("the mailbox takes no message"))
        };
        let mut new = new.into_iter();
        let at_once: Vec<_> = new.by_ref().take(AT_ONCE_PER_PHONE * PHONES_PER_TURN).collect();
        let store_at_once = async {
            at_once.into_iter().try_for_each(take)?;
            Self::barrier(database).await
        };
        sums.at_once.add(AT_ONCE_PER_PHONE * PHONES_PER_TURN, database, store_at_once).await?;
        for message in new {
            let store_alone = async {
                take(message)?;
                Self::barrier(database).await
            };
            sums.alone.add(1, database, store_alone).await?;
        }

        for phone in phones {
            let fetch = async {
                let waiting = database.read("mailbox_waiting", move |tx| {
                    Box::pin(mailbox::waiting(tx, phone, 0, HANDED_OVER_MAX))
                });
                waiting.await.map_err(|error: StorageError| wrong(&error))
            };
            let waiting = sums.fetch.add(1, database, fetch).await?.messages;
            let ids: Vec<_> = waiting.iter().rev().take(NEW_PER_PHONE).map(|message| message.id).collect();
            if ids.len() < NEW_PER_PHONE {
                return Err(Failure::wrong("a message that was kept does not wait"));
            }
            let forget = async {
                let forgotten = database.submit("confirm_delivery", move |tx| {
                    Box::pin(async move {
                        mailbox::delivered(tx, &ids).await?;
                        mailbox::last_expiry(tx, phone).await.map(drop)
                    })
                });
                forgotten.await.map_err(|error: StorageError| wrong(&error))
            };
            sums.forget.add(1, database, forget).await?;
        }
        Ok(())
    }

    /// So far.
    pub(super) fn figures(&self) -> Figures {
        let Sums { alone, at_once, fetch, forget } = &self.sums;
        Figures {
            messages: self.messages,
            store_alone_us: alone.us(),
            store_us: at_once.us(),
            store_cpu_us: at_once.cpu_us(),
            store_kib: at_once.usage.durable.bytes as f64 / KIB / at_once.count as f64,
            fetch_us: fetch.us(),
            fetch_cpu_us: fetch.cpu_us(),
            forget_us: forget.us(),
            ..Figures::default()
        }
    }

    pub(super) async fn finish(self) -> Result<Figures, Failure> {
        let mut figures = self.figures();
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
