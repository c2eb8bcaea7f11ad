//! How long a release takes, measured on the wire.
//!
//! One more payee is connected to the LSP through a proxy in this process, which notes when bytes pass. While nothing else is
//! on that connection, the payee's unblock is the next thing that goes to the LSP, and the HTLC with its `commitment_signed` the
//! next thing that comes back: the time between is the LSP's, with decrypting, deciding, persisting and signing.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::ids::Pid;
use protocol::path::payee_unblock_path;
use protocol::units::Msat;
use protocol::wire::PaymentUnblock;
use tests::bitcoind::Bitcoind;
use tests::failure::Failure;
use tests::wait::{SOON, Seen, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::payment::{AMOUNT, Arrival, Outcome, hold};
use super::phone::{Line, Phone, wrong};
use super::side::Side;
use crate::shim::Durable;

const CAPACITY_SAT: u64 = 10_000_000;
const LSPS_SHARE: Msat = Msat(9_000_000_000);
const CONFIRMATIONS: u32 = 6;
/// A Lightning message on the wire: its length and two MACs around it (BOLT 8).
const ENVELOPE_BYTES: usize = 2 + 16 + 16;
/// `update_add_htlc` without TLVs, and the least that a `commitment_signed` with one HTLC has (BOLT 2).
const RELEASE_BYTES: usize = 2 * ENVELOPE_BYTES + (2 + 32 + 8 + 8 + 32 + 4 + 1366) + (2 + 32 + 64 + 2 + 64);
const BUFFER_BYTES: usize = 1 << 16;

/// One release.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    pub(crate) latency: Duration,
    /// Finished between the unblock and the commitment.
    pub(crate) fsyncs: u64,
}

/// What passed since the watch was set.
#[derive(Default)]
struct Passed {
    /// The first bytes to the LSP, and what the LSP had made durable then.
    unblock: Option<(Instant, Durable)>,
    /// Bytes from the LSP since.
    back: usize,
    /// The bytes that made a release complete.
    release: Option<(Instant, Durable)>,
}

type Watch = Arc<Mutex<Option<Passed>>>;

/// Releases `count` payments one after the other, each from a state of rest.
pub(crate) async fn releases(
    side: &Side,
    folder: &Path,
    bitcoind: &Bitcoind,
    count: usize,
) -> Result<Vec<Release>, Failure> {
    let watch = Watch::default();
    let counters = || side.lsp.durable().unwrap_or_default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let proxy = |source| Failure::Start { name: "the proxy".to_owned(), source };
    let listener = listener.map_err(proxy)?;
    let address = listener.local_addr().map_err(proxy)?;
    let line = Line { folder, bitcoind, lsp: side.lsp.node_id, address };
    let measured = async {
        let payee = Phone::online("payee at the stopwatch", &line).await?;
        payee.fund(bitcoind, CAPACITY_SAT).await?;
        bitcoind.mine(1).await?;
        payee.open(CAPACITY_SAT, LSPS_SHARE).await?;
        bitcoind.wait_for_transactions(1).await?;
        bitcoind.mine(CONFIRMATIONS).await?;
        payee.wait_for_channel().await?;
        let mut releases = Vec::with_capacity(count);
        for _ in 0..count {
            releases.push(release(side, &payee, &watch).await?);
        }
        payee.go_offline().await;
        Ok(releases)
    };
    tokio::select! {
        measured = measured => measured,
        error = serve(listener, side.lsp.listen, &watch, &counters) => Err(proxy(error)),
    }
}

async fn release(side: &Side, payee: &Phone, watch: &Watch) -> Result<Release, Failure> {
    let payer = &side.payers[0];
    let invoice = payee.invoice(AMOUNT, true)?;
    let arrival = Arrival::expect(payer, payee, &invoice);
    let pid = hold(payer, &invoice).await?;
    at_rest(side).await?;
    set(watch, Some(Passed::default()));
    let released = Instant::now();
    unblock(payee, payer.node.node_id(), invoice.payment_hash(), pid)?;
    let outcome = arrival.outcome(Duration::ZERO, released).await?;
    if let Outcome::Failed(reason) = outcome {
        return Err(Failure::wrong(format!("a payment failed: {reason}")));
    }
    let passed = set(watch, None).unwrap_or_default();
    side.rest().await?;
    match (passed.unblock, passed.release) {
        (Some((unblock, before)), Some((release, after))) => Ok(Release {
            latency: release.saturating_duration_since(unblock),
            fsyncs: (after - before).fsyncs,
        }),
        _ => Err(Failure::wrong("a release was not seen on the wire")),
    }
}

fn set(watch: &Watch, to: Option<Passed>) -> Option<Passed> {
    std::mem::replace(&mut *watch.lock().unwrap_or_else(PoisonError::into_inner), to)
}

/// The HTLC is held, and the LSP has written all that it wants to write.
async fn at_rest(side: &Side) -> Result<(), Failure> {
    let mut seen = side.lsp.durable()?;
    wait_until("the LSP to rest", SOON, async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = side.lsp.durable()?;
        let rests = now == seen;
        seen = now;
        Ok(if rests { Seen::Done(()) } else { Seen::NotYet(format!("{now:?}")) })
    })
    .await
}

/// Along a path of the payee's own, so that no `payment_pending` is on the wire.
fn unblock(
    payee: &Phone,
    payer: bitcoin::secp256k1::PublicKey,
    payment_hash: lightning_types::payment::PaymentHash,
    pid: Pid,
) -> Result<(), Failure> {
    let session_key = payee.node.session_key().map_err(|error| wrong(&error))?;
    let path = payee_unblock_path(&session_key, Some(payee.lsp), payee.lsp, payer, pid)
        .map_err(|error| wrong(&error))?;
    let yes = PaymentUnblock { payment_hash };
    payee.node.send_along(path, yes.into(), None).map_err(|error| wrong(&error))
}

/// Passes bytes between the payee and the LSP until it cannot.
async fn serve(
    listener: TcpListener,
    lsp: SocketAddr,
    watch: &Watch,
    counters: &impl Fn() -> Durable,
) -> std::io::Error {
    loop {
        let connected = async {
            let (phone, _) = listener.accept().await?;
            let lsp = TcpStream::connect(lsp).await?;
            phone.set_nodelay(true)?;
            lsp.set_nodelay(true)?;
            Ok((phone.into_split(), lsp.into_split()))
        };
        let ((from_phone, to_phone), (from_lsp, to_lsp)) = match connected.await {
            Ok(connected) => connected,
            Err(error) => return error,
        };
        let there = pass(from_phone, to_lsp, |_| {
            if let Some(passed) = &mut *watch.lock().unwrap_or_else(PoisonError::into_inner) {
                passed.unblock.get_or_insert_with(|| (Instant::now(), counters()));
            }
        });
        let back = pass(from_lsp, to_phone, |bytes| {
            if let Some(passed) = &mut *watch.lock().unwrap_or_else(PoisonError::into_inner)
                && passed.unblock.is_some()
            {
                passed.back += bytes;
                if passed.back >= RELEASE_BYTES {
                    passed.release.get_or_insert_with(|| (Instant::now(), counters()));
                }
            }
        });
        tokio::select! {
            () = there => {}
            () = back => {}
        }
    }
}

/// Until one end is closed. Bytes are noted before they go on.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut note: impl FnMut(usize)) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(bytes) = from.read(&mut buffer).await {
        if bytes == 0 {
            return;
        }
        note(bytes);
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}
