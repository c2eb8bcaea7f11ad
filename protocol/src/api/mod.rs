//! The types of the HTTP interfaces, shared by who serves them and who calls them.

pub mod admin;
pub mod ledger;
pub mod owner;
pub mod public;
#[cfg(feature = "openapi")]
mod schema;
mod text;

pub use admin::{HoldDetail, HoldSummary, PartView};

use serde::{Deserialize, Serialize};

/// The content type of a [`Problem`].
pub const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

/// An error answer (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Which kind of problem: a stable name, for programs.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This very problem, and what to do about it, in words.
    pub detail: String,
}
