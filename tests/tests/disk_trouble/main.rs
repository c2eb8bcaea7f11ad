//! The disk under a running LSP is full, locked, failing, read-only or gone for a while: it takes nothing new, says so, and loses
//! nothing.

mod disk;
mod failing;

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tests::attempt::Program;
use tests::failure::{Failure, TestResult};
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};
use tests::wait::{Seen, wait_until};

use disk::SmallDisk;
use failing::{Ext4, refuse_writes};

const AMOUNT_MSAT: u64 = 200_000_000;

/// The status and the body of one of the LSP's health endpoints.
async fn health(stage: &Stage, endpoint: &str) -> Result<(u16, Value), Failure> {
    let url = format!("{}/{endpoint}", stage.payers_lsp().api_url());
    let wrong = |error| Failure::wrong(format!("{endpoint}: {error}"));
    let response = tests::http::client(Duration::from_secs(10))?.get(url).send().await.map_err(wrong)?;
    let status = response.status().as_u16();
    Ok((status, response.json().await.map_err(wrong)?))
}

/// Makes LDK write, and waits until the LSP says what is wrong.
async fn until_in_trouble(stage: &Stage, text: &str) -> Result<(), Failure> {
    stage.bitcoind.mine(1).await?;
    wait_until(&format!("the LSP to say that {text}"), PAYMENT_TIMEOUT, async || {
        let (status, ready) = health(stage, "ready").await?;
        let says = status == 503 && ready.to_string().contains(text);
        Ok(if says { Seen::Done(()) } else { Seen::NotYet(ready.to_string()) })
    })
    .await?;
    // It is worth keeping, all the same.
    let (status, alive) = health(stage, "health").await?;
    assert_eq!(status, 200, "{alive}");
    assert!(alive.to_string().contains(text), "{alive}");
    Ok(())
}

async fn until_well(stage: &Stage) -> Result<(), Failure> {
    wait_until("the LSP to be ready again", PAYMENT_TIMEOUT, async || {
        let (status, ready) = health(stage, "ready").await?;
        Ok(if status == 200 { Seen::Done(()) } else { Seen::NotYet(ready.to_string()) })
    })
    .await
}

/// A payment is held, the trouble comes, the payee comes to answer, a second payer's block is refused, the trouble goes.
async fn story(
    stage: &Stage,
    text: &str,
    begin: impl AsyncFnOnce() -> Result<(), Failure>,
    end: impl AsyncFnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let before = stage.settled_balances().await?;
    let (paid_before, settled_before) = (stage.payee.wakes().len(), stage.payer.wakes().len());
    stage.payee.leave_coverage();
    let pushes = stage.payee.pushes().len();
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay(&invoice, &[]).await?;
    stage.payee.wait_for_push(pushes + 1, PAYMENT_TIMEOUT).await?;

    begin().await?;
    until_in_trouble(stage, text).await?;
    let (second, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    let refused = stage.payer.follow(&["pay", &second], |_| ()).await?;
    assert!(!refused.success, "a hold was granted that nobody could write down: {refused:?}");
    stage.payee.enter_coverage();
    let held = stage.payers_lsp().holds().await?;
    assert_eq!(held.iter().map(|hold| hold.held_parts).collect::<Vec<_>>(), [1]);
    end().await?;

    until_well(stage).await?;
    stage.payee.wait_for_step_since(paid_before, "paid", PAYMENT_TIMEOUT).await?;
    stage.payer.wait_for_step_since(settled_before, "settled", PAYMENT_TIMEOUT).await?;
    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());
    assert!(stage.payers_lsp().log().contains("the database is written again"));
    Ok(())
}

fn locked(database: &Path) -> Result<Connection, Failure> {
    let wrong = |error: rusqlite::Error| Failure::wrong(error.to_string());
    let other = Connection::open(database).map_err(wrong)?;
    other.busy_timeout(Duration::from_secs(60)).map_err(wrong)?;
    other.execute_batch("BEGIN EXCLUSIVE").map_err(wrong)?;
    Ok(other)
}

