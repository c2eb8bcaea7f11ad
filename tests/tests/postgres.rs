//! The whole server on a Postgres database.

use storage::testing::Scratch;
use tests::attempt::Program;
use tests::failure::TestResult;
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};

const AMOUNT_MSAT: u64 = 300_000_000;

/// A payment is held while the LSP is killed and started again, and while Postgres ends all its sessions; once more the LSP is killed
/// right after the payee has it.
#[tokio::test]
async fn a_held_payment_outlives_the_lsp_and_its_sessions() -> TestResult {
    let Some(scratch) = Scratch::postgres() else { return Ok(()) };
    let url: &'static str = scratch.url_text().to_owned().leak();
    let setup = Setup::lsps(1).setting("database.url", url);
    let mut stage = Stage::new(setup.clone()).await?;
    assert!(!stage.payers_lsp().data_dir().join("lsp.sqlite").exists());
    let before = stage.balances().await?;
    stage.payee.leave_coverage();
    stage.payer.leave_coverage();
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay(&invoice, &[]).await?;
    stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    let held = stage.payers_lsp().holds().await?;
    assert_eq!(held.iter().map(|hold| hold.held_parts).collect::<Vec<_>>(), [1]);

    stage.payers_lsp_mut().kill().await;
    stage.payers_lsp_mut().start().await?;
    assert_eq!(stage.payers_lsp().holds().await?, held);
    scratch.end_sessions();
    stage.mine(1).await?;
    assert_eq!(stage.payers_lsp().holds().await?, held);

    stage.payee.enter_coverage();
    stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    stage.payers_lsp_mut().kill().await;
    stage.payers_lsp_mut().start().await?;
    stage.payer.enter_coverage();
    stage.payer.wait_for_step("settled", PAYMENT_TIMEOUT).await?;

    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());
    assert!(stage.all_channels_open(&setup).await?);
    assert!(!stage.payers_lsp().log().contains(url), "the log shows the database's password");
    stage.finish().await?;
    Ok(())
}

/// sysexits.h: `EX_CONFIG`.
const STALE: Option<i32> = Some(78);

/// A dump that was put back is told by its witness.
#[tokio::test]
async fn an_old_dump_does_not_run() -> TestResult {
    let Some(scratch) = Scratch::postgres() else { return Ok(()) };
    let url: &'static str = scratch.url_text().to_owned().leak();
    let mut stage = Stage::new(Setup::lsps(1).setting("database.url", url)).await?;
    let refused = stage.payers_lsp().tell(&["backup", "copy"], None).await.unwrap_err();
    assert!(refused.to_string().contains("pg_dump"), "{refused}");
    let dump = stage.folder().join("dump");
    scratch.dump(&dump);

    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay_to_the_end(&invoice).await?;
    stage.payers_lsp_mut().stop().await?;

    scratch.restore(&dump);
    let program = Program::lsp_server(stage.payers_lsp().data_dir())
        .variable("LSP__LIGHTNING__LISTEN", stage.payers_lsp().listen().to_string())
        .variable("LSP__DATABASE__URL", url);
    let refused = program.attempt(&["run"]).await?;
    assert_eq!(refused.code, STALE, "{refused:?}");
    assert!(refused.stderr.contains("OLD COPY"), "{refused:?}");
    let doctor = program.attempt(&["doctor"]).await?;
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert!(doctor.stdout.contains("OLD COPY"), "{doctor:?}");
    Ok(())
}
