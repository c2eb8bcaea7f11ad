//! LDK's log records as `tracing` events.

use lightning::util::logger::{Level, Logger, Record};

/// Forwards LDK's records to `tracing` under the target `ldk`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LdkLogger;

impl Logger for LdkLogger {
    fn log(&self, record: Record<'_>) {
        let module = record.module_path;
        let peer = record.peer_id.map(tracing::field::display);
        let channel = record.channel_id.map(tracing::field::display);
        macro_rules! emit {
            ($level:ident) => {
                tracing::$level!(target: "ldk", module, peer, channel, "{}", record.args)
            };
        }
        match record.level {
            Level::Gossip | Level::Trace => emit!(trace),
            Level::Debug => emit!(debug),
            Level::Info => emit!(info),
            Level::Warn => emit!(warn),
            Level::Error => emit!(error),
        }
    }
}
