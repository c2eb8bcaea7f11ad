mod rekeyed;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use notifier::PushTarget;
use storage::{Database, DatabaseUrl, StorageError, values};

use super::*;
use crate::error::ServerError;
use crate::store::MIGRATIONS;
use crate::store::devices;
use crate::testing::{START, TestDatabase, new_device, public, token_keys};

const TOKEN: &str = "https://push.example.com/a-token-that-nobody-else-has";

fn device(keys: &TokenKeys, device_id: u8) -> Device {
    let device_id = DeviceId([device_id; 16]);
    let target = PushTarget { registered_at: START, ..PushTarget::new(GatewayKind::Webhook, TOKEN) };
    Device {
        device_id,
        node_id: public(1),
        target: keys.seal_target(device_id, &public(1), &target),
        registered_at: START,
        paused_until: 0,
        registrations: 1,
    }
}

#[test]
fn a_token_opens_for_its_own_device_and_its_own_key_only() {
    let keys = TokenKeys::new(&[1; 32], &[]);
    let sealed = device(&keys, 1);
    assert_eq!(keys.open_target(&sealed).unwrap().token, TOKEN);
    assert!(
        !sealed.target.token.bytes.windows(8).any(|bytes| TOKEN.as_bytes().windows(8).any(|t| t == bytes))
    );

    let moved = Device { device_id: DeviceId([2; 16]), ..sealed.clone() };
    assert_eq!(keys.open_target(&moved), Err(OpenError));
    assert_eq!(TokenKeys::new(&[2; 32], &[]).open_target(&sealed), Err(OpenError));
    for position in 0..sealed.target.token.bytes.len() {
        let mut changed = sealed.clone();
        changed.target.token.bytes[position] ^= 1;
        assert_eq!(keys.open_target(&changed), Err(OpenError), "{position}");
        changed.target.token.bytes.truncate(position);
        assert_eq!(keys.open_target(&changed), Err(OpenError), "cut at {position}");
    }
    let rotated = TokenKeys::new(&[2; 32], &[Zeroizing::new([1; 32])]);
    assert_eq!(rotated.open_target(&sealed).unwrap().token, TOKEN);
}

