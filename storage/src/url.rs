use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

/// Which database to open: the scheme of the URL chooses the kind.
///
/// `sqlite:PATH` (or `sqlite://PATH`) is the embedded database, one file. The path is taken as it is written: no query
/// part, no percent-encoding. A database in memory is refused, since nothing that is kept here may be lost.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum DatabaseUrl {
    /// A SQLite file. It is created if it is missing; the folder it lies in is not.
    Sqlite(PathBuf),
}

/// Why a text is no [`DatabaseUrl`]. It does not repeat the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    #[error("a database URL starts with a scheme that is known here: `sqlite:PATH`")]
    Scheme,
    #[error("the database URL names no file")]
    NoPath,
    #[error("a database in memory would lose what it is given: name a file")]
    InMemory,
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
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
            ("postgres://u:secret@h/d", DatabaseUrlError::Scheme),
            ("a.db", DatabaseUrlError::Scheme),
            ("sqlite:", DatabaseUrlError::NoPath),
            ("sqlite::memory:", DatabaseUrlError::InMemory),
        ] {
            assert_eq!(url.parse::<DatabaseUrl>(), Err(error), "{url}");
        }
    }
}
