//! An LSP whose database was put back to an earlier state, with a peer that knows better.

use std::fs;
use std::path::Path;

use tests::attempt::Program;
use tests::failure::{Failure, TestResult};
use tests::stage::{Setup, Stage};

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
