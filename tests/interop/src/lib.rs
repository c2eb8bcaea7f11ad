//! Stock ldk-node wallets, and the stage on which they meet `lsp-server`.
//!
//! They are what a wallet is that has never heard of lightning-rod: ldk-node as released, on an LDK one version older
//! than the LSP's, with its own storage, chain sync and defaults.
//!
//! `cargo xtask test` runs these tests after all others; `cargo test` in this folder does alone, with the `lsp-server`
//! that `cargo build` in the main workspace made.

pub mod stage;
pub mod wallet;