#[test]
fn the_index_tells_a_token_again_and_no_two_owners_the_same() {
    let keys = token_keys();
    let index =
        |device_id, node, kind, token| keys.seal(DeviceId([device_id; 16]), &public(node), kind, token);
    let first = index(1, 1, GatewayKind::Webhook, TOKEN);
    assert_eq!(first, index(1, 1, GatewayKind::Webhook, TOKEN));
    assert_eq!(first.index, index(2, 1, GatewayKind::Webhook, TOKEN).index, "another device of the owner");
    assert_ne!(first.bytes, index(2, 1, GatewayKind::Webhook, TOKEN).bytes);
    for other in [
        index(1, 2, GatewayKind::Webhook, TOKEN),
        index(1, 1, GatewayKind::UnifiedPush, TOKEN),
        index(1, 1, GatewayKind::Webhook, "https://push.example.com/b"),
    ] {
        assert_ne!(first.index, other.index);
    }
    assert!(!format!("{keys:?}").contains("7070"), "{keys:?}");
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn the_file_is_for_its_owner_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    assert!(matches!(load(&path), Err(TokenKeyError::Unreadable { .. })));
    let made = create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(load(&path).unwrap().current_id(), made.current_id());
    assert!(matches!(create(&path), Err(TokenKeyError::Uncreatable { .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let exposed = load(&path).unwrap_err().to_string();
    assert!(exposed.contains("chmod 600") && exposed.contains("0640"), "{exposed}");
}

#[test]
fn a_crash_while_the_file_is_made_leaves_none_and_the_next_start_makes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let staged = file::stage(&path, b"half a k").unwrap();
    assert!(matches!(open(&path, &[]), Ok(keys) if load(&path).unwrap().current_id() == keys.current_id()));
    assert!(!staged.exists(), "and nothing stays behind");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    // Where the key cannot be whole, it is not there at all.
    let path = folder.path().join("other");
    fs::create_dir(folder.path().join("other.new")).unwrap();
    assert!(matches!(create(&path), Err(TokenKeyError::Uncreatable { .. })));
    assert!(!path.exists());
}

#[test]
fn a_file_is_raw_or_lines_of_hex_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let id = |byte: u8| TokenKeys::new(&[byte; 32], &[]).current_id();
    let line = |byte: u8| format!("{byte:02x}").repeat(32);
    write(&path, [7; 32]);
    assert_eq!(load(&path).unwrap().current_id(), id(7));
    write(&path, format!("{}\n\n {}\n", line(1), line(2)));
    let both = load(&path).unwrap();
    assert!(both.current_id() == id(1) && both.has(id(2)) && !both.has(id(3)));
    let many = format!("{}\n", line(1)).repeat(17);
    for damaged in ["", "abab", &line(1)[1..], &format!("{}\nkey", line(1)), &many] {
        write(&path, damaged);
        let error = load(&path).unwrap_err();
        assert!(matches!(error, TokenKeyError::Damaged { .. }), "{error}");
        assert!(!error.to_string().contains("abab"), "{error}");
    }
}

struct World {
    db: TestDatabase,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        Self { db: TestDatabase::new().await, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("push-token.key")
    }

    async fn adopt(&self) -> Result<(TokenKeys, Adopted), ServerError> {
        adopt(&self.db.database, &self.path(), START).await
    }

    /// Registers a webhook with these keys.
    async fn register(&self, keys: &TokenKeys, node: u8, url: &str) {
        let mut device = new_device(node, url);
        let target = PushTarget::new(GatewayKind::Webhook, url);
        device.target = keys.seal_target(device.device_id, &public(node), &target);
        self.db.try_register(device, Default::default()).await.unwrap();
    }

    /// As a version before sealing left it.
    async fn register_plain(&self, serial: u16, url: String) {
        self.db
            .database
            .submit("test_plain", move |tx| {
                Box::pin(async move {
                    let mut device_id = [0; 16];
                    device_id[..2].copy_from_slice(&serial.to_be_bytes());
                    tx.execute(
                        "INSERT INTO device (device_id, node_id, platform, plain_token, registered_at, registrations, \
                         has_channel, paused_until) VALUES ($1, $2, 'webhook', $3, 1, 1, 1, 0)",
                        &values![device_id, public(1).serialize(), url],
                    )
                    .await
                })
            })
            .await
            .unwrap();
    }

    async fn tokens(&self, keys: &TokenKeys) -> Vec<String> {
        let listed = self.db.database.read("test", |tx| Box::pin(devices::list(tx, 1_000))).await.unwrap();
        let mut tokens: Vec<_> =
            listed.iter().map(|device| keys.open_target(device).unwrap().token).collect();
        tokens.sort();
        tokens
    }
}

#[tokio::test]
async fn a_key_is_made_once_and_never_in_place_of_one_that_is_missing() {
    let world = World::new().await;
    let (keys, adopted) = world.adopt().await.unwrap();
    assert_eq!(adopted, Adopted::default());
    world.register(&keys, 1, TOKEN).await;
    let (again, _) = world.adopt().await.unwrap();
    assert_eq!(world.tokens(&again).await, [TOKEN]);

    let kept = fs::read(world.path()).unwrap();
    fs::remove_file(world.path()).unwrap();
    let error = world.adopt().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ServerError::TokenKey(TokenKeyError::Missing { .. })), "{error}");
    assert!(text.contains(&keys.current_id().to_string()) && text.contains("forget-all"), "{text}");
    assert!(!world.path().exists());

    write(&world.path(), "01".repeat(32));
    let error = world.adopt().await.unwrap_err();
    assert!(matches!(error, ServerError::TokenKey(TokenKeyError::Missing { .. })), "a wrong key: {error}");
    write(&world.path(), kept);
    assert_eq!(world.tokens(&world.adopt().await.unwrap().0).await, [TOKEN]);
}

#[tokio::test]
async fn after_a_change_of_keys_the_old_one_is_needed_once() {
    let world = World::new().await;
    let (first, _) = world.adopt().await.unwrap();
    for url in ["https://a.example.com", "https://b.example.com"] {
        world.register(&first, 1, url).await;
    }
    let old = fs::read_to_string(world.path()).unwrap();
    let new = "02".repeat(32);
    write(&world.path(), format!("{new}\n{old}"));
    let (second, adopted) = world.adopt().await.unwrap();
    assert_eq!(adopted, Adopted { sealed: 2, forgotten: 0, ..Adopted::default() });
    assert_ne!(second.current_id(), first.current_id());
    // The same token is known again.
    world.register(&second, 1, "https://a.example.com").await;
    write(&world.path(), new);
    let (third, adopted) = world.adopt().await.unwrap();
    assert_eq!(adopted, Adopted::default());
    assert_eq!(world.tokens(&third).await, ["https://a.example.com", "https://b.example.com"]);
}

#[tokio::test]
async fn what_an_earlier_version_left_in_plain_is_sealed_in_bounded_steps() {
    let world = World::new().await;
    for serial in 0..450 {
        world.register_plain(serial, format!("{TOKEN}{serial:03}")).await;
    }
    let (keys, adopted) = world.adopt().await.unwrap();
    assert_eq!(adopted, Adopted { sealed: 450, forgotten: 0, ..Adopted::default() });
    let tokens = world.tokens(&keys).await;
    assert_eq!((tokens.len(), tokens[449].as_str()), (450, format!("{TOKEN}449").as_str()));
    assert_eq!(world.db.number("SELECT COUNT(*) AS n FROM device WHERE plain_token IS NOT NULL").await, 0);
    world.register(&keys, 1, &format!("{TOKEN}007")).await;
    assert_eq!(world.db.number("SELECT COUNT(*) AS n FROM device").await, 450, "it is known");
}

