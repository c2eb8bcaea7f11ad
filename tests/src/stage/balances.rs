//! Who has how much.

use super::Stage;
use crate::failure::Failure;

/// What everybody has in channels, in millisatoshi, as each of them says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balances {
    /// By the payer's wallet.
    pub payer_msat: u64,
    /// By each LSP, in the stage's order.
    pub lsps_msat: Vec<u64>,
    /// By the payee's wallet.
    pub payee_msat: u64,
}

impl Stage {
    /// Asks all of them. The phones' wallets are started for it, and go off again.
    ///
    /// # Errors
    ///
    /// When one does not answer.
    pub async fn balances(&self) -> Result<Balances, Failure> {
        let of_wallet = async |phone: &crate::phone::Phone| {
            let answer = phone.ask(&["balance"]).await?;
            answer["lightning_msat"]
                .as_u64()
                .ok_or_else(|| Failure::wrong(format!("no lightning_msat in {answer}")))
        };
        let mut lsps_msat = Vec::new();
        for lsp in &self.lsps {
            lsps_msat.push(lsp.balance_msat().await?);
        }
        Ok(Balances {
            payer_msat: of_wallet(&self.payer).await?,
            lsps_msat,
            payee_msat: of_wallet(&self.payee).await?,
        })
    }
}

impl Balances {
    /// All of it. Payments move money, and neither make nor burn any.
    pub fn total_msat(&self) -> u64 {
        self.payer_msat + self.lsps_msat.iter().sum::<u64>() + self.payee_msat
    }
}