#[tokio::test]
async fn payments_outlive_a_disk_that_cannot_be_written() -> TestResult {
    let disk = SmallDisk::new()?;
    let database = disk.path().join("lsp.sqlite");
    let url: &'static str = Box::leak(format!("sqlite:{}", database.display()).into_boxed_str());
    let setup = Setup::lsps(1).setting("database.url", url);
    let mut stage = Stage::new(setup.clone()).await?;

    if disk.can_be_filled() {
        let fill = async || {
            disk.fill();
            Ok(())
        };
        story(&stage, "the disk is full", fill, async || disk.empty()).await?;
    }

    let process = stage.payers_lsp().group().ok_or_else(|| Failure::wrong("the LSP does not run"))?;
    let fail = async || refuse_writes(process, true);
    story(&stage, "the disk answers with errors", fail, async || refuse_writes(process, false)).await?;

    // The lock is given up with the connection.
    let holder = std::cell::RefCell::new(None::<Connection>);
    let lock = async || {
        let connection = locked(&database)?;
        *holder.borrow_mut() = Some(connection);
        Ok(())
    };
    let unlock = async || {
        drop(holder.borrow_mut().take());
        Ok(())
    };
    story(&stage, "another process has the database locked", lock, unlock).await?;

    let aside = database.with_extension("aside");
    let rename = |from: &Path, to: &Path| {
        fs::rename(from, to).map_err(|source| Failure::File { path: from.to_owned(), source })
    };
    let go = async || rename(&database, &aside);
    let come_back = async || rename(&aside, &database);
    story(&stage, "not where they were", go, come_back).await?;

    // A second server on the same file, by another name.
    let link = disk.path().join("link.sqlite");
    std::os::unix::fs::symlink(&database, &link)
        .map_err(|source| Failure::File { path: link.clone(), source })?;
    stage.payers_lsp_mut().stop().await?;
    stage.payers_lsp_mut().start().await?;
    assert!(stage.all_channels_open(&setup).await?);
    let second = disk.path().join("second");
    copy_dir(stage.payers_lsp().data_dir(), &second)?;
    let attempt = Program::lsp_server(&second)
        .variable("LSP__DATABASE__URL", format!("sqlite:{}", link.display()))
        .variable("LSP__HTTP__LISTEN", "127.0.0.1:0")
        .variable("LSP__LIGHTNING__LISTEN", "127.0.0.2:0")
        .attempt(&["run"])
        .await?;
    assert_ne!(attempt.code, Some(0));
    assert!(attempt.stderr.contains("in use by another process"), "{attempt:?}");
    stage.finish().await?;
    Ok(())
}

/// The kernel makes the file system read-only under the open files, as it does after an error of the disk. The only way out is a stop, a
/// repair and a start.
#[tokio::test]
async fn payments_outlive_a_file_system_that_goes_read_only() -> TestResult {
    let Some(disk) = Ext4::new()? else { return Ok(()) };
    let url: &'static str =
        Box::leak(format!("sqlite:{}", disk.path().join("lsp.sqlite").display()).into_boxed_str());
    let setup = Setup::lsps(1).setting("database.url", url);
    let mut stage = Stage::new(setup.clone()).await?;
    let before = stage.settled_balances().await?;
    stage.payee.leave_coverage();
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay(&invoice, &[]).await?;
    stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;

    disk.fail()?;
    // To SQLite, which has its files open already, each write fails.
    until_in_trouble(&stage, "the disk answers with errors").await?;
    let (second, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    let refused = stage.payer.follow(&["pay", &second], |_| ()).await?;
    assert!(!refused.success, "a hold was granted that nobody could write down: {refused:?}");
    let held = stage.payers_lsp().holds().await?;
    assert_eq!(held.iter().map(|hold| hold.held_parts).collect::<Vec<_>>(), [1]);
    stage.payers_lsp_mut().kill().await;
    disk.repair()?;

    stage.payers_lsp_mut().start().await?;
    stage.payee.enter_coverage();
    stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    stage.payer.wait_for_step("settled", PAYMENT_TIMEOUT).await?;
    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());
    assert!(stage.all_channels_open(&setup).await?);
    stage.finish().await?;
    Ok(())
}

/// The plain files of a data directory.
fn copy_dir(from: &Path, to: &Path) -> Result<(), Failure> {
    let failure = |source| Failure::File { path: from.to_owned(), source };
    fs::create_dir(to).map_err(failure)?;
    for entry in fs::read_dir(from).map_err(failure)? {
        let entry = entry.map_err(failure)?;
        if entry.file_type().map_err(failure)?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).map_err(failure)?;
        }
    }
    Ok(())
}
