//! Setting the stage.

use std::time::Instant;

use super::{CONFIRMATIONS, FEES, Providers, Setup, Stage};
use crate::bitcoind::Bitcoind;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::logs::Logs;
use crate::lsp::{ChannelTerms, Lsp};
use crate::phone::Phone;
use crate::wallet::Wallet;

/// For fees and anchor reserves, on top of a channel's capacity.
const ON_CHAIN_EXTRA_SAT: u64 = 200_000;

pub(super) async fn build(setup: Setup, progress: &mut dyn FnMut(&str)) -> Result<Stage, Failure> {
    let folder = Folder::new()?;
    let mut logs = Logs::default();
    for name in ["lsp_a", "lsp_b", "payer", "payee"] {
        logs.add(name, folder.path().join(format!("{name}.log")));
    }
    progress("starting bitcoind and mining the first blocks");
    let bitcoind = Bitcoind::start(&folder.path().join("bitcoind"), progress).await?;

    let providers = if setup.providers {
        progress("starting Apple's and Google's push services (fakes)");
        Some(Providers::start(folder.path()).await?)
    } else {
        None
    };
    let provided = providers.iter().flat_map(Providers::settings);
    let settings: Vec<(&str, &str)> = setup.lsp_settings.iter().copied().chain(provided).collect();
    let mut lsps = Vec::new();
    for (name, fees) in ["lsp_a", "lsp_b"].into_iter().zip(FEES).take(setup.lsps) {
        progress(&format!("starting {name}"));
        lsps.push(Lsp::start_new(name, folder.path(), &bitcoind, fees, &settings).await?);
    }
    let (Some(payers_lsp), Some(payees_lsp)) = (lsps.first(), lsps.last()) else {
        return Err(Failure::wrong("a stage needs an LSP"));
    };

    progress("making the phones' wallets");
    let payer = Phone::new(Wallet::init("payer", folder.path(), &bitcoind, payers_lsp).await?).await?;
    let payee = Phone::new(Wallet::init("payee", folder.path(), &bitcoind, payees_lsp).await?).await?;

    progress("funding everybody on chain");
    fund_lsp(&bitcoind, payers_lsp, setup.lsps_channel_sat).await?;
    fund_lsp(&bitcoind, payees_lsp, setup.payee_channel_sat).await?;
    for capacity_sat in &setup.payer_channels_sat {
        let answer = payer.ask(&["address"]).await?;
        let address = text(&answer, "address")?;
        bitcoind.send(address, capacity_sat + ON_CHAIN_EXTRA_SAT).await?;
    }
    bitcoind.mine(1).await?;
    let height = bitcoind.height().await?;
    for lsp in &lsps {
        lsp.wait_for_height(height).await?;
    }

    progress("opening channels");
    if setup.lsps > 1 {
        payers_lsp.connect(&payees_lsp.peer_address()).await?;
        let capacity_sat = setup.lsps_channel_sat;
        let terms = ChannelTerms { capacity_sat, push_msat: capacity_sat * 1000 / 2, announce: true };
        payers_lsp.open(payees_lsp.node_id(), terms).await?;
        bitcoind.wait_for_transactions(1).await?;
    }
    for capacity_sat in &setup.payer_channels_sat {
        let capacity = capacity_sat.to_string();
        payer.ask(&["open", "--capacity-sat", &capacity]).await?;
    }
    {
        let payee_id = payee.ask(&["info"]).await?;
        let payee_id = text(&payee_id, "node_id")?;
        let app = payee.open_app().await?;
        let terms = ChannelTerms {
            capacity_sat: setup.payee_channel_sat,
            push_msat: setup.payee_share_sat * 1000,
            announce: false,
        };
        payees_lsp.open(payee_id, terms).await?;
        let channels = setup.payer_channels_sat.len() + setup.lsps;
        bitcoind.wait_for_transactions(channels).await?;
        app.close().await?;
    }

    progress("confirming the channels, and telling everybody");
    bitcoind.mine(CONFIRMATIONS).await?;
    let channels = setup.payer_channels_sat.len().to_string();
    let mut payer_up = vec!["run", "--until-channels", &channels];
    if setup.lsps > 1 {
        // A lone LSP has no announced channel, so that there is no gossip to wait for.
        payer_up.extend(["--until-route", "--until-announced", payees_lsp.node_id()]);
    }
    let payee_up = ["run", "--until-channels", "1"];
    let (payer_up, payee_up) =
        tokio::try_join!(payer.follow(&payer_up, |_| ()), payee.follow(&payee_up, |_| ()))?;
    if !payer_up.success || !payee_up.success {
        return Err(Failure::wrong("a phone's channels do not become usable"));
    }

    progress("registering the phones for pushes");
    match &providers {
        Some(providers) => providers.hand_out(&payer, &payee).await?,
        None => {
            for phone in [&payer, &payee] {
                phone.ask(&["register", "--webhook", phone.webhook_url()]).await?;
            }
        }
    }
    Ok(Stage { bitcoind, lsps, payer, payee, providers, ready: Instant::now(), logs, folder })
}

async fn fund_lsp(bitcoind: &Bitcoind, lsp: &Lsp, capacity_sat: u64) -> Result<(), Failure> {
    let address = lsp.address().await?;
    bitcoind.send(&address, capacity_sat + ON_CHAIN_EXTRA_SAT).await
}

fn text<'a>(value: &'a serde_json::Value, key: &str) -> Result<&'a str, Failure> {
    value[key].as_str().ok_or_else(|| Failure::wrong(format!("no {key} in {value}")))
}
