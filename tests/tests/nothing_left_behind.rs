//! What tests start does not outlive them.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::bitcoind::Bitcoind;
use tests::failure::{Failure, TestResult};
use tests::folder::Folder;
use tests::wait::{SOON, Seen, wait_until};

/// Makes the second test the one that is killed, instead of one that does nothing.
const VICTIM_VAR: &str = "LIGHTNING_ROD_TEST_VICTIM";
const MARK: &str = "the victim runs: ";

/// By its port, not by its process id: whoever inherits a killed process may take its time to reap it.
fn runs(rpc_port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, rpc_port)).is_ok()
}

async fn wait_for_end(rpc_port: u16, folder: PathBuf) -> Result<(), Failure> {
    wait_until("bitcoind and its folder to be gone", SOON, async || {
        let seen = format!("runs: {}, folder: {}", runs(rpc_port), folder.exists());
        Ok(if !runs(rpc_port) && !folder.exists() { Seen::Done(()) } else { Seen::NotYet(seen) })
    })
    .await
}

#[tokio::test]
async fn a_killed_test_leaves_nothing() -> TestResult {
    let mut victim = Command::new(std::env::current_exe()?)
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM_VAR, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(victim.stdout.take().ok_or_else(|| Failure::wrong("no output"))?);
    let mut found = None;
    for line in output.lines() {
        if let Some((_, rest)) = line?.split_once(MARK) {
            found = rest.split_once(' ').map(|(port, folder)| (port.parse(), PathBuf::from(folder)));
            break;
        }
    }
    let (rpc_port, folder) = found.ok_or_else(|| Failure::wrong("the victim says nothing"))?;
    let rpc_port = rpc_port?;
    assert!(runs(rpc_port) && folder.exists());

    victim.kill()?;
    victim.wait()?;
    wait_for_end(rpc_port, folder).await?;
    Ok(())
}

#[tokio::test]
async fn victim() -> TestResult {
    if std::env::var_os(VICTIM_VAR).is_none() {
        return Ok(());
    }
    let folder = Folder::new()?;
    let bitcoind = Bitcoind::start(&folder.path().join("bitcoind"), &mut |_| ()).await?;
    println!("{MARK}{} {}", bitcoind.rpc_port(), folder.path().display());
    tokio::time::sleep(Duration::from_secs(600)).await;
    Err(Failure::wrong("nobody killed the victim").into())
}

#[tokio::test]
async fn a_finished_test_leaves_nothing() -> TestResult {
    let folder = Folder::new()?;
    let path = folder.path().to_owned();
    let bitcoind = Bitcoind::start(&folder.path().join("bitcoind"), &mut |_| ()).await?;
    let rpc_port = bitcoind.rpc_port();
    assert!(runs(rpc_port));
    drop(bitcoind);
    drop(folder);
    wait_for_end(rpc_port, path).await?;
    Ok(())
}
