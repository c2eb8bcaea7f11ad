//! Payments that cannot be made.

use bitcoin::Network;
use serde_json::Value;
use tests::attempt::Program;
use tests::bitcoind::{RPC_PASSWORD, RPC_USER};
use tests::failure::{Failure, TestResult};
use tests::ports::free_port;
use tests::wallet::Wallet;

use crate::ground::{Ground, on_ground, refused};
use crate::invoices::{Terms, invoice, public};

const FOUR_WEEKS_SECS: u64 = 4 * 7 * 24 * 3_600;

#[test]
fn an_invoice_that_cannot_be_paid_is_refused_before_anything_is_asked() -> TestResult {
    on_ground(async |ground| {
        let wallet = Wallet::init("asker", ground.folder.path(), &ground.bitcoind, &ground.lsp).await?;
        let program = Program::wallet(wallet.data_dir());
        let lsp = ground.lsp.info().await?.node_id;
        let good = Terms::default();

        let mainnet = invoice(lsp, Terms { network: Network::Bitcoin, ..good })?;
        let expired = invoice(lsp, Terms { age_secs: FOUR_WEEKS_SECS, ..good })?;
        let amountless = invoice(lsp, Terms { amount_msat: None, ..good })?;
        let mut damaged = invoice(lsp, good)?;
        damaged.pop();
        for how in [&[][..], &["--ordinary"]] {
            for (text, words) in [
                ("garbage", ["no invoice that can be paid", ""]),
                (&damaged, ["no invoice that can be paid", "checksum"]),
                (&mainnet, ["it is for Bitcoin", "this wallet is on regtest"]),
                (&expired, ["it is expired", "ask for a new one"]),
                (&amountless, ["names no amount", "ask the payee for one that does"]),
            ] {
                let ended = program.attempt(&[&["pay", text], how].concat()).await?;
                refused(&ended, 1, &words);
                assert_eq!(ended.stdout, "");
            }
        }

        let ordinary = invoice(lsp, Terms { asynchronous: false, ..good })?;
        let ended = program.attempt(&["pay", &ordinary]).await?;
        refused(&ended, 1, &["does not say that its payee answers later", "--ordinary"]);
        let ended = program.attempt(&["pay", &invoice(lsp, good)?, "--hold-blocks", "5000"]).await?;
        refused(&ended, 1, &["1 to 1008 blocks, not for 5000"]);
        let ended = program.attempt(&["pay", &invoice(lsp, good)?]).await?;
        refused(&ended, 1, &["the channels with the LSP are not usable", "open one"]);

        for (arguments, code, words) in [
            (&["status", "garbage"][..], 2, ["garbage", "64 hex digits"]),
            (&["cancel", &"ab".repeat(32)], 1, ["know no payment", "hash"]),
            (&["register", "--webhook", "nowhere"], 1, ["was not registered", "URL"]),
            (&["invoice", "--amount-msat", "1000"], 1, ["no channel to be paid on", "open one"]),
        ] {
            refused(&program.attempt(arguments).await?, code, &words);
        }
        let status = wallet.ask(&["status"]).await?;
        assert_eq!(
            (&status["payments"], &status["invoices"]),
            (&Value::Array(vec![]), &Value::Array(vec![]))
        );
        Ok(())
    })
}

/// Each takes as long as a phone is given to find somebody, or a way, so they wait together.
#[test]
fn nobody_is_waited_for_for_ever() -> TestResult {
    on_ground(async |ground| {
        tokio::try_join!(
            an_lsp_out_of_reach(ground),
            a_payees_lsp_that_keeps_no_messages(ground),
            more_than_the_channels_have(ground),
        )?;
        Ok(())
    })
}

async fn an_lsp_out_of_reach(ground: &Ground) -> Result<(), Failure> {
    let lsp = format!("{}@127.0.0.1:{}", public(7)?, free_port()?);
    let wallet = Program::wallet(&ground.folder.path().join("lonely"));
    let url = ground.bitcoind.rpc_url();
    let chain = ["--bitcoind-rpc-url", &url, "--bitcoind-rpc-user", RPC_USER];
    let init = ["init", "--network", "regtest", "--lsp", &lsp, "--bitcoind-rpc-password", RPC_PASSWORD];
    assert_eq!(wallet.attempt(&[&init[..], &chain].concat()).await?.code, Some(0));
    let ended = wallet.attempt(&["pay", &invoice(public(7)?, Terms::default())?]).await?;
    refused(&ended, 1, &[&lsp, "cannot be reached", "is this phone online, and the LSP's address right?"]);
    let ended = wallet.attempt(&["register", "--webhook", "http://127.0.0.1:9/"]).await?;
    refused(&ended, 1, &["the config has no lsp_api"]);
    let balance = wallet.attempt(&["balance"]).await?;
    assert_eq!(balance.code, Some(0), "{balance:?}");
    Ok(())
}

async fn a_payees_lsp_that_keeps_no_messages(ground: &Ground) -> Result<(), Failure> {
    let wallet = Wallet::init("seeker", ground.folder.path(), &ground.bitcoind, &ground.lsp).await?;
    let program = Program::wallet(wallet.data_dir());
    let ended = program.attempt(&["pay", &invoice(public(8)?, Terms::default())?]).await?;
    refused(&ended, 1, &["the payee's LSP does not announce that it keeps messages", "--ordinary"]);
    assert_eq!(wallet.ask(&["status"]).await?["payments"], Value::Array(vec![]));
    Ok(())
}

async fn more_than_the_channels_have(ground: &Ground) -> Result<(), Failure> {
    let payer = ground.payer.lock().await;
    let program = Program::wallet(payer.data_dir());
    let (balance, channels) = (payer.ask(&["balance"]).await?, payer.ask(&["channels"]).await?);
    let spendable_msat = channels[0]["outbound_capacity_msat"].as_u64().unwrap_or_default();
    let lsp = ground.lsp.info().await?.node_id;
    let of = |amount_msat, number| {
        invoice(lsp, Terms { amount_msat: Some(amount_msat), number, ..Terms::default() })
    };

    let too_much = of(spendable_msat + 1, 2)?;
    for how in [&[][..], &["--ordinary"]] {
        let ended = program.attempt(&[&["pay", &too_much], how].concat()).await?;
        let words = [format!("can send {spendable_msat} msat"), format!("{} msat", spendable_msat + 1)];
        refused(&ended, 1, &[&words[0], &words[1], "nothing was paid"]);
    }
    assert_eq!(payer.ask(&["status"]).await?["payments"], Value::Array(vec![]));

    // It would fit, but for the fees: only the router knows, and the hold is there by then.
    let no_route = of(spendable_msat, 3)?;
    let ended = program.attempt(&["pay", &no_route]).await?;
    refused(&ended, 1, &["the payment failed", "the channels cannot carry the amount"]);
    let payer_id = payer.ask(&["info"]).await?;
    let held: Vec<_> = ground.lsp.holds().await?;
    assert!(held.iter().all(|hold| payer_id["node_id"] != hold.payer.to_string()), "{held:?}");
    let status = payer.ask(&["status"]).await?;
    assert_eq!(status["payments"][0]["state"], "failed", "{status}");

    assert_eq!(payer.ask(&["balance"]).await?, balance);
    let channel = &payer.ask(&["channels"]).await?[0];
    assert_eq!(
        (&channel["pending_outbound_htlcs"], &channel["balance_msat"]),
        (&0.into(), &channels[0]["balance_msat"])
    );
    Ok(())
}
