//! The node alone: channels open, a payment goes through an LSP, and everything is there after a restart.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use bitcoin::Network;
use futures::future::BoxFuture;
use lightning_types::payment::PaymentHash;
use node::{
    BitcoindConfig, Channel, ChannelLimits, IncomingMessage, InterceptedHtlc, InvoiceRequest, LspSettings,
    Node, NodeConfig, NodeEvent, NodeHandler, PayRequest, PeerLimits, Replay, Role, Seed,
};
use protocol::units::Msat;
use storage::{Database, DatabaseUrl};
use tests::bitcoind::{Bitcoind, RPC_PASSWORD, RPC_USER};
use tests::failure::Failure;
use tests::ports::free_port;
use tests::wait::{SOON, Seen, wait_until};

const CHANNEL_SAT: u64 = 1_000_000;
const CLTV_EXPIRY_DELTA_BLOCKS: u16 = 144;
const FEE_BASE_MSAT: u32 = 1_000;

/// Lets every intercepted HTLC go, claims every payment, remembers what it saw.
#[derive(Default)]
struct Recorder {
    node: Mutex<Option<Arc<Node>>>,
    intercepted: Mutex<Vec<InterceptedHtlc>>,
    sent: Mutex<Vec<PaymentHash>>,
    claimed: Mutex<Vec<PaymentHash>>,
}

impl NodeHandler for Recorder {
    fn event(&self, event: NodeEvent) -> BoxFuture<'_, Result<(), Replay>> {
        Box::pin(async move {
            let node = self.node.lock().unwrap().clone().ok_or(Replay)?;
            match event {
                NodeEvent::HtlcIntercepted(htlc) => {
                    node.forward_intercepted(htlc.intercept_id, htlc.next_hop_scid, htlc.outbound_amount)
                        .map_err(|_| Replay)?;
                    self.intercepted.lock().unwrap().push(htlc);
                }
                NodeEvent::PaymentClaimable { preimage, .. } => node.claim(preimage.ok_or(Replay)?),
                NodeEvent::PaymentClaimed { payment_hash, .. } => {
                    self.claimed.lock().unwrap().push(payment_hash)
                }
                NodeEvent::PaymentSent { payment_hash, .. } => self.sent.lock().unwrap().push(payment_hash),
                _ => {}
            }
            Ok(())
        })
    }

    fn message(&self, _incoming: IncomingMessage) {}
}

struct Running {
    node: Arc<Node>,
    recorder: Arc<Recorder>,
    database: Database,
}

impl Running {
    async fn start(folder: &Path, seed: u8, bitcoind: &Bitcoind, role: Role, port: Option<u16>) -> Self {
        let url: DatabaseUrl =
            format!("sqlite:{}", folder.join(format!("{seed}.sqlite")).display()).parse().unwrap();
        let database = Database::open(&url, &[]).await.unwrap();
        let listen: Vec<_> = port.map(|port| ([127, 0, 0, 1], port).into()).into_iter().collect();
        let config = NodeConfig {
            network: Network::Regtest,
            bitcoind: BitcoindConfig {
                rpc_url: bitcoind.rpc_url(),
                rpc_user: RPC_USER.to_owned(),
                rpc_password: RPC_PASSWORD.to_owned(),
            },
            announced_addresses: listen.clone(),
            listen,
            alias: format!("node {seed}"),
            role,
        };
        let node = Node::load(config, Seed::new([seed; 32]), database.clone()).await.unwrap();
        let recorder = Arc::new(Recorder::default());
        *recorder.node.lock().unwrap() = Some(node.clone());
        node.start(recorder.clone()).await.unwrap();
        Self { node, recorder, database }
    }

    async fn stop(self) {
        self.node.stop().await;
        self.database.close().await;
    }

    async fn until(&self, what: &str, mut done: impl FnMut(&Node) -> bool) {
        wait_until(what, SOON, async || {
            Ok::<_, Failure>(if done(&self.node) {
                Seen::Done(())
            } else {
                Seen::NotYet(format!("{:?}", self.node.channels()))
            })
        })
        .await
        .unwrap();
    }

    async fn until_usable(&self, count: usize) {
        let usable =
            |node: &Node| node.channels().iter().filter(|channel| channel.is_usable).count() >= count;
        self.until("usable channels", usable).await;
    }
}

