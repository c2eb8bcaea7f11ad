use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use crate::PostgresUrl;

/// Which database to open: the scheme of the URL chooses the kind.
///
/// `sqlite:PATH` (or `sqlite://PATH`) is the embedded database, one file. The path is taken as it is written: no query
/// part, no percent-encoding. A database in memory is refused, since nothing that is kept here may be lost.
///
/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE` is a database of a Postgres server: see [`PostgresUrl`]. Neither `Display` nor
/// `Debug` shows the password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum DatabaseUrl {
    /// A SQLite file. It is created if it is missing; the folder it lies in is not.
    Sqlite(PathBuf),
    /// A database of a Postgres server, which exists.
    Postgres(PostgresUrl),
}

/// Why a text is no [`DatabaseUrl`]. It does not repeat the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    #[error(
        "a database URL starts with a scheme that is known here: `sqlite:PATH`, `postgres://USER@HOST/DATABASE`"
    )]
    Scheme,
    #[error("the database URL names no file")]
    NoPath,
    #[error("a database in memory would lose what it is given: name a file")]
    InMemory,
    #[error(
        "the database URL cannot be read: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, what is special in it percent-encoded"
    )]
    Postgres,
    #[error("the database URL names no database: `postgres://USER@HOST/DATABASE`")]
    NoDatabase,
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return url.parse().map(Self::Postgres);
        }
        let rest = url.strip_prefix("sqlite:").ok_or(DatabaseUrlError::Scheme)?;
        let path = rest.strip_prefix("//").unwrap_or(rest);
        match path {
            "" => Err(DatabaseUrlError::NoPath),
            ":memory:" => Err(DatabaseUrlError::InMemory),
            path => Ok(Self::Sqlite(PathBuf::from(path))),
        }
    }
}

impl TryFrom<String> for DatabaseUrl {
    type Error = DatabaseUrlError;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        url.parse()
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_url_names_a_file() {
        for (url, path) in
            [("sqlite:a.db", "a.db"), ("sqlite:/v/a.db", "/v/a.db"), ("sqlite:///v/a.db", "/v/a.db")]
        {
            assert_eq!(url.parse(), Ok(DatabaseUrl::Sqlite(path.into())), "{url}");
        }
        assert_eq!("sqlite:///v/a.db".parse::<DatabaseUrl>().unwrap().to_string(), "sqlite:/v/a.db");
    }

    #[test]
    fn what_cannot_be_opened_is_refused() {
        for (url, error) in [
            ("mysql://u:secret@h/d", DatabaseUrlError::Scheme),
            ("postgres://u:secret@h", DatabaseUrlError::NoDatabase),
            ("postgres://u:secret@h:port/d", DatabaseUrlError::Postgres),
            ("a.db", DatabaseUrlError::Scheme),
            ("sqlite:", DatabaseUrlError::NoPath),
            ("sqlite::memory:", DatabaseUrlError::InMemory),
        ] {
            assert_eq!(url.parse::<DatabaseUrl>(), Err(error), "{url}");
        }
    }

    #[test]
    fn nobody_is_shown_a_password() {
        for (url, shown) in [
            ("postgres://u:secret@h:7/d?sslmode=require", "postgres://u@h:7/d"),
            ("postgresql://u:secret@h/d", "postgres://u@h:5432/d"),
            (
                "postgres://u:secret@localhost/d?host=/run/postgresql",
                "postgres://u@localhost/d?host=/run/postgresql",
            ),
        ] {
            let parsed: DatabaseUrl = url.parse().unwrap();
            assert_eq!((parsed.to_string(), format!("{parsed:?}")), (shown.to_owned(), shown.to_owned()));
        }
    }
}
