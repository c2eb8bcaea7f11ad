//! One chain, one LSP and two phones, through one crash after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocol::api::public::{ChallengeRequest, ChallengeResponse, DeviceTarget, RegisterDeviceRequest};
use tests::bitcoind::Bitcoind;
use tests::failure::Failure;
use tests::folder::Folder;
use tests::logs::Logs;
use tests::lsp::Lsp;
use tests::phone::webhook;
use tests::puppet::{Puppet, PuppetStage};
use tests::stage::PAYMENT_TIMEOUT;
use tests::wait::{Seen, wait_until};

use super::stories;

/// The payer's and the payee's.
const CHANNELS: usize = 2;

/// The phones of a lane, each on or off.
pub(crate) struct Phones {
    payer: Option<Puppet>,
    payee: Option<Puppet>,
    /// Pushes that the payee's phone received.
    pushes: Arc<AtomicUsize>,
    bitcoind: Bitcoind,
    folder: Folder,
}

impl Phones {
    pub(crate) fn payer(&self) -> Result<&Puppet, Failure> {
        self.payer.as_ref().ok_or_else(|| Failure::wrong("the payer is off"))
    }

    pub(crate) fn payee(&self) -> Result<&Puppet, Failure> {
        self.payee.as_ref().ok_or_else(|| Failure::wrong("the payee is off"))
    }

    pub(crate) fn pushes(&self) -> usize {
        self.pushes.load(Ordering::SeqCst)
    }

    pub(crate) async fn payer_goes(&mut self) {
        if let Some(payer) = self.payer.take() {
            payer.go_offline().await;
        }
    }

    pub(crate) async fn payee_goes(&mut self) {
        if let Some(payee) = self.payee.take() {
            payee.go_offline().await;
        }
    }

    pub(crate) async fn payer_comes(&mut self, lsp: &Lsp) -> Result<(), Failure> {
        self.payer = Some(Puppet::online("payer", self.folder.path(), &self.bitcoind, lsp).await?);
        Ok(())
    }

    pub(crate) async fn payee_comes(&mut self, lsp: &Lsp) -> Result<(), Failure> {
        self.payee = Some(Puppet::online("payee", self.folder.path(), &self.bitcoind, lsp).await?);
        Ok(())
    }
}

pub(crate) struct Lane {
    lsp: Lsp,
    phones: Phones,
    logs: Logs,
    /// Everybody's balances, which no story changes.
    total_msat: u64,
    told: u32,
}

/// An LSP sends 30 pushes for messages to one phone in an hour, and some tries take more than one.
const TRIES_MAX: u32 = 10;

impl Lane {
    pub(crate) async fn new() -> Result<Self, Failure> {
        let stage = PuppetStage::new(1, 1, &[]).await?;
        let total_msat = stage.balances_msat().await?.iter().sum();
        let PuppetStage { payer, payee, mut lsps, bitcoind, logs, folder } = stage;
        let lsp = lsps.pop().ok_or_else(|| Failure::wrong("no LSP"))?;
        let pushes = Arc::new(AtomicUsize::new(0));
        let counted = pushes.clone();
        let (url, _, _) = webhook::serve(0, move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .await?;
        register(&payee, &lsp, &url).await?;
        let phones = Phones { payer: Some(payer), payee: Some(payee), pushes, bitcoind, folder };
        Ok(Self { lsp, phones, logs, total_msat, told: 0 })
    }

    /// Whether its phones have had so many pushes that the next may not come.
    pub(crate) fn is_used_up(&self) -> bool {
        self.told >= TRIES_MAX
    }

    /// The LSP dies at `point` and comes again. Answers whether it did die.
    pub(crate) async fn survive(&mut self, point: &str) -> Result<bool, Failure> {
        self.told += 1;
        let phones = &mut self.phones;
        let ((), crashed) = self
            .lsp
            .with_crash(point, async |lsp| {
                let dead = format!("{} the process aborts", crash_line(point));
                let before = lsp.log().matches(&dead).count();
                let has_died = || lsp.log().matches(&dead).count() > before;
                stories::asleep(phones, lsp, || true).await?;
                if !has_died() {
                    stories::cancelled(phones).await?;
                }
                if !has_died() {
                    stories::ordinary(phones, lsp).await?;
                }
                if !has_died() {
                    stories::asleep(phones, lsp, has_died).await?;
                }
                Ok(())
            })
            .await?;
        self.check().await?;
        Ok(crashed)
    }

    /// What must be true after every story.
    async fn check(&self) -> Result<(), Failure> {
        let (payer, payee) = (self.phones.payer()?, self.phones.payee()?);
        payer.wait_for_usable_channels(1).await?;
        payee.wait_for_usable_channels(1).await?;
        wait_until("the LSP to be as it was", PAYMENT_TIMEOUT, async || {
            let channels = match self.lsp.channels().await {
                Ok(channels) => channels,
                // It may be starting.
                Err(error) => return Ok(Seen::NotYet(xtask::with_causes(&error))),
            };
            let usable = channels.iter().filter(|channel| channel.is_usable).count();
            let htlcs: usize =
                channels.iter().map(|channel| channel.pending_inbound_htlcs + channel.pending_outbound_htlcs).sum();
            let total_msat = payer.balance_msat() + payee.balance_msat() + self.lsp.balance_msat().await?;
            let holds = self.lsp.holds().await?;
            let done = channels.len() == CHANNELS
                && usable == CHANNELS
                && htlcs == 0
                && total_msat == self.total_msat
                && holds.is_empty();
            let expected_msat = self.total_msat;
            Ok(if done {
                Seen::Done(())
            } else {
                Seen::NotYet(format!(
                    "{usable} usable of {} channels, {htlcs} HTLCs, {total_msat} msat of {expected_msat}, {holds:?}",
                    channels.len()
                ))
            })
        })
        .await
    }

    pub(crate) async fn finish(mut self) -> Result<(), Failure> {
        self.phones.payer_goes().await;
        self.phones.payee_goes().await;
        self.lsp.stop().await?;
        self.logs.not_needed();
        Ok(())
    }
}

fn crash_line(point: &str) -> String {
    let name = point.split(':').next().unwrap_or(point);
    format!("crash point {name}:")
}

async fn register(phone: &Puppet, lsp: &Lsp, url: &str) -> Result<(), Failure> {
    let wrong = |error: &dyn std::error::Error| Failure::wrong(xtask::with_causes(error));
    let client = tests::http::client(Duration::from_secs(30))?;
    let (api, node_id) = (lsp.api_url(), phone.node_id());
    let challenge = client.post(format!("{api}/v1/challenge")).json(&ChallengeRequest { node_id });
    let challenge: ChallengeResponse =
        challenge.send().await.map_err(|error| wrong(&error))?.json().await.map_err(|error| wrong(&error))?;
    let target = DeviceTarget::new("webhook", url);
    let mut request = RegisterDeviceRequest::new(node_id, challenge.challenge, target);
    request.signature = phone.node().sign(&request.text(&phone.lsp())).map_err(|error| wrong(&error))?;
    let answer = client.post(format!("{api}/v1/devices")).json(&request).send().await;
    answer.and_then(reqwest::Response::error_for_status).map_err(|error| wrong(&error))?;
    Ok(())
}
