//! Attackers beside honest people, on real processes. In each story somebody does what a bound is there for; the bound
//! refuses, by its name; and an honest payer and payee beside it complete a whole payment, phones off in between, within the
//! usual time.

mod mailboxes;
mod requests;

use std::net::{Ipv4Addr, SocketAddr};

use bitcoin::secp256k1::PublicKey;
use protocol::units::Msat;
use protocol::wire::BlockAnswer;
use reqwest::StatusCode;
use tests::failure::{Failure, TestResult};
use tests::lsp::Lsp;
use tests::puppet::{Ended, Puppet, parse_invoice};
use tests::stage::{Balances, PAYMENT_TIMEOUT, Setup, Stage};
use tests::wait::{SOON, Seen, wait_until};
use tokio::net::{TcpSocket, TcpStream};

const AMOUNT_MSAT: u64 = 100_000_000;

/// Attackers come from their own addresses of this machine.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// What an attack may make the LSP's memory grow by.
const MEMORY_GROWTH_BYTES_MAX: u64 = 200 << 20;

/// Honest people, and what they had before.
struct Town {
    stage: Stage,
    setup: Setup,
    before: Balances,
    paid_msat: u64,
    memory_bytes: u64,
}

impl Town {
    async fn new(settings: &[(&'static str, &'static str)]) -> Result<Self, Failure> {
        let setup = settings.iter().fold(Setup::lsps(1), |setup, (key, value)| setup.setting(key, value));
        let stage = Stage::new(setup.clone()).await?;
        let before = stage.balances().await?;
        let memory_bytes = memory_bytes(stage.payers_lsp())?;
        Ok(Self { stage, setup, before, paid_msat: 0, memory_bytes })
    }

    fn lsp(&self) -> &Lsp {
        self.stage.payers_lsp()
    }

    async fn refusals(&self, limit: &str) -> Result<u64, Failure> {
        Ok(self.lsp().metrics().await?.refusals(limit))
    }

    /// The payer blocks, pays, and goes off; the payee is woken, says yes and is paid; the payer is woken and settles.
    async fn honest_payment(&mut self) -> Result<(), Failure> {
        let (invoice, _) = self.stage.invoice(AMOUNT_MSAT, &[]).await?;
        self.stage.pay_to_the_end(&invoice).await?;
        self.paid_msat += AMOUNT_MSAT;
        Ok(())
    }

    /// Nobody lost anything, no channel was closed, and the LSP has not grown.
    async fn finish(self, bystanders_msat: u64) -> Result<(), Failure> {
        let grown_bytes = memory_bytes(self.lsp())?.saturating_sub(self.memory_bytes);
        println!("the LSP has grown by {} KiB", grown_bytes >> 10);
        assert!(grown_bytes < MEMORY_GROWTH_BYTES_MAX, "{grown_bytes} bytes");
        let after = self.stage.settled_balances().await?;
        assert_eq!(after.payee_msat, self.before.payee_msat + self.paid_msat + bystanders_msat);
        let channels = self.lsp().channels().await?;
        assert!(channels.len() > self.setup.payer_channels_sat.len());
        assert!(channels.iter().all(|channel| !channel.is_shutting_down));
        self.stage.finish().await
    }
}

/// What the process holds in memory.
fn memory_bytes(lsp: &Lsp) -> Result<u64, Failure> {
    let path = std::path::PathBuf::from(format!("/proc/{}/status", lsp.group().unwrap_or_default()));
    let text = std::fs::read_to_string(&path).map_err(|source| Failure::File { path, source })?;
    let kib =
        text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map(|kib: u64| kib << 10).ok_or_else(|| Failure::wrong("no VmRSS"))
}

/// So many connections that say nothing, from one address.
async fn silent_connections(to: SocketAddr, from: Ipv4Addr, count: usize) -> Result<Vec<TcpStream>, Failure> {
    let failure = |source| Failure::Start { name: "a silent connection".to_owned(), source };
    let mut streams = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().map_err(failure)?;
        socket.bind(SocketAddr::from((from, 0))).map_err(failure)?;
        streams.push(socket.connect(to).await.map_err(failure)?);
    }
    Ok(streams)
}

