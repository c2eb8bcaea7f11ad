//! A regtest bitcoind that mines on demand.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::ports::free_port;
use crate::process::{self, Output, Process};
use crate::wait::{SOON, Seen, wait_until};

mod proxy;
mod rpc;

pub use proxy::{Lie, RpcProxy};
use rpc::Rpc;

/// RPC user of every bitcoind here.
pub const RPC_USER: &str = "lightning-rod";
/// RPC password of every bitcoind here: it listens on the loopback address, for one test.
pub const RPC_PASSWORD: &str = "regtest";

const WALLET: &str = "miner";
/// Mined at the start. Beyond the 101 that make coins, since the wallet dates some of its transactions back by up to 99 blocks, against
/// fee sniping, and Bitcoin Knots takes none with the lock time 21: it stands for a token there (`-rejectparasites`).
pub const FIRST_BLOCKS: u32 = 125;
/// How often another port is tried when somebody else took ours first.
const STARTS_MAX: usize = 5;

/// A running regtest bitcoind with a wallet that holds its coins.
#[derive(Debug)]
pub struct Bitcoind {
    process: Process,
    rpc: Rpc,
    folder: PathBuf,
    mining_address: String,
}

impl Bitcoind {
    /// Starts one with its data in `folder`, and mines until it has coins to spend.
    ///
    /// # Errors
    ///
    /// When no bitcoind is found, or it does not start.
    pub async fn start(folder: &Path, progress: &mut dyn FnMut(&str)) -> Result<Self, Failure> {
        let exe = xtask::bitcoind::ensure(progress)?;
        std::fs::create_dir_all(folder)
            .map_err(|source| Failure::File { path: folder.to_owned(), source })?;
        let mut last = None;
        for _ in 0..STARTS_MAX {
            match Self::try_start(&exe, folder).await {
                Ok(mut bitcoind) => {
                    bitcoind.mining_address = bitcoind.new_address().await?;
                    bitcoind.mine(FIRST_BLOCKS).await?;
                    return Ok(bitcoind);
                }
                Err(error @ Failure::Ended { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| Failure::wrong("bitcoind was never started")))
    }

    async fn try_start(exe: &Path, folder: &Path) -> Result<Self, Failure> {
        let port = free_port()?;
        let log = folder.join("bitcoind.log");
        let mut command = process::command(exe);
        command
            .args(["-regtest", "-server", "-listen=0", "-txindex", "-rest", "-printtoconsole=0"])
            .args(["-fallbackfee=0.0001", "-addresstype=bech32", "-changetype=bech32"])
            // Its blocks carry this machine's time, whatever mocked time a test asked for before.
            .args(["-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1", "-rpcthreads=8", "-rpcworkqueue=64"])
            .arg(format!("-rpcuser={RPC_USER}"))
            .arg(format!("-rpcpassword={RPC_PASSWORD}"))
            .arg(format!("-rpcport={port}"))
            .arg(format!("-datadir={}", folder.display()));
        let process = Process::start("bitcoind", command, Output::Log(&log))?;
        let rpc = Rpc::new(port)?;
        let mut bitcoind = Self { process, rpc, folder: folder.to_owned(), mining_address: String::new() };
        wait_until("bitcoind to answer", SOON, async || {
            if let Some(status) = bitcoind.process.ended() {
                let stderr = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(Failure::Ended { name: "bitcoind".to_owned(), status, stderr });
            }
            match bitcoind.rpc.call::<Value>("getblockchaininfo", json!([])).await {
                Ok(_) => Ok(Seen::Done(())),
                Err(error) => Ok(Seen::NotYet(xtask::with_causes(&error))),
            }
        })
        .await?;
        let created = bitcoind.rpc.call::<Value>("createwallet", json!([WALLET])).await;
        if created.is_err() {
            // A bitcoind that was started again in the same folder has it already.
            bitcoind.rpc.call::<Value>("loadwallet", json!([WALLET])).await?;
        }
        Ok(bitcoind)
    }

    /// `http://host:port` of its JSON-RPC interface.
    pub fn rpc_url(&self) -> String {
        self.rpc.url()
    }

    /// The port of its JSON-RPC interface.
    pub fn rpc_port(&self) -> u16 {
        self.rpc.port()
    }

    /// Its data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process group it runs in.
    pub fn group(&self) -> i32 {
        self.process.group()
    }

    /// Calls any RPC method.
    ///
    /// # Errors
    ///
    /// When bitcoind refuses, or answers something else than a `T`.
    pub async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, Failure> {
        self.rpc.call(method, params).await
    }

    /// The height of the best chain.
    ///
    /// # Errors
    ///
    /// When bitcoind does not answer.
    pub async fn height(&self) -> Result<u32, Failure> {
        self.call("getblockcount", json!([])).await
    }

    /// Mines blocks, which confirm everything in the memory pool.
    ///
    /// # Errors
    ///
    /// When bitcoind does not answer.
    pub async fn mine(&self, blocks: u32) -> Result<(), Failure> {
        self.mine_for(&self.mining_address, blocks).await
    }

    /// As [`Bitcoind::mine`], for another miner: in the place of blocks that were invalidated, the same ones could come again.
    ///
    /// # Errors
    ///
    /// When bitcoind does not answer.
    pub async fn mine_others(&self, blocks: u32) -> Result<(), Failure> {
        let address = self.new_address().await?;
        self.mine_for(&address, blocks).await
    }

    async fn mine_for(&self, address: &str, blocks: u32) -> Result<(), Failure> {
        let mined: Vec<String> = self.call("generatetoaddress", json!([blocks, address])).await?;
        if mined.len() != blocks as usize {
            return Err(Failure::wrong(format!("{} blocks were mined instead of {blocks}", mined.len())));
        }
        self.wait_for_wallet().await
    }

    /// The wallet hears of blocks and transactions a moment later, and has fewer coins until then.
    async fn wait_for_wallet(&self) -> Result<(), Failure> {
        self.call::<Value>("syncwithvalidationinterfacequeue", json!([])).await.map(drop)
    }

    /// Mines one block whose time is `seconds` after the latest one's. Later blocks go on from there.
    ///
    /// # Errors
    ///
    /// When bitcoind does not answer.
    pub async fn mine_later(&self, seconds: u64) -> Result<(), Failure> {
        let tip: String = self.call("getbestblockhash", json!([])).await?;
        let header: Value = self.call("getblockheader", json!([tip])).await?;
        let time = header["time"].as_u64().ok_or_else(|| Failure::wrong("a block without a time"))?;
        self.call::<Value>("setmocktime", json!([time + seconds])).await?;
        self.mine(1).await
    }

    /// Sends satoshis to an address; they are there with the next block.
    ///
    /// # Errors
    ///
    /// When bitcoind refuses, for want of coins or because it is no address.
    pub async fn send(&self, address: &str, amount_sat: u64) -> Result<(), Failure> {
        let whole = amount_sat / 100_000_000;
        let amount = format!("{whole}.{:08}", amount_sat % 100_000_000);
        // The change of an earlier payment counts from when the wallet has seen it in the memory pool or in a block.
        wait_until(&format!("{amount} BTC to send"), SOON, async || {
            let balances: Value = self.call("getbalances", json!([])).await?;
            let has_enough =
                balances["mine"]["trusted"].as_f64().is_some_and(|trusted| trusted > amount_sat as f64 / 1e8);
            Ok(if has_enough { Seen::Done(()) } else { Seen::NotYet(balances.to_string()) })
        })
        .await?;
        let txid: String = self.call("sendtoaddress", json!([address, amount])).await?;
        // The wallet gives an id also to what the memory pool does not take at once; a block without it confirms nothing.
        wait_until(&format!("{txid} in the memory pool"), SOON, async || {
            if self.call::<Value>("getmempoolentry", json!([txid])).await.is_ok() {
                return Ok(Seen::Done(()));
            }
            let sent: Value = self.call("gettransaction", json!([txid])).await?;
            let again = self.call::<Value>("sendrawtransaction", json!([sent["hex"]])).await;
            Ok(Seen::NotYet(again.map_or_else(|error| error.to_string(), |txid| txid.to_string())))
        })
        .await?;
        self.wait_for_wallet().await
    }

    /// A fresh address of the miner's wallet.
    ///
    /// # Errors
    ///
    /// When bitcoind does not answer.
    pub async fn new_address(&self) -> Result<String, Failure> {
        self.call("getnewaddress", json!([])).await
    }

    /// Transactions that wait for a block.
    ///
    /// # Errors
    ///
    /// When bitcoind does not answer.
    pub async fn memory_pool(&self) -> Result<Vec<String>, Failure> {
        self.call("getrawmempool", json!([])).await
    }

    /// Waits until `count` transactions wait for a block.
    ///
    /// # Errors
    ///
    /// When they do not come.
    pub async fn wait_for_transactions(&self, count: usize) -> Result<(), Failure> {
        wait_until(&format!("{count} transactions in the memory pool"), SOON, async || {
            let found = self.memory_pool().await?.len();
            Ok(if found >= count { Seen::Done(()) } else { Seen::NotYet(format!("{found}")) })
        })
        .await
    }

    /// Stops it where it is, as a machine that hangs: it takes connections, and answers nothing.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on after [`Bitcoind::freeze`].
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Asks it to stop, and starts it again with the same chain, on another port.
    ///
    /// # Errors
    ///
    /// When it does not end well, or does not come back.
    pub async fn restart(
        self,
        while_it_is_gone: impl AsyncFnOnce() -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let (folder, mining_address) = (self.folder.clone(), self.mining_address.clone());
        self.stop().await?;
        while_it_is_gone().await?;
        let exe = xtask::bitcoind::ensure(&mut |_| ())?;
        Ok(Self { mining_address, ..Self::try_start(&exe, &folder).await? })
    }

    /// Takes the newest `blocks` off the best chain; see [`Bitcoind::reconsider`]. The hash of the lowest of them.
    ///
    /// # Errors
    ///
    /// When bitcoind refuses.
    pub async fn invalidate(&self, blocks: u32) -> Result<String, Failure> {
        let height = self.height().await? + 1 - blocks;
        let hash: String = self.call("getblockhash", json!([height])).await?;
        self.call::<Value>("invalidateblock", json!([hash])).await?;
        Ok(hash)
    }

    /// Puts what [`Bitcoind::invalidate`] took off back, if it still is the best chain.
    ///
    /// # Errors
    ///
    /// When bitcoind refuses.
    pub async fn reconsider(&self, hash: &str) -> Result<(), Failure> {
        self.call::<Value>("reconsiderblock", json!([hash])).await.map(drop)
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    ///
    /// When it does not end well.
    pub async fn stop(self) -> Result<(), Failure> {
        self.process.terminate(Duration::from_secs(60)).await
    }
}
