//! Seeds that found something. They run with every test.

/// A seed and what it found.
pub const PINNED: &[(u64, &str)] = &[
    (67, "parts were released though their payer's channel was shutting down"),
    (4586, "an HTLC whose channel closed before its event was handled was forwarded beside its payer's hold"),
];
