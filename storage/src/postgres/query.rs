use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgConnection};

use crate::session::Wanted;
use crate::{Row, Value};

type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// The query with its parameters.
pub(crate) fn bound(sql: &'static str, params: &[Value]) -> Query {
    params.iter().fold(sqlx::query(sql), |query, value| match value.clone() {
        Value::Integer(value) => query.bind(value),
        Value::Bool(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Blob(value) => query.bind(value),
    })
}

pub(crate) async fn fetch(
    connection: &mut PgConnection,
    sql: &'static str,
    params: &[Value],
    wanted: Wanted,
) -> Result<Vec<Row>, sqlx::Error> {
    let query = bound(sql, params);
    Ok(match wanted {
        Wanted::First => query.fetch_optional(connection).await?.into_iter().map(Row::from).collect(),
        Wanted::All => query.fetch_all(connection).await?.into_iter().map(Row::from).collect(),
    })
}
