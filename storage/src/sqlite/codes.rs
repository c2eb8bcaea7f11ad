//! What SQLite's result codes mean. <https://www.sqlite.org/rescode.html>

use crate::trouble::TroubleKind;

/// What the code says of the database, unless it is final.
pub(crate) fn trouble(error: &sqlx::Error) -> Option<TroubleKind> {
    const CHECKSUM: u32 = 10 | (32 << 8);
    const CORRUPT_FILE_SYSTEM: u32 = 10 | (33 << 8);
    match result_code(error)? {
        CHECKSUM | CORRUPT_FILE_SYSTEM => None,
        code => match code & 0xff {
            5 | 6 => Some(TroubleKind::Locked),
            8 => Some(TroubleKind::ReadOnly),
            10 | 14 => Some(TroubleKind::Io),
            13 => Some(TroubleKind::Full),
            _ => None,
        },
    }
}

/// Whether the file is damaged: `SQLITE_CORRUPT`, `SQLITE_NOTADB`, a checksum that does not match.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    result_code(error)
        .is_some_and(|code| matches!(code & 0xff, 11 | 26) || (code & 0xff == 10 && trouble(error).is_none()))
}

fn result_code(error: &sqlx::Error) -> Option<u32> {
    let sqlx::Error::Database(error) = error else { return None };
    error.code()?.parse().ok()
}
