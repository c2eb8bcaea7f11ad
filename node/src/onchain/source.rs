//! The on-chain wallet as LDK sees it: coins for anchor bumps, scripts for sweeps.

use bitcoin::{OutPoint, Psbt, ScriptBuf, Transaction};
use lightning::sign::ChangeDestinationSource;
use lightning::util::wallet_utils::{Utxo, WalletSource};

use super::OnChainWallet;

impl WalletSource for OnChainWallet {
    fn list_confirmed_utxos<'a>(&'a self) -> impl Future<Output = Result<Vec<Utxo>, ()>> + Send + 'a {
        let utxos = self
            .lock()
            .list_unspent()
            .filter(|coin| coin.chain_position.is_confirmed())
            .filter_map(|coin| {
                let script = coin.txout.script_pubkey.as_script();
                let hash = script.is_p2wpkh().then(|| script.as_bytes().get(2..22)?.try_into().ok())??;
                let hash: [u8; 20] = hash;
                let hash = bitcoin::hashes::Hash::from_byte_array(hash);
                Some(Utxo::new_v0_p2wpkh(coin.outpoint, coin.txout.value, &hash))
            })
            .collect();
        std::future::ready(Ok(utxos))
    }

    fn get_prevtx<'a>(
        &'a self,
        outpoint: OutPoint,
    ) -> impl Future<Output = Result<Transaction, ()>> + Send + 'a {
        let found = self.lock().get_tx(outpoint.txid).map(|tx| tx.tx_node.tx.as_ref().clone());
        std::future::ready(found.ok_or(()))
    }

    fn get_change_script<'a>(&'a self) -> impl Future<Output = Result<ScriptBuf, ()>> + Send + 'a {
        std::future::ready(Ok(self.change_script()))
    }

    fn sign_psbt<'a>(&'a self, psbt: Psbt) -> impl Future<Output = Result<Transaction, ()>> + Send + 'a {
        let mut psbt = psbt;
        let signed = self.sign_own_inputs(&self.lock(), &mut psbt).map_err(|error| {
            tracing::error!(%error, "the on-chain wallet cannot sign for LDK");
        });
        // LDK signs the channel's own inputs afterwards: a partly signed transaction is what it wants.
        std::future::ready(signed.map(|()| psbt.extract_tx_unchecked_fee_rate()))
    }
}

impl ChangeDestinationSource for OnChainWallet {
    fn get_change_destination_script<'a>(
        &'a self,
    ) -> impl Future<Output = Result<ScriptBuf, ()>> + Send + 'a {
        std::future::ready(Ok(self.change_script()))
    }
}
