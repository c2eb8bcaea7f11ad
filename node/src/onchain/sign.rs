//! Signing the wallet's own inputs, in whole transactions and in those that LDK completes.

use bdk_wallet::{KeychainKind, Wallet};
use bitcoin::bip32::{ChildNumber, DerivationPath};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{NetworkKind, Psbt, Witness, ecdsa};

use super::OnChainWallet;
use crate::error::NodeError;

/// BIP 43 purpose of BIP 84.
const PURPOSE: u32 = 84;

impl OnChainWallet {
    /// Gives every P2WPKH input of this wallet its final witness, and leaves all others alone.
    pub(super) fn sign_own_inputs(&self, wallet: &Wallet, psbt: &mut Psbt) -> Result<(), NodeError> {
        let transaction = psbt.unsigned_tx.clone();
        let mut cache = SighashCache::new(&transaction);
        let secp = wallet.secp_ctx();
        for (index, input) in psbt.inputs.iter_mut().enumerate() {
            let Some(output) = input.witness_utxo.clone() else { continue };
            let Some((keychain, child)) = wallet.derivation_of_spk(output.script_pubkey.clone()) else {
                continue;
            };
            let path = self.derivation_path(keychain, child)?;
            let key = self
                .key
                .derive_priv(secp, &path)
                .map_err(|error| NodeError::on_chain("derive a key", error))?
                .private_key;
            let sighash = cache
                .p2wpkh_signature_hash(index, &output.script_pubkey, output.value, EcdsaSighashType::All)
                .map_err(|error| NodeError::on_chain("sign", error))?;
            let signature = secp.sign_ecdsa(&sighash.into(), &key);
            let witness = Witness::p2wpkh(&ecdsa::Signature::sighash_all(signature), &key.public_key(secp));
            input.final_script_witness = Some(witness);
        }
        Ok(())
    }

    /// `m/84'/coin'/0'/keychain/child`.
    fn derivation_path(&self, keychain: KeychainKind, child: u32) -> Result<DerivationPath, NodeError> {
        let coin = if self.key.network == NetworkKind::Main { 0 } else { 1 };
        let branch = match keychain {
            KeychainKind::External => 0,
            KeychainKind::Internal => 1,
        };
        let hardened = |index| ChildNumber::from_hardened_idx(index);
        let normal = |index| ChildNumber::from_normal_idx(index);
        [hardened(PURPOSE), hardened(coin), hardened(0), normal(branch), normal(child)]
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map(DerivationPath::from)
            .map_err(|error| NodeError::on_chain("derive a key", error))
    }
}
