use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use crate::DatabaseUrlError;

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with libpq's `sslmode` and the like behind a `?`. Whoever shows it does not show
/// its password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    text: String,
}

impl PostgresUrl {
    /// That the text can be read was seen when it was.
    pub(crate) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::from_str(&self.text).unwrap_or_else(|_| PgConnectOptions::new_without_pgpass())
    }
}

impl FromStr for PostgresUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let options = PgConnectOptions::from_str(text).map_err(|_| DatabaseUrlError::Postgres)?;
        match options.get_database() {
            Some(database) if !database.is_empty() => Ok(Self { text: text.to_owned() }),
            _ => Err(DatabaseUrlError::NoDatabase),
        }
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.options();
        let database = options.get_database().unwrap_or_default();
        let user = options.get_username();
        match options.get_socket() {
            Some(socket) => write!(f, "postgres://{user}@localhost/{database}?host={}", socket.display()),
            None => write!(f, "postgres://{user}@{}:{}/{database}", options.get_host(), options.get_port()),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
