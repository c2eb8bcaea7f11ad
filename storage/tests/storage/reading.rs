use storage::testing::Scratch;
use storage::{ReadTx, StorageError, values};

use crate::{add_note, open};

storage::on_both!(
    every_kind_of_value_comes_back,
    readers_and_the_writer_share_queries,
    a_read_is_one_view,
    a_read_cannot_write,
    a_database_is_looked_into_while_another_has_it,
);

/// One function for both kinds of transaction.
async fn note_text(tx: &mut ReadTx, id: i64) -> Result<Option<String>, StorageError> {
    let row = tx.fetch_optional("SELECT text FROM note WHERE id = $1", &values![id]).await?;
    row.map(|row| row.get_text("text")).transpose()
}

async fn every_kind_of_value_comes_back(folder: Scratch) {
    let db = open(&folder).await;
    db.read("values", |tx| {
        Box::pin(async move {
            let values = values![-5_i64, 7_u32, "text", [9_u8; 32], true, None::<i64>, None::<&str>, None::<Vec<u8>>];
            let row = tx.fetch_one("SELECT $1 AS i, $2 AS u, $3 AS t, $4 AS b, $5 AS f, $6 AS ni, $7 AS nt, $8 AS nb, $2 + $2 AS twice", &values).await?;
            assert_eq!((row.get_i64("i")?, row.opt_i64("i")?, row.get_u32("u")?), (-5, Some(-5), 7));
            assert_eq!((row.get_u64("u")?, row.opt_u64("u")?, row.opt_u32("ni")?), (7, Some(7), None));
            assert_eq!((row.get_text("t")?, row.opt_text("nt")?), ("text".to_owned(), None));
            assert_eq!((row.get_blob("b")?, row.opt_blob("nb")?), (vec![9; 32], None));
            assert_eq!((row.get_array("b")?, row.opt_array::<32>("nb")?), ([9; 32], None));
            assert_eq!((row.get_bool("f")?, row.get_i64("twice")?), (true, 14));

            assert!(matches!(row.get_i64("ni"), Err(StorageError::Column { .. })));
            assert!(matches!(row.get_text("nt"), Err(StorageError::Column { .. })));
            assert!(matches!(row.get_blob("nb"), Err(StorageError::Column { .. })));
            assert!(matches!(row.get_i64("missing"), Err(StorageError::Column { .. })));
            assert!(matches!(row.get_i64("t"), Err(StorageError::Column { .. })));
            assert!(matches!(row.get_u64("i"), Err(StorageError::ColumnRange { .. })));
            assert!(matches!(row.get_array::<31>("b"), Err(StorageError::ColumnRange { .. })));
            Ok::<_, StorageError>(())
        })
    })
    .await
    .unwrap();
}

async fn readers_and_the_writer_share_queries(folder: Scratch) {
    let db = open(&folder).await;
    add_note(&db, 1, "one").await.unwrap();
    let read = db.read("read", |tx| Box::pin(note_text(tx, 1))).await.unwrap();
    let written = db.submit("write", |tx| Box::pin(async move { note_text(tx, 1).await })).await.unwrap();
    assert_eq!((read.as_deref(), written.as_deref()), (Some("one"), Some("one")));
}

async fn a_read_is_one_view(folder: Scratch) {
    let db = open(&folder).await;
    add_note(&db, 1, "before").await.unwrap();
    let writer = db.clone();
    db.read("view", move |tx| {
        Box::pin(async move {
            assert_eq!(note_text(tx, 1).await?.as_deref(), Some("before"));
            add_note(&writer, 2, "meanwhile").await?;
            assert_eq!(note_text(tx, 2).await?, None);
            Ok::<_, StorageError>(())
        })
    })
    .await
    .unwrap();
    assert_eq!(crate::note_ids(&db).await, [1, 2]);
}

async fn a_database_is_looked_into_while_another_has_it(folder: Scratch) {
    let db = open(&folder).await;
    add_note(&db, 1, "one").await.unwrap();
    let seen = storage::inspect(folder.url(), |tx| Box::pin(note_text(tx, 1))).await.unwrap();
    assert_eq!(seen.as_deref(), Some("one"));
    add_note(&db, 2, "two").await.unwrap();
    db.close().await;
    let seen = storage::inspect(folder.url(), |tx| Box::pin(note_text(tx, 2))).await.unwrap();
    assert_eq!(seen.as_deref(), Some("two"));
}

async fn a_read_cannot_write(folder: Scratch) {
    let db = open(&folder).await;
    let refused = db
        .read("sly", |tx| {
            Box::pin(async move {
                tx.fetch_optional("INSERT INTO note (id, text) VALUES (1, 'sly') RETURNING id", &[])
                    .await
                    .map(drop)
            })
        })
        .await;
    assert!(matches!(refused, Err(StorageError::Query(_))));
    let missing = db
        .read("missing", |tx| {
            Box::pin(async move { tx.fetch_one("SELECT id FROM note", &[]).await.map(drop) })
        })
        .await;
    assert!(matches!(missing, Err(StorageError::RowNotFound)));
}
