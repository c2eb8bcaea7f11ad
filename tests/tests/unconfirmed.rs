//! Channels whose funding no block has. A peer that asks for one that works at once is refused; one that waits for its block gives its peer
//! nothing yet, since it costs nothing either.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::{Network, ScriptBuf};
use lightning::io;
use lightning::ln::msgs::{CommonOpenChannelFields, DecodeError, Init, LightningError, OpenChannel};
use lightning::ln::peer_handler::{
    CustomMessageHandler, ErroringMessageHandler, IgnoringMessageHandler, MessageHandler, PeerManager,
};
use lightning::ln::types::ChannelId;
use lightning::ln::wire::{CustomMessageReader, Type};
use lightning::sign::KeysManager;
use lightning::types::features::{ChannelTypeFeatures, InitFeatures, NodeFeatures};
use lightning::util::logger::{Logger, Record};
use lightning::util::ser::{LengthLimitedRead, Writeable, Writer};
use protocol::wire::{BlockAnswer, RefusalReason};
use reqwest::StatusCode;
use tests::failure::{Failure, TestResult};
use tests::lsp::Lsp;
use tests::puppet::{Ended, Puppet, parse_node_id};
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};
use tests::wait::{SOON, Seen, wait_until};

const CAPACITY_SAT: u64 = 1_000_000;
const AMOUNT_MSAT: u64 = 20_000_000;
/// `open_channel` (BOLT 2).
const OPEN_CHANNEL: u16 = 32;

/// A peer that speaks BOLT 8 and says `open_channel`, as no node of LDK's does: none of them asks for a channel without confirmations.
struct Knocker {
    knocks: Mutex<Vec<(PublicKey, Knock)>>,
}

#[derive(Debug)]
struct Knock(OpenChannel);

impl Writeable for Knock {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        self.0.write(writer)
    }
}

impl Type for Knock {
    fn type_id(&self) -> u16 {
        OPEN_CHANNEL
    }
}

impl CustomMessageReader for Knocker {
    type CustomMessage = Knock;

    fn read<R: LengthLimitedRead>(&self, _: u16, _: &mut R) -> Result<Option<Knock>, DecodeError> {
        Ok(None)
    }
}

impl CustomMessageHandler for Knocker {
    fn handle_custom_message(&self, _: Knock, _: PublicKey) -> Result<(), LightningError> {
        Ok(())
    }

