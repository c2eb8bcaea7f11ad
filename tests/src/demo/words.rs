//! What the processes say, in words for a newcomer.

use serde_json::Value;
use tests::wallet::Line;

/// An amount as satoshi, with the millisatoshi behind the point: `2,100,000.042 sat`.
pub(crate) fn sat(msat: u64) -> String {
    let whole = grouped(msat / 1000);
    match msat % 1000 {
        0 => format!("{whole} sat"),
        rest => format!("{whole}.{rest:03} sat"),
    }
}

/// A difference, with its sign.
pub(crate) fn signed_sat(before: u64, after: u64) -> String {
    if after >= before { format!("+{}", sat(after - before)) } else { format!("-{}", sat(before - after)) }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 part`, `3 parts`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Why a push was sent.
pub(crate) fn push(reason: &str) -> &str {
    match reason {
        tests::phone::SEALED => "only the wallet can read why",
        "onion_message" => "a message waits in the LSP's mailbox",
        "payment_incoming" => "a payment waits to be let in",
        "payment_settled" => "your payment was taken; come and settle it",
        "payment_failed" => "your payment failed; come and take the money back",
        "expiry_soon" => "a payment on your channel is about to expire",
        _ => "a reason that this demo does not know",
    }
}

/// A step of a wallet; `None` for one that the story does not need.
pub(crate) fn step(line: &Line) -> Option<String> {
    let amount = |key: &str| line.value[key].as_u64().map_or_else(|| "?".to_owned(), sat);
    let number =
        |key: &str| line.value[key].as_u64().map_or_else(|| "?".to_owned(), |number| number.to_string());
    let text = |key: &str| line.value[key].as_str().unwrap_or("?").to_owned();
    Some(match line.step() {
        "connected" => "is connected to its LSP".to_owned(),
        "blocked" => {
            format!(
                "its LSP will hold the payment, until block {} at the latest (payment_block)",
                number("deadline")
            )
        }
        "paying" => "sends the payment".to_owned(),
        "held" => format!("its LSP holds all of it: {} HTLC(s)", number("parts")),
        "pending_in_care" => {
            "its LSP sees to it that the payee is told (payment_pending): the phone may go off".to_owned()
        }
        "pending_received" => {
            format!(
                "is told that {} is held for it, until block {}",
                amount("amount_msat"),
                number("deadline")
            )
        }
        "unblocked" => "says yes: release it (payment_unblock)".to_owned(),
        "paid" => format!("has {} more: it is final", amount("amount_msat")),
        "settled" => format!("has settled: paid, for a fee of {}", amount("fee_msat")),
        "refused" | "refused_by_payee" => format!("refused: {}", text("reason")),
        "failed" => format!("failed: {}", text("reason")),
        "quiet" => "has nothing left to do".to_owned(),
        _ => return None,
    })
}

/// The text at `key`.
pub(crate) fn text_at<'a>(value: &'a Value, key: &str) -> Result<&'a str, tests::failure::Failure> {
    value[key].as_str().ok_or_else(|| tests::failure::Failure::wrong(format!("no {key} in {value}")))
}

#[cfg(test)]
mod tests_of_words {
    use super::*;

    #[test]
    fn amounts_are_read_at_a_glance() {
        assert_eq!(sat(2_100_000_042), "2,100,000.042 sat");
        assert_eq!(sat(1_000), "1 sat");
        assert_eq!(sat(999), "0.999 sat");
        assert_eq!(sat(123_456_000), "123,456 sat");
        assert_eq!(signed_sat(5_000, 2_999), "-2.001 sat");
        assert_eq!(signed_sat(0, 0), "+0 sat");
    }
}
