//! The chain that everything else runs on.

use std::time::Duration;

use serde_json::{Value, json};
use tests::bitcoind::{Bitcoind, FIRST_BLOCKS};
use tests::failure::TestResult;
use tests::folder::Folder;

#[tokio::test]
async fn a_chain_starts_mines_pays_and_stops() -> TestResult {
    let folder = Folder::new()?;
    let bitcoind = Bitcoind::start(folder.path(), &mut |text| eprintln!("{text}")).await?;
    assert_eq!(bitcoind.height().await?, FIRST_BLOCKS);

    let address = bitcoind.new_address().await?;
    bitcoind.send(&address, 123_456_789).await?;
    bitcoind.wait_for_transactions(1).await?;
    bitcoind.mine(1).await?;
    assert!(bitcoind.memory_pool().await?.is_empty());
    let received: Value = bitcoind.call("getreceivedbyaddress", json!([address])).await?;
    assert_eq!(received.as_f64(), Some(1.234_567_89));

    bitcoind.stop().await?;
    Ok(())
}

#[tokio::test]
async fn block_time_can_run_ahead() -> TestResult {
    let folder = Folder::new()?;
    let bitcoind = Bitcoind::start(folder.path(), &mut |text| eprintln!("{text}")).await?;
    let two_weeks = Duration::from_secs(14 * 24 * 3600).as_secs();
    let time = async || -> Result<u64, tests::failure::Failure> {
        let chain: Value = bitcoind.call("getblockchaininfo", json!([])).await?;
        Ok(chain["time"].as_u64().unwrap_or_default())
    };
    let before = time().await?;
    bitcoind.mine_later(two_weeks).await?;
    assert_eq!(time().await?, before + two_weeks);
    Ok(())
}