fn lsp_role() -> Role {
    Role::Lsp(LspSettings {
        chain: node::ChainLimits::of(bitcoin::Network::Regtest),
        cltv_expiry_delta_blocks: CLTV_EXPIRY_DELTA_BLOCKS,
        fee_base_msat: FEE_BASE_MSAT,
        fee_proportional_millionths: 0,
        peers: PeerLimits::default(),
        channels: ChannelLimits::default(),
    })
}

fn balances(channels: &[Channel]) -> Vec<Msat> {
    channels.iter().map(|channel| channel.balance).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_crosses_the_lsp_and_all_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bitcoind = Bitcoind::start(&folder.path().join("bitcoind"), &mut |_| {}).await.unwrap();
    let port = free_port().unwrap();
    let lsp = Running::start(folder.path(), 1, &bitcoind, lsp_role(), Some(port)).await;
    let lsp_id = lsp.node.node_id();
    let wallet = || Role::Wallet { lsp: lsp_id, lsp_address: format!("127.0.0.1:{port}") };
    let payer = Running::start(folder.path(), 2, &bitcoind, wallet(), None).await;
    let payee = Running::start(folder.path(), 3, &bitcoind, wallet(), None).await;

    for node in [&lsp.node, &payer.node] {
        bitcoind.send(&node.new_address().to_string(), 10 * CHANNEL_SAT).await.unwrap();
    }
    bitcoind.mine(1).await.unwrap();
    lsp.until("funds at the LSP", |node| node.balances().on_chain.spendable_sat > CHANNEL_SAT).await;
    payer.until("funds at the payer", |node| node.balances().on_chain.spendable_sat > CHANNEL_SAT).await;
    lsp.until("both phones", |node| node.connected_peers().len() == 2).await;
    payer.until("the LSP", |node| node.is_connected(lsp_id)).await;
    lsp.node.open_channel(payee.node.node_id(), CHANNEL_SAT, Msat(0), false).unwrap();
    payer.node.open_channel(lsp_id, CHANNEL_SAT, Msat(0), false).unwrap();
    bitcoind.wait_for_transactions(2).await.unwrap();
    bitcoind.mine(6).await.unwrap();
    lsp.until_usable(2).await;
    payer.until_usable(1).await;
    payee.until_usable(1).await;

    let amount = Msat(50_000_000);
    let request = InvoiceRequest {
        amount: Some(amount),
        description: "coffee".to_owned(),
        expiry_secs: 3600,
        asynchronous: true,
    };
    payee.until("a way to be paid", |node| node.create_invoice(&request).is_ok()).await;
    let invoice = payee.node.create_invoice(&request).unwrap();
    assert!(Node::invoice_is_asynchronous(&invoice));
    assert_eq!(Node::payees_lsp(&invoice), Some(lsp_id));
    let before = payer.node.balances().lightning;
    payer
        .node
        .pay(&PayRequest {
            invoice: invoice.clone(),
            amount: None,
            extra_final_cltv_blocks: 0,
            retries: 0,
            fee_max: None,
        })
        .unwrap();
    let sent = || payer.recorder.sent.lock().unwrap().contains(&invoice.payment_hash());
    payer.until("the payment", |_| sent()).await;
    payee.until("the money", |node| node.balances().lightning == amount).await;
    payer.until("a quiet channel", |node| !node.has_pending_htlcs()).await;
    let paid = before.saturating_sub(payer.node.balances().lightning);
    assert_eq!(paid, Msat(amount.0 + u64::from(FEE_BASE_MSAT)));
    // `FromPrivateChannels`: our own formula of the intercept id found the HTLC that LDK told of.
    assert_eq!(lsp.recorder.intercepted.lock().unwrap().len(), 1);
    assert!(lsp.node.peer_supports_lightning_rod(lsp_id) || payer.node.peer_supports_lightning_rod(lsp_id));

    let expected = balances(&payer.node.channels());
    payer.stop().await;
    let payer = Running::start(folder.path(), 2, &bitcoind, wallet(), None).await;
    payer.until_usable(1).await;
    assert_eq!(balances(&payer.node.channels()), expected);
    for running in [payer, payee, lsp] {
        running.stop().await;
    }
}