    fn get_and_clear_pending_msg(&self) -> Vec<(PublicKey, Knock)> {
        std::mem::take(&mut *self.knocks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn peer_disconnected(&self, _: PublicKey) {}

    fn peer_connected(&self, _: PublicKey, _: &Init, _: bool) -> Result<(), ()> {
        Ok(())
    }

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _: PublicKey) -> InitFeatures {
        InitFeatures::empty()
    }
}

struct Silence;

impl Logger for Silence {
    fn log(&self, _: Record<'_>) {}
}

fn open_channel(channel_type: ChannelTypeFeatures) -> OpenChannel {
    let secp = Secp256k1::new();
    let key = |byte: u8| SecretKey::from_slice(&[byte; 32]).map(|key| key.public_key(&secp));
    let [
        funding_pubkey,
        revocation_basepoint,
        payment_basepoint,
        delayed_payment_basepoint,
        htlc_basepoint,
        first,
    ] = [11, 12, 13, 14, 15, 16].map(|byte| key(byte).unwrap_or_else(|error| panic!("{error}")));
    OpenChannel {
        common_fields: CommonOpenChannelFields {
            chain_hash: Network::Regtest.chain_hash(),
            temporary_channel_id: ChannelId([7; 32]),
            funding_satoshis: CAPACITY_SAT,
            dust_limit_satoshis: 354,
            max_htlc_value_in_flight_msat: CAPACITY_SAT * 1_000,
            htlc_minimum_msat: 1,
            commitment_feerate_sat_per_1000_weight: 253,
            to_self_delay: 144,
            max_accepted_htlcs: 50,
            funding_pubkey,
            revocation_basepoint,
            payment_basepoint,
            delayed_payment_basepoint,
            htlc_basepoint,
            first_per_commitment_point: first,
            channel_flags: 0,
            // None for whoever has the feature is an empty one.
            shutdown_scriptpubkey: Some(ScriptBuf::new()),
            channel_type: Some(channel_type),
        },
        push_msat: 0,
        channel_reserve_satoshis: 10_000,
    }
}

/// Connects to an LSP and says this. Gone when what it returns is dropped.
async fn knock(lsp: &Lsp, message: OpenChannel) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let knocker = Arc::new(Knocker { knocks: Mutex::default() });
    let handler = MessageHandler {
        chan_handler: Arc::new(ErroringMessageHandler::new()),
        route_handler: IgnoringMessageHandler {},
        onion_message_handler: IgnoringMessageHandler {},
        custom_message_handler: Arc::clone(&knocker),
        send_only_message_handler: IgnoringMessageHandler {},
    };
    let keys = Arc::new(KeysManager::new(&[66; 32], 1, 1, true));
    let peers = Arc::new(PeerManager::new(handler, 1, &[67; 32], Arc::new(Silence), keys));
    let lsp_id = parse_node_id(lsp.node_id())?;
    let address: SocketAddr = lsp.listen();
    let connection = lightning_net_tokio::connect_outbound(Arc::clone(&peers), lsp_id, address).await;
    let connection = connection.ok_or_else(|| Failure::wrong("the LSP takes no connection"))?;
    let running = tokio::spawn(connection);
    wait_until("the greeting", SOON, async || {
        let is_there = peers.peer_by_node_id(&lsp_id).is_some();
        Ok(if is_there { Seen::Done(()) } else { Seen::NotYet("nobody".to_owned()) })
    })
    .await?;
    knocker.knocks.lock().unwrap_or_else(PoisonError::into_inner).push((lsp_id, Knock(message)));
    peers.process_events();
    Ok(running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_without_confirmations_is_refused() -> TestResult {
    let stage = Stage::new(Setup::lsps(1)).await?;
    let lsp = stage.payers_lsp();
    let channels = lsp.channels().await?.len();

    assert_eq!(lsp.metrics().await?.refusals("zero_conf"), 0);
    let mut at_once = ChannelTypeFeatures::only_static_remote_key();
    at_once.set_zero_conf_required();
    let asked = knock(lsp, open_channel(at_once)).await?;
    lsp.wait_for_refusals("zero_conf", 1).await?;
    assert_eq!(lsp.channels().await?.len(), channels, "there is no such channel");
    asked.abort();
    stage.finish().await?;
    Ok(())
}

async fn client(stage: &Stage) -> Result<Puppet, Failure> {
    let client = Puppet::online("client", stage.folder(), &stage.bitcoind, stage.payers_lsp()).await?;
    client.open_channels(&stage.bitcoind, 1, CAPACITY_SAT).await?;
    Ok(client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_no_client_before_a_block_has_its_channel() -> TestResult {
    let stage = Stage::new(Setup::lsps(1).setting("push.devices_without_channel_max", "1")).await?;
    let lsp = stage.payers_lsp();
    let (usable, balance_msat) = (lsp.info().await?.channels_usable, lsp.balance_msat().await?);
    let client = client(&stage).await?;
    let channel = wait_until("the LSP to know of the channel", SOON, async || {
        let channels = lsp.channels().await?;
        let count = channels.len().to_string();
        let of_client = channels.into_iter().find(|channel| channel.peer == client.node_id());
        Ok(of_client.map_or(Seen::NotYet(count), Seen::Done))
    })
    .await?;
    assert!(!channel.is_usable && channel.short_channel_id.is_none(), "{channel:?}");

    // It holds nothing for it, and has no place for its devices but a stranger's.
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    let invoice = tests::puppet::parse_invoice(&invoice)?;
    let deadline = client.height().plus(60);
    let block = async || client.block(&client.new_pid(), vec![invoice.payment_hash()], deadline).await;
    let refused = block().await?;
    assert!(matches!(refused, BlockAnswer::Refused { reason: RefusalReason::NoChannel, .. }), "{refused:?}");
    let register = async |number: u8| client.register(lsp, &format!("http://127.0.0.1:9/{number}")).await;
    assert_eq!(register(1).await?, StatusCode::CREATED);
    assert_eq!(register(2).await?, StatusCode::CONFLICT);
    // Nothing can be paid over it, and nothing is counted.
    assert!(
        client.pay(&invoice, 70).await.is_err()
            || client.wait_for_failure(invoice.payment_hash()).await? == Ended::Failed
    );
    let info = lsp.info().await?;
    assert_eq!((info.channels_usable, info.lightning_balance_msat.0), (usable, balance_msat));

    stage.mine(1).await?;
    wait_until("the client to be one", PAYMENT_TIMEOUT, async || {
        let answer = block().await?;
        Ok(if answer == (BlockAnswer::Accepted { deadline }) {
            Seen::Done(())
        } else {
            Seen::NotYet(format!("{answer:?}"))
        })
    })
    .await?;
    assert_eq!(register(2).await?, StatusCode::CREATED);
    stage.mine(5).await?;
    client.wait_for_usable_channels(1).await?;
    lsp.wait_for_usable_channels(usable + 1).await?;
    client.go_offline().await;
    stage.finish().await?;
    Ok(())
}
