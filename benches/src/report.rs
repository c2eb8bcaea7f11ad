//! Everything that was measured, as tables and as JSON.

use serde::Serialize;

use crate::{mailbox, payments, push_latency, pushes, registrations};

/// What was not asked for is left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) storage: String,
    pub(crate) fsync_cost_ms: f64,
    pub(crate) rounds: usize,
    pub(crate) pushes: Option<pushes::Report>,
    pub(crate) push_latency: Option<push_latency::Report>,
    pub(crate) registrations: Option<registrations::Report>,
    pub(crate) payments: Option<payments::Report>,
    pub(crate) mailbox: Option<mailbox::Report>,
}

impl Report {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let head = format!(
            "{}; {}; {} ms per fsync; {} round(s)\n",
            self.machine, self.storage, self.fsync_cost_ms, self.rounds
        );
        let tables = [
            self.pushes.as_ref().map(pushes::Report::table),
            self.push_latency.as_ref().map(push_latency::Report::table),
            self.registrations.as_ref().map(registrations::Report::table),
            self.payments.as_ref().map(payments::Report::table),
            self.mailbox.as_ref().map(mailbox::Report::table),
        ];
        std::iter::once(head).chain(tables.into_iter().flatten()).collect::<Vec<_>>().join("\n")
    }
}
