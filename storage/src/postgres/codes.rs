//! What Postgres' SQLSTATEs mean. <https://www.postgresql.org/docs/current/errcodes-appendix.html>

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::trouble::TroubleKind;

/// `not_null_violation`
pub(crate) const NOT_NULL: &str = "23502";

/// What the error says of the database or of the way to it, unless it is the statement's own or final.
pub(crate) fn trouble(error: &sqlx::Error) -> Option<TroubleKind> {
    match answer(error) {
        Some(answer) => {
            of_state(answer.code()).or_else(|| is_broken(error).then_some(TroubleKind::Unreachable))
        }
        None => is_broken(error).then_some(TroubleKind::Unreachable),
    }
}

fn of_state(state: &str) -> Option<TroubleKind> {
    match state {
        "53100" => Some(TroubleKind::Full),
        // insufficient_resources, io_error
        "53000" | "53200" | "53400" | "58000" | "58030" => Some(TroubleKind::Io),
        // read_only_sql_transaction
        "25006" => Some(TroubleKind::ReadOnly),
        // lock_not_available, deadlock_detected, serialization_failure, query_canceled
        "55P03" | "40P01" | "40001" | "57014" => Some(TroubleKind::Locked),
        // too_many_connections, admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout
        "53300" | "57P01" | "57P02" | "57P03" | "57P05" => Some(TroubleKind::Unreachable),
        _ if state.starts_with("08") => Some(TroubleKind::Unreachable),
        _ => None,
    }
}

/// Whether the database is damaged: `data_corrupted`, `index_corrupted`.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    answer(error).is_some_and(|answer| matches!(answer.code(), "XX001" | "XX002"))
}

/// Whether nothing more can be heard on this connection.
pub(crate) fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => answer(error)
            .is_some_and(|answer| matches!(answer.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            true
        }
        _ => false,
    }
}

/// What the server itself said.
pub(crate) fn answer(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    let sqlx::Error::Database(error) = error else { return None };
    error.try_downcast_ref()
}
