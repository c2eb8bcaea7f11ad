//! Money on chain and in channels: what everybody has, and what the chain took of it, with nothing left over.

use bitcoin::Amount;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bitcoind::Bitcoind;
use crate::failure::Failure;
use crate::lsp::Lsp;
use crate::puppet::Puppet;
use crate::stage::PAYMENT_TIMEOUT;
use crate::wait::{Seen, wait_until};

/// Each side's anchor output on a commitment (BOLT 3). The opener pays for both, and neither side counts them as its own.
const ANCHOR_SAT: u64 = 330;

/// A commitment has whole satoshi: what is left over of a side's balance, or of an HTLC, is part of the commitment's fee. One owner of a
/// closed channel so may have less than its due, by less than this for each balance and HTLC of its own. The sum of all
/// owners and fees is exact.
pub const ROUNDING_MSAT: u64 = 1_000;

/// Looks at an unchanged world between two handfuls of blocks.
const LOOKS_PER_HANDFUL: u32 = 5;

/// Blocks in a handful: something may wait for its time lock.
const HANDFUL_BLOCKS: u32 = 12;

/// Whose money is counted.
#[derive(Clone, Copy)]
pub enum Owner<'a> {
    /// An LSP that runs.
    Lsp(&'a Lsp),
    /// A phone that is online.
    Phone(&'a Puppet),
}

/// What one owner has, as it says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wealth {
    /// On chain.
    pub on_chain_sat: u64,
    /// In channels, HTLCs in flight excluded.
    pub channels_msat: u64,
}

impl Wealth {
    /// All of it.
    pub fn total_msat(&self) -> u64 {
        self.on_chain_sat * 1_000 + self.channels_msat
    }
}

impl Owner<'_> {
    /// Asks.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn wealth(&self) -> Result<Wealth, Failure> {
        Ok(match self {
            Self::Lsp(lsp) => {
                let info = lsp.info().await?;
                Wealth { on_chain_sat: info.on_chain_total_sat, channels_msat: info.lightning_balance_msat.0 }
            }
            Self::Phone(phone) => {
                let balances = phone.node().balances();
                Wealth { on_chain_sat: balances.on_chain.total_sat, channels_msat: balances.lightning.0 }
            }
        })
    }

    async fn height(&self) -> Result<u32, Failure> {
        Ok(match self {
            Self::Lsp(lsp) => lsp.info().await?.height.0,
            Self::Phone(phone) => phone.height().0,
        })
    }

    /// The funding outputs of its channels, and the HTLCs on them.
    async fn channels(&self) -> Result<(Vec<String>, usize), Failure> {
        Ok(match self {
            Self::Lsp(lsp) => {
                let channels = lsp.channels().await?;
                let fundings = channels.iter().filter_map(|one| Some(one.funding?.to_string())).collect();
                let htlcs = channels.iter().map(|one| one.pending_inbound_htlcs + one.pending_outbound_htlcs);
                (fundings, htlcs.sum())
            }
            Self::Phone(phone) => {
                let channels = phone.node().channels();
                let fundings = channels.iter().filter_map(|one| Some(one.funding?.to_string())).collect();
                let htlcs = channels.iter().map(|one| one.pending_inbound_htlcs + one.pending_outbound_htlcs);
                (fundings, htlcs.sum())
            }
        })
    }
}

/// What the chain took since the books were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Channels whose commitment is in a block.
    pub closes: u64,
    /// Fees of these commitments, with what was rounded off and trimmed: of the channels' openers.
    pub commitments_sat: u64,
    /// Fees of what came of them: the anchors' children, the claims of HTLCs, the sweeps. Each is its sender's.
    pub others_sat: u64,
    /// Anchors that their owner has spent, in a child of the commitment: they are in the fees, or in its wallet.
    pub anchors_spent_sat: u64,
    /// Anchors that nobody has spent: it costs more than they are worth.
    pub anchors_left_sat: u64,
}

#[derive(Deserialize)]
struct Block {
    tx: Vec<Transaction>,
}

#[derive(Clone, Deserialize)]
struct Transaction {
    txid: String,
    vin: Vec<Input>,
    vout: Vec<Output>,
    /// In bitcoin. A coinbase has none.
    fee: Option<f64>,
}

#[derive(Clone, Deserialize)]
struct Input {
    txid: Option<String>,
    vout: Option<u32>,
}

#[derive(Clone, Deserialize)]
struct Output {
    n: u32,
    /// In bitcoin.
    value: f64,
}

fn sat(bitcoin: f64) -> Result<u64, Failure> {
    let amount = Amount::from_btc(bitcoin);
    amount.map(Amount::to_sat).map_err(|error| Failure::wrong(format!("{bitcoin} BTC: {error}")))
}

/// Books over some owners' money, opened when nothing was under way. From then on all money that comes to them, or goes, is theirs: the
/// miner sends none.
pub struct Books {
    before_msat: u64,
    /// The channels' funding outputs.
    fundings: Vec<String>,
    /// The next block to read.
    next: u32,
    /// All of the owners' transactions in blocks since.
    seen: Vec<Transaction>,
}

