//! What an LSP takes for forwarding.

/// What an LSP takes for forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeePolicy {
    /// For each HTLC, in millisatoshi.
    pub base_msat: u64,
    /// Of the amount that it forwards.
    pub proportional_millionths: u64,
}

impl FeePolicy {
    /// The fee for forwarding `amount_msat`, as BOLT 7 computes it.
    pub fn fee_msat(&self, amount_msat: u64) -> u64 {
        self.base_msat + amount_msat * self.proportional_millionths / 1_000_000
    }

    /// How much of `offered_msat` is left to forward after the fee: the most for which the fee is still paid.
    pub fn forwarded_msat(&self, offered_msat: u64) -> u64 {
        let millionths = u128::from(self.proportional_millionths);
        let after_base = u128::from(offered_msat.saturating_sub(self.base_msat));
        // The fee is rounded down, so that one millisatoshi more may fit than the plain division says.
        let mut amount =
            u64::try_from(after_base * 1_000_000 / (1_000_000 + millionths)).unwrap_or(offered_msat);
        while amount + 1 + self.fee_msat(amount + 1) <= offered_msat {
            amount += 1;
        }
        amount
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forwarded_pays_its_fee_and_no_more_would() {
        for fees in [
            FeePolicy { base_msat: 1_000, proportional_millionths: 100 },
            FeePolicy { base_msat: 0, proportional_millionths: 999_999 },
            FeePolicy { base_msat: 7, proportional_millionths: 0 },
        ] {
            for amount in (1..2_000).chain([999_999, 1_000_000, 50_000_000, 2_099_999_999]) {
                let forwarded = fees.forwarded_msat(amount + fees.fee_msat(amount));
                assert!(forwarded >= amount, "{fees:?}: {forwarded} of {amount}");
                assert!(forwarded + fees.fee_msat(forwarded) <= amount + fees.fee_msat(amount));
            }
        }
    }
}
