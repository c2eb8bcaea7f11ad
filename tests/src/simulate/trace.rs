//! What happened in one world, in order: printed when it goes wrong, hashed to show that a seed always gives the same.

use std::collections::BTreeMap;

/// FNV-1a, 64 bits.
const FNV_OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01B3;

/// A world's record.
#[derive(Clone, Debug)]
pub struct Trace {
    lines: Vec<String>,
    hash: u64,
    counts: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

impl Default for Trace {
    fn default() -> Self {
        Self { lines: Vec::new(), hash: FNV_OFFSET, counts: BTreeMap::new(), violations: Vec::new() }
    }
}

impl Trace {
    /// Something happened.
    pub fn line(&mut self, line: String) {
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        self.lines.push(line);
    }

    /// One more of a kind: a fault, an operation, an outcome.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// So many more of a kind.
    pub fn add(&mut self, what: &'static str, many: usize) {
        *self.counts.entry(what).or_default() += many as u64;
    }

    /// An invariant does not hold.
    pub fn violation(&mut self, what: String) {
        self.line(format!("VIOLATION: {what}"));
        self.violations.push(what);
    }

    /// Everything, in order.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Of all lines.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How often each kind was counted.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// What does not hold; empty for a world that went well.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}