impl Books {
    /// Opens the books over all owners of all channels.
    ///
    /// # Errors
    ///
    /// When something is under way, or what the owners say they have is not what is in their channels.
    pub async fn open(bitcoind: &Bitcoind, owners: &[Owner<'_>]) -> Result<Self, Failure> {
        let pool = bitcoind.memory_pool().await?;
        let height = bitcoind.height().await?;
        let (mut before_msat, mut channels_msat, mut fundings, mut htlcs) = (0, 0, Vec::new(), 0);
        for owner in owners {
            let (of_owner, on_them) = owner.channels().await?;
            let wealth = owner.wealth().await?;
            before_msat += wealth.total_msat();
            channels_msat += wealth.channels_msat;
            fundings.extend(of_owner);
            htlcs += on_them;
        }
        fundings.sort();
        fundings.dedup();
        let mut books = Self { before_msat, fundings, next: height + 1, seen: Vec::new() };
        let capacity_sat = books.capacity_sat(bitcoind).await?;
        let expected_msat = capacity_sat.saturating_sub(2 * ANCHOR_SAT * books.fundings.len() as u64) * 1_000;
        if !pool.is_empty() || htlcs > 0 || channels_msat != expected_msat {
            return Err(Failure::wrong(format!(
                "the books cannot be opened: {} transactions and {htlcs} HTLCs are under way, {channels_msat} msat \
                 are in channels of {capacity_sat} sat",
                pool.len()
            )));
        }
        books.read(bitcoind).await?;
        Ok(books)
    }

    /// What lies in the channels that are not closed.
    async fn capacity_sat(&self, bitcoind: &Bitcoind) -> Result<u64, Failure> {
        let mut sum_sat = 0;
        for funding in &self.fundings {
            let (txid, index) = funding.split_once(':').unwrap_or((funding, ""));
            let index: u32 = index.parse().map_err(|_| Failure::wrong(format!("{funding} is no output")))?;
            if let Some(output) = unspent(bitcoind, txid, index).await? {
                sum_sat += sat(output)?;
            }
        }
        Ok(sum_sat)
    }

    /// Reads the blocks that came since.
    async fn read(&mut self, bitcoind: &Bitcoind) -> Result<(), Failure> {
        let height = bitcoind.height().await?;
        while self.next <= height {
            let hash: String = bitcoind.call("getblockhash", json!([self.next])).await?;
            let block: Block = bitcoind.call("getblock", json!([hash, 2])).await?;
            self.seen.extend(block.tx.into_iter().filter(|transaction| transaction.fee.is_some()));
            self.next += 1;
        }
        Ok(())
    }

    /// What the chain took so far.
    ///
    /// # Errors
    ///
    /// When bitcoind does not answer.
    pub async fn taken(&mut self, bitcoind: &Bitcoind) -> Result<Taken, Failure> {
        self.read(bitcoind).await?;
        let mut taken = Taken::default();
        for transaction in &self.seen {
            let fee_sat = sat(transaction.fee.unwrap_or_default())?;
            let spends_funding = transaction.vin.iter().any(|input| match (&input.txid, input.vout) {
                (Some(txid), Some(index)) => self.fundings.contains(&format!("{txid}:{index}")),
                _ => false,
            });
            if !spends_funding {
                taken.others_sat += fee_sat;
                continue;
            }
            taken.closes += 1;
            taken.commitments_sat += fee_sat;
            for output in &transaction.vout {
                if sat(output.value)? != ANCHOR_SAT {
                    continue;
                }
                match unspent(bitcoind, &transaction.txid, output.n).await? {
                    Some(_) => taken.anchors_left_sat += ANCHOR_SAT,
                    None => taken.anchors_spent_sat += ANCHOR_SAT,
                }
            }
        }
        Ok(taken)
    }

    /// Mines until all that the owners had is accounted for: in their wallets, in their channels, or taken by the chain. To the
    /// millisatoshi.
    ///
    /// # Errors
    ///
    /// When something stays missing, or there is more than there was.
    pub async fn wait_until_even(
        &mut self,
        bitcoind: &Bitcoind,
        owners: &[Owner<'_>],
    ) -> Result<Taken, Failure> {
        let mut looks = 0;
        wait_until("all money to be accounted for", 2 * PAYMENT_TIMEOUT, async || {
            if !bitcoind.memory_pool().await?.is_empty() {
                bitcoind.mine(1).await?;
                return Ok(Seen::NotYet("transactions wait for a block".to_owned()));
            }
            let height = bitcoind.height().await?;
            let (mut now_msat, mut heights) = (0, Vec::new());
            for owner in owners {
                heights.push(owner.height().await?);
                now_msat += owner.wealth().await?.total_msat();
            }
            if heights.iter().any(|of_owner| *of_owner < height) {
                return Ok(Seen::NotYet(format!("{heights:?} of {height} blocks are seen")));
            }
            let taken = self.taken(bitcoind).await?;
            // A channel's anchors are on its books until it is closed, and on the chain's from then on.
            let had_msat = self.before_msat + 2 * ANCHOR_SAT * 1_000 * taken.closes;
            let fees_sat = taken.commitments_sat + taken.others_sat + taken.anchors_left_sat;
            if had_msat == now_msat + fees_sat * 1_000 {
                return Ok(Seen::Done(taken));
            }
            looks += 1;
            if looks % LOOKS_PER_HANDFUL == 0 {
                bitcoind.mine(HANDFUL_BLOCKS).await?;
            }
            Ok(Seen::NotYet(format!(
                "they had {had_msat} msat, have {now_msat}, and the chain took {taken:?}"
            )))
        })
        .await
    }
}

/// The value of an output in bitcoin, if no block has spent it.
async fn unspent(bitcoind: &Bitcoind, txid: &str, index: u32) -> Result<Option<f64>, Failure> {
    let found: Value = bitcoind.call("gettxout", json!([txid, index, false])).await?;
    Ok(found["value"].as_f64())
}
