//! What SQLite's result codes mean. <https://www.sqlite.org/rescode.html>

use rusqlite::ffi;

use crate::trouble::TroubleKind;

/// What the code says of the database, unless it is final.
pub(crate) fn trouble(code: i32) -> Option<TroubleKind> {
    match code {
        // A checksum that does not match, and a file system that says that it is damaged.
        ffi::SQLITE_IOERR_DATA | ffi::SQLITE_IOERR_CORRUPTFS => None,
        code => match code & 0xff {
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Some(TroubleKind::Locked),
            ffi::SQLITE_READONLY => Some(TroubleKind::ReadOnly),
            ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN => Some(TroubleKind::Io),
            ffi::SQLITE_FULL => Some(TroubleKind::Full),
            _ => None,
        },
    }
}

/// Whether the file is damaged.
pub(crate) fn is_damage(code: i32) -> bool {
    match code & 0xff {
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => true,
        ffi::SQLITE_IOERR => trouble(code).is_none(),
        _ => false,
    }
}

pub(crate) fn is_unique_violation(code: i32) -> bool {
    matches!(
        code,
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID
    )
}

pub(crate) fn is_foreign_key_violation(code: i32) -> bool {
    code == ffi::SQLITE_CONSTRAINT_FOREIGNKEY
}

/// The extended result code, if SQLite refused something.
pub(crate) fn of(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}