#[tokio::test]
async fn a_row_that_another_hand_changed_is_forgotten_at_a_change_of_keys() {
    let world = World::new().await;
    let (first, _) = world.adopt().await.unwrap();
    world.register(&first, 1, TOKEN).await;
    world.register(&first, 2, TOKEN).await;
    let node = public(2).serialize();
    let broken = world.db.database.submit("test_break", move |tx| {
        Box::pin(async move {
            tx.execute("UPDATE device SET sealed_token = $2 WHERE node_id = $1", &values![node, [0u8; 60]])
                .await
        })
    });
    assert_eq!(broken.await.unwrap(), 1);
    let old = fs::read_to_string(world.path()).unwrap();
    write(&world.path(), format!("{}\n{old}", "02".repeat(32)));
    let (keys, adopted) = world.adopt().await.unwrap();
    assert_eq!(adopted, Adopted { sealed: 1, forgotten: 1, ..Adopted::default() });
    assert_eq!(world.tokens(&keys).await, [TOKEN]);
}

/// Every byte that the database has on disk.
fn bytes_on_disk(folder: &Path) -> Vec<u8> {
    fs::read_dir(folder).unwrap().flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn contains(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[tokio::test]
async fn no_file_of_the_database_holds_a_token() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = DatabaseUrl::Sqlite(folder.path().join("lsp.db"));
    let database = Database::open(&url, &[MIGRATIONS]).await.unwrap();
    let (keys, _) = adopt(&database, &keys.path().join("key"), START).await.unwrap();
    let (mut device, plain) = (new_device(1, "unused"), "in-the-open-for-comparison");
    device.target = keys.seal_target(
        device.device_id,
        &public(1),
        &PushTarget { topic: Some(plain.to_owned()), ..PushTarget::new(GatewayKind::Webhook, TOKEN) },
    );
    let registered = database.submit("test", move |tx| {
        Box::pin(async move { devices::register(tx, &device, &Default::default()).await })
    });
    registered.await.unwrap();
    let open = bytes_on_disk(folder.path());
    assert!(contains(&open, plain), "the row is there");
    assert!(!contains(&open, TOKEN) && !contains(&open, &TOKEN[20..36]));
    database.close().await;
    assert!(!contains(&bytes_on_disk(folder.path()), &TOKEN[20..36]));
}

/// A database as the version before sealing left it.
#[tokio::test]
async fn the_migration_leaves_no_token_behind() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = DatabaseUrl::Sqlite(folder.path().join("lsp.db"));
    let before = storage::MigrationSet { sqlite: &MIGRATIONS.sqlite[..9], ..MIGRATIONS };
    let database = Database::open(&url, &[before]).await.unwrap();
    let long = format!("{TOKEN}{}", "x".repeat(1_900));
    for (device_id, token) in [([1; 16], TOKEN.to_owned()), ([2; 16], long.clone())] {
        let registered = database.submit("test", move |tx| {
            Box::pin(async move {
                tx.execute(
                    "INSERT INTO device (device_id, node_id, platform, token, registered_at, registrations, has_channel, \
                     paused_until, tested_at) VALUES ($1, $2, 'webhook', $3, 5, 6, 1, 7, 8)",
                    &values![device_id, public(1).serialize(), token],
                )
                .await
            })
        });
        registered.await.unwrap();
    }
    database.close().await;
    assert!(contains(&bytes_on_disk(folder.path()), &TOKEN[20..36]));

    let database = Database::open(&url, &[MIGRATIONS]).await.unwrap();
    let (keys, adopted) = adopt(&database, &keys.path().join("key"), START).await.unwrap();
    assert_eq!(adopted.sealed, 2);
    let listed = database.read("test", |tx| Box::pin(devices::list(tx, 10))).await.unwrap();
    let of =
        |device_id: u8| listed.iter().find(|device| device.device_id == DeviceId([device_id; 16])).unwrap();
    assert_eq!(keys.open_target(of(1)).unwrap().token, TOKEN);
    assert_eq!(keys.open_target(of(2)).unwrap().token, long);
    let first = of(1);
    assert_eq!((first.registered_at, first.registrations, first.paused_until), (5, 6, 7));
    let tested_at =
        database.read::<_, StorageError, _>("test", |tx| Box::pin(devices::tested_at(tx, DeviceId([1; 16]))));
    assert_eq!(tested_at.await.unwrap(), 8);
    database.close().await;
    assert!(!contains(&bytes_on_disk(folder.path()), &TOKEN[20..36]));
}