/// How many of them the other side has hung up on.
fn hung_up(streams: &[TcpStream]) -> usize {
    let is_over = |stream: &&TcpStream| match stream.try_read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    streams.iter().filter(is_over).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_knock() -> TestResult {
    let mut town = Town::new(&[
        ("peers.connections_per_address_max", "20"),
        ("peers.without_channel_max", "2"),
        ("channels.per_peer_max", "1"),
        ("channels.inbound_sat_min", "100000"),
        ("http.connections_max", "8"),
        ("push.devices_per_node_max", "3"),
        ("push.devices_without_channel_max", "2"),
    ])
    .await?;
    let to = town.lsp().listen();

    // Connections that say nothing: at the bound, one address gets no more; others do.
    let silent = silent_connections(to, ATTACKER, 60).await?;
    wait_until("most of them to be hung up on", SOON, async || {
        let over = hung_up(&silent);
        Ok(if over >= 30 { Seen::Done(()) } else { Seen::NotYet(over.to_string()) })
    })
    .await?;
    let refusals = town.refusals("connections_per_address").await? + town.refusals("connection_rate").await?;
    assert!(refusals >= 30, "{refusals}");
    town.honest_payment().await?;
    drop(silent);

    // Peers without a channel: whoever came first makes room, so that a newcomer is always let in.
    let mut strangers = Vec::new();
    for name in ["stranger 1", "stranger 2", "stranger 3", "stranger 4"] {
        if strangers.len() == 2 {
            assert_eq!(town.refusals("peers_without_channel").await?, 0, "as many as there may be");
        }
        strangers.push(stranger(&town, name).await?);
    }
    town.lsp().wait_for_refusals("peers_without_channel", 2).await?;
    town.honest_payment().await?;

    // Devices of nodes without a channel have a bound of their own; a client's are not concerned.
    let url = |number: u32| format!("http://127.0.0.1:9/{number}");
    for number in 0..4 {
        let status = strangers[0].register(town.lsp(), &url(number)).await?;
        let expected = if number < 2 { StatusCode::CREATED } else { StatusCode::CONFLICT };
        assert_eq!(status, expected, "device {number}");
    }
    assert_eq!(town.refusals("devices_without_channel").await?, 2);
    for stranger in strangers.drain(1..) {
        stranger.go_offline().await;
    }
    let client = town.stage.puppet("client").await?;
    for number in 0..5 {
        let status = client.register(town.lsp(), &url(number)).await?;
        let expected = if number < 3 { StatusCode::CREATED } else { StatusCode::CONFLICT };
        assert_eq!(status, expected, "device {number}");
    }
    assert_eq!(town.refusals("devices_per_node").await?, 2);
    // The phones' own are all there; an operator takes the stranger's away.
    let devices = town.lsp().devices().await?;
    assert_eq!(devices.len(), 2 + 2 + 3);
    for device in devices.iter().filter(|device| device.node_id == strangers[0].node_id()) {
        town.lsp().tell(&["devices", "remove", &device.device_id], None).await?;
    }
    assert_eq!(town.lsp().devices().await?.len(), 2 + 3);
    let status = strangers[0].register(town.lsp(), &url(9)).await?;
    assert_eq!(status, StatusCode::CREATED, "room came back");

    // Channels: one that is too small, and one too many. The refusal names the bound.
    let refused = async |sat: u64, limit: &str, words: &str| {
        let closed = client.closed_channels().len();
        let opened = client.node().open_channel(town.lsp_id(), sat, Msat(0), false);
        assert!(opened.is_ok(), "{opened:?}");
        client.wait_for("a refusal", |_| client.closed_channels().len() > closed).await?;
        let reason = client.closed_channels().pop().unwrap_or_default();
        assert!(reason.contains(words), "{reason:?} does not say {words:?}");
        town.lsp().wait_for_refusals(limit, 1).await
    };
    refused(99_999, "channel_too_small", "at least 100000 sat").await?;
    refused(100_000, "channels_per_peer", "at most 1 channels").await?;

    // Silent HTTP connections wait for nothing, and are put out; a phone that asks is answered then.
    let http = town.lsp().api_url().trim_start_matches("http://").parse();
    let http: SocketAddr = http.map_err(|error| Failure::wrong(format!("{error}")))?;
    let silent = silent_connections(http, ATTACKER, 12).await?;
    town.lsp().wait_for_refusals("http_connections", 1).await?;
    let health = tests::http::client(SOON)?.get(format!("{}/health", town.lsp().api_url())).send().await;
    assert_eq!(health.map(|answer| answer.status()).ok(), Some(StatusCode::OK));
    drop(silent);
    town.honest_payment().await?;

    client.go_offline().await;
    for stranger in strangers {
        stranger.go_offline().await;
    }
    town.finish(0).await?;
    Ok(())
}

async fn stranger(town: &Town, name: &str) -> Result<Puppet, Failure> {
    Puppet::online(name, town.stage.folder(), &town.stage.bitcoind, town.lsp()).await
}

impl Town {
    fn lsp_id(&self) -> PublicKey {
        tests::puppet::parse_node_id(self.lsp().node_id()).unwrap_or_else(|error| panic!("{error}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_who_floods() -> TestResult {
    const FLOOD: usize = 400;
    let mut town = Town::new(&[
        ("holds.holds_per_peer_max", "5"),
        ("peers.onion_messages_burst", "40"),
        ("mailbox.sender_messages_max", "10"),
    ])
    .await?;
    let attacker = town.stage.puppet("attacker").await?;
    let deadline = attacker.height().plus(50);

    // Requests to hold: so many messages, and of those so many holds.
    for _ in 0..FLOOD {
        attacker.block_at_random(deadline)?;
    }
    town.honest_payment().await?;
    wait_until("the attacker to be over its rate", SOON, async || {
        for _ in 0..FLOOD / 4 {
            attacker.block_at_random(deadline)?;
        }
        let refusals = town.refusals("onion_messages").await?;
        Ok(if refusals >= 100 { Seen::Done(()) } else { Seen::NotYet(refusals.to_string()) })
    })
    .await?;
    town.lsp().wait_for_refusals("holds_per_peer", 1).await?;
    let of_attacker = town.lsp().holds().await?;
    let of_attacker = of_attacker.iter().filter(|hold| hold.payer == attacker.node_id()).count();
    assert_eq!(of_attacker, 5);

    // A payment is held, its payee out of reach; now messages to everybody, that payee among them, and guessed pids.
    town.stage.payee.leave_coverage();
    town.stage.payer.leave_coverage();
    let (payee_wakes, payer_wakes) = (town.stage.payee.wakes().len(), town.stage.payer.wakes().len());
    let (invoice, _) = town.stage.invoice(AMOUNT_MSAT, &[]).await?;
    let payee = parse_invoice(&invoice)?.get_payee_pub_key();
    let payer: PublicKey = {
        let info = town.stage.payer.ask(&["info"]).await?;
        tests::puppet::parse_node_id(info["node_id"].as_str().unwrap_or_default())?
    };
    // First to the payee, whose box the attacker has a share of; the payer's message still has its place.
    wait_until("the attacker's share of the payee's box to be full", SOON, async || {
        // Well made, for the very invoice that is to be paid: the payee remembers eight of them.
        let pending = attacker.pending_for(&parse_invoice(&invoice)?, &attacker.new_pid(), deadline);
        attacker.send_pending(&parse_invoice(&invoice)?, pending)?;
        let refusals = town.lsp().metrics().await?.refusals("mailbox_sender");
        Ok(if refusals > 0 { Seen::Done(()) } else { Seen::NotYet(refusals.to_string()) })
    })
    .await?;
    town.stage.pay(&invoice, &[]).await?;
    for _ in 0..FLOOD {
        attacker.pester(attacker.nobody()?)?;
    }
    let unknown = "lightning_rod_unknown_unblocks_total";
    let unknown_before = town.lsp().metrics().await?.sum(unknown, &[]);
    wait_until("guessed pids to be counted", SOON, async || {
        attacker.guess(payer, attacker.new_pid())?;
        let counted = town.lsp().metrics().await?.sum(unknown, &[]) - unknown_before;
        Ok(if counted >= 20.0 { Seen::Done(()) } else { Seen::NotYet(counted.to_string()) })
    })
    .await?;
    let of_payer: Vec<_> = town.lsp().holds().await?.into_iter().filter(|hold| hold.payer == payer).collect();
    assert_eq!(
        of_payer.iter().map(|hold| hold.held_parts).collect::<Vec<_>>(),
        [1],
        "it is held, whoever guesses"
    );
    let mailbox = town.lsp().mailbox().await?;
    let from_attacker =
        mailbox.iter().filter(|message| message.previous_hop == Some(attacker.node_id())).count();
    assert_eq!(from_attacker, 10, "its share, and nothing for nobody");
    assert!(mailbox.iter().any(|message| message.previous_hop == Some(payer) && message.recipient == payee));

    town.stage.payee.enter_coverage();
    town.stage.payer.enter_coverage();
    town.stage.payee.wait_for_step_since(payee_wakes, "paid", PAYMENT_TIMEOUT).await?;
    town.stage.payer.wait_for_step_since(payer_wakes, "settled", PAYMENT_TIMEOUT).await?;
    town.paid_msat += AMOUNT_MSAT;
    town.honest_payment().await?;
    attacker.go_offline().await;
    town.finish(0).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn htlcs_to_a_sleeping_phone_and_under_holds() -> TestResult {
    const SMALL_MSAT: u64 = 2_000_000;
    let mut town = Town::new(&[
        ("payee.waiting_htlcs_per_payee_max", "2"),
        ("push.stranger_wakes_per_node_max", "1"),
        ("holds.held_htlcs_per_peer_max", "2"),
    ])
    .await?;
    let attacker = town.stage.puppet("attacker").await?;
    town.stage.payee.leave_coverage();
    let (payee_wakes, payer_wakes) = (town.stage.payee.wakes().len(), town.stage.payer.wakes().len());
    let mut invoices = Vec::new();
    for _ in 0..6 {
        invoices.push(parse_invoice(&town.stage.invoice(SMALL_MSAT, &[]).await?.0)?);
    }
    let (honest, _) = town.stage.invoice(AMOUNT_MSAT, &[]).await?;

    // Under holds: two HTLCs are held, the third comes back at once.
    let (held, ordinary) = invoices.split_at(3);
    let deadline = attacker.height().plus(50);
    let mut pids = Vec::new();
    for (number, invoice) in held.iter().enumerate() {
        let pid = attacker.new_pid();
        let answer = attacker.block(&pid, vec![invoice.payment_hash()], deadline).await?;
        assert_eq!(answer, BlockAnswer::Accepted { deadline });
        attacker.pay(invoice, 70).await?;
        if number < 2 {
            attacker.wait_until_held(&pid, 1).await?;
        }
        pids.push(pid);
    }
    assert_eq!(attacker.wait_for_failure(held[2].payment_hash()).await?, Ended::Failed);
    assert_eq!(town.refusals("held_htlcs_per_peer").await?, 1);
    for pid in &pids[..2] {
        attacker.wait_until_held(pid, 1).await?;
    }

    // Without: two wait for the payee, which is woken for one of them; the third fails at once.
    for invoice in &ordinary[..2] {
        attacker.pay(invoice, 0).await?;
    }
    town.lsp().wait_for_refusals("stranger_wakes_per_node", 1).await?;
    attacker.pay(&ordinary[2], 0).await?;
    assert_eq!(attacker.wait_for_failure(ordinary[2].payment_hash()).await?, Ended::Failed);
    assert_eq!(town.refusals("waiting_htlcs_per_payee").await?, 1);

    // Beside all that an honest payment is held, and everything that was accepted arrives when the payee comes.
    town.stage.pay(&honest, &[]).await?;
    town.stage.payee.enter_coverage();
    town.stage.payee.wait_for_step_since(payee_wakes, "paid", PAYMENT_TIMEOUT).await?;
    town.stage.payer.wait_for_step_since(payer_wakes, "settled", PAYMENT_TIMEOUT).await?;
    town.paid_msat += AMOUNT_MSAT;
    let mut arrived_msat = 0;
    for invoice in &ordinary[..2] {
        let ended = attacker.wait_until_ended(invoice.payment_hash(), PAYMENT_TIMEOUT).await?;
        assert!(matches!(ended, Ended::Paid { .. }), "{ended:?}");
        arrived_msat += SMALL_MSAT;
    }
    // What is held for the attacker goes back to it.
    for (pid, invoice) in pids.iter().zip(held).take(2) {
        attacker.cancel(pid).await?;
        let ended = attacker.wait_until_ended(invoice.payment_hash(), PAYMENT_TIMEOUT).await?;
        assert_eq!(ended, Ended::Failed);
    }
    attacker.wait_for("no HTLC", |node| !node.has_pending_htlcs()).await?;
    attacker.go_offline().await;
    town.finish(arrived_msat).await?;
    Ok(())
}
