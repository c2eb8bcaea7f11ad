//! An LSP whose database was put back to an earlier state, with a peer that knows better.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tests::attempt::Program;
use tests::failure::{Failure, TestResult};
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};

const AMOUNT_MSAT: u64 = 100_000_000;

/// sysexits.h: `EX_CONFIG`.
const STALE: Option<i32> = Some(78);

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to).map(drop).map_err(|source| Failure::File { path: to.to_owned(), source })
}

#[tokio::test]
async fn an_old_copy_does_not_run() -> TestResult {
    let mut stage = Stage::new(Setup::lsps(2)).await?;
    let data_dir = stage.payers_lsp().data_dir().to_owned();
    let (database, witness) = (data_dir.join("lsp.sqlite"), data_dir.join("witness"));
    let (old, old_witness) = (data_dir.join("old.sqlite"), data_dir.join("old.witness"));
    let old_name = old.display().to_string();
    stage.payers_lsp().tell(&["backup", &old_name], None).await?;
    copy(&witness, &old_witness)?;

    // The channel to the other LSP moves on.
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay_to_the_end(&invoice).await?;
    stage.settled_balances().await?;
    stage.payers_lsp_mut().stop().await?;
    let newest = data_dir.join("newest.sqlite");
    copy(&database, &newest)?;

    // Only the database was restored: it is told by its witness.
    copy(&old, &database)?;
    let listen = stage.payers_lsp().listen().to_string();
    let program = Program::lsp_server(&data_dir)
        .variable("LSP__LIGHTNING__LISTEN", listen)
        .variable("LSP__PUSH__ALLOW_PRIVATE_ADDRESSES", "true");
    let refused = program.attempt(&["run"]).await?;
    assert_eq!(refused.code, STALE, "{refused:?}");
    assert!(refused.stderr.contains("OLD COPY"), "{refused:?}");

    // The witness was restored too. The other LSP knows better, and proves it.
    copy(&old_witness, &witness)?;
    let proved = program.attempt(&["run"]).await?;
    assert_eq!(proved.code, STALE, "{proved:?}");
    assert!(proved.stderr.contains("PROVED"), "{proved:?}");
    let again = program.attempt(&["run"]).await?;
    assert_eq!(again.code, STALE, "{again:?}");
    assert!(again.stderr.contains("PROVED"), "{again:?}");
    assert!(!again.stderr.contains("the server is up"), "{again:?}");
    let doctor = program.attempt(&["doctor"]).await?;
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert!(doctor.stdout.contains("PROVED"), "{doctor:?}");
    Ok(())
}

/// The machine of the payer's LSP is lost while a payment is held. Another one gets what storage that is replicated synchronously still
/// has: the newest database, without its witness. It runs only once the operator has said that it is the newest, and then nothing is lost.
#[tokio::test]
async fn the_newest_state_goes_on_where_it_was_once_it_is_accepted() -> TestResult {
    let mut stage = Stage::new(Setup::lsps(2)).await?;
    let before = stage.balances().await?;
    stage.payee.leave_coverage();
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay(&invoice, &[]).await?;
    stage.payers_lsp_mut().kill().await;

    let data_dir = stage.payers_lsp().data_dir().to_owned();
    let lost = data_dir.with_extension("lost");
    let failure = |source| Failure::File { path: data_dir.clone(), source };
    fs::rename(&data_dir, &lost).map_err(failure)?;
    fs::create_dir(&data_dir).map_err(failure)?;
    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o700)).map_err(failure)?;
    for name in ["config.toml", "seed", "push-token.key", "lsp.sqlite", "lsp.sqlite-wal"] {
        copy(&lost.join(name), &data_dir.join(name))?;
    }
    let listen = stage.payers_lsp().listen().to_string();
    let program = Program::lsp_server(&data_dir).variable("LSP__LIGHTNING__LISTEN", listen);
    let refused = program.attempt(&["run"]).await?;
    assert_eq!(refused.code, STALE, "{refused:?}");
    assert!(refused.error().contains("accept-database"), "{refused:?}");
    let (_, generation) = refused.error().split_once("it is at generation ").unwrap_or_default();
    let generation: u64 =
        generation.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse()?;
    for wrong in [generation - 1, generation + 1] {
        let refused = program.attempt(&["accept-database", "--generation", &wrong.to_string()]).await?;
        assert_ne!(refused.code, Some(0), "{refused:?}");
        assert_eq!(program.attempt(&["run"]).await?.code, STALE, "nothing was changed");
    }
    let accepted = program.attempt(&["accept-database", "--generation", &generation.to_string()]).await?;
    assert_eq!(accepted.code, Some(0), "{accepted:?}");

    stage.payers_lsp_mut().start().await?;
    assert_eq!(stage.payers_lsp().holds().await?.len(), 1);
    stage.payee.enter_coverage();
    stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    stage.payer.wait_for_step("settled", PAYMENT_TIMEOUT).await?;
    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());
    stage.finish().await?;
    Ok(())
}
