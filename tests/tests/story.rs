//! The demo's story, told by the demo: it checks itself, to the millisatoshi.

use std::process::Stdio;
use std::time::Duration;

use tests::failure::{Failure, TestResult};
use tokio::process::Command;

/// With the stage's setting-up, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(300);

async fn demo(arguments: &[&str]) -> Result<String, Failure> {
    let failure = |source| Failure::Start { name: "demo".to_owned(), source };
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(TIMEOUT, output).await {
        Ok(output) => output.map_err(failure)?,
        Err(_) => {
            let what = "the end of the demo".to_owned();
            return Err(Failure::Timeout { what, timeout: TIMEOUT, last: None });
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        Ok(text)
    } else {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::Ended { name: "demo".to_owned(), status: output.status, stderr })
    }
}

#[tokio::test]
async fn two_phones_with_an_lsp_each() -> TestResult {
    let told = demo(&[]).await?;
    for part in ["push received: sealed", "10 blocks pass", "state waiting", "push received: payment_settled"]
    {
        assert!(told.contains(part), "not told: {part}");
    }
    Ok(())
}

#[tokio::test]
async fn two_phones_with_one_lsp() -> TestResult {
    let told = demo(&["--lsps", "1"]).await?;
    assert!(!told.contains("lsp_b"));
    Ok(())
}

#[tokio::test]
async fn a_payment_in_three_parts() -> TestResult {
    let told = demo(&["--parts", "3"]).await?;
    assert!(told.contains("3 HTLCs"), "not three HTLCs");
    Ok(())
}
