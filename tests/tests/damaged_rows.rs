//! Single values of a real server's database are damaged while it is down: it starts, names the rows, leaves them alone, and serves
//! everybody else. What it cannot do without, it refuses to start with.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use protocol::api::admin::HoldSummary;
use protocol::hold::HoldStateTag;
use rusqlite::Connection;
use serde_json::Value;
use tests::attempt::Program;
use tests::failure::{Failure, TestResult};
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};
use tests::wait::{SOON, Seen, wait_until};

const AMOUNT_MSAT: u64 = 100_000_000;

/// A customer with no channel here, by whom the copied holds are: the generator of secp256k1.
const OTHER_PAYER: &str = "x'0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798'";

/// Stands where damage is, and must not be repeated by anybody.
const JUNK: &str = "moonlight-over-the-harbour";

fn wrong(error: impl std::fmt::Display) -> Failure {
    Failure::wrong(error.to_string())
}

/// A connection as an operator's tool has it: it does not even look after foreign keys.
fn connection(database: &Path) -> Result<Connection, Failure> {
    let connection = Connection::open(database).map_err(wrong)?;
    connection.pragma_update(None, "foreign_keys", false).map_err(wrong)?;
    Ok(connection)
}

fn run(connection: &Connection, sql: &str) -> Result<usize, Failure> {
    connection.execute(sql, []).map_err(|error| Failure::wrong(format!("{sql}: {error}")))
}

/// Rows of other customers: copies of those that are there, each with one value that no version wrote. Answers how many rows of each
/// table are damaged then.
fn damage_others(connection: &Connection) -> Result<Vec<(&'static str, u64)>, Failure> {
    let junk = format!("'{JUNK}'");
    let holds = [
        ("hold", "payer", "x'00'"),
        ("hold", "pid_hash", "x'0102'"),
        ("hold", "requested_deadline", "-1"),
        ("hold", "deadline", &junk),
        ("hold", "deadline", "9223372036854775807"),
        ("hold", "state", "'unblocked?'"),
        ("hold", "cause", &junk),
        ("hold", "created_at", "1.5"),
        ("hold", "updated_at", &junk),
        ("hold_hash", "payment_hash", &junk),
        ("hold_part", "intercept_id", "x'0101'"),
        ("hold_part", "inbound_channel_id", "zeroblob(31)"),
        ("hold_part", "inbound_amount_msat", &junk),
        ("hold_part", "inbound_amount_msat", "9223372036854775807"),
        ("hold_part", "outbound_amount_msat", "-5"),
        ("hold_part", "outgoing_expiry", "4294967296"),
        ("hold_part", "next_hop_scid", "x'01'"),
        ("hold_part", "state", "'lost'"),
        ("hold_part", "cause", &junk),
        ("pending_message", "next_hop", "x'02'"),
        ("pending_message", "message", "7"),
        ("pending_message", "attempts", &junk),
        ("pending_message", "due_at", &junk),
    ];
    for (place, (table, column, value)) in holds.iter().enumerate() {
        let id = 1_000 + place;
        for sql in [
            format!(
                "INSERT INTO hold SELECT {id}, {OTHER_PAYER}, randomblob(32), requested_deadline, deadline, 'waiting', NULL, \
                 created_at, updated_at, NULL FROM hold WHERE id = 1"
            ),
            format!("INSERT INTO hold_hash VALUES ({id}, 0, randomblob(32))"),
            format!(
                "INSERT INTO hold_part SELECT randomblob(32), {id}, 0, \
                 (SELECT payment_hash FROM hold_hash WHERE hold_id = {id}), inbound_channel_id, 7, inbound_amount_msat, \
                 outbound_amount_msat, inbound_expiry, outgoing_expiry, next_hop_scid, 'held', NULL, updated_at \
                 FROM hold_part WHERE hold_id = 1"
            ),
            format!(
                "INSERT INTO pending_message (hold_id, next_hop, message, attempts, due_at, kept_at) \
                 SELECT {id}, recipient, message, 0, received_at, received_at FROM mailbox_message WHERE id % 1099511627776 = 1"
            ),
        ] {
            assert_eq!(run(connection, &sql)?, 1, "{sql}");
        }
        // What is not damaged itself must not send the payee's message about.
        if *table != "pending_message" {
            run(connection, &format!("DELETE FROM pending_message WHERE hold_id = {id}"))?;
        } else {
            run(connection, &format!("UPDATE hold SET state = 'failed', cause = 'expired' WHERE id = {id}"))?;
            run(connection, &format!("DELETE FROM hold_part WHERE hold_id = {id}"))?;
        }
        let key = if *table == "hold" { "id" } else { "hold_id" };
        let damage = format!("UPDATE {table} SET {column} = {value} WHERE {key} = {id}");
        assert_eq!(run(connection, &damage)?, 1, "{damage}");
    }

    let mailbox = [
        ("recipient", "x'02'"),
        ("previous_hop", "x'03'"),
        ("message", "substr(message, 1, 50)"),
        ("message_bytes", "-1"),
        ("message_bytes", "9223372036854775807"),
        ("received_at", "-1"),
    ];
    for (place, (column, value)) in mailbox.iter().enumerate() {
        let id = 1_000 + place;
        let copy = format!(
            "INSERT INTO mailbox_message SELECT {id}, recipient, previous_hop, randomblob(32), message, message_bytes, \
             received_at, expires_at, deliveries, counts_for FROM mailbox_message WHERE id % 1099511627776 = 1"
        );
        assert_eq!(run(connection, &copy)?, 1);
        // The other one comes before the payee's own, and must not hold it up.
        if *column != "message" {
            let elsewhere = format!("UPDATE mailbox_message SET recipient = {OTHER_PAYER} WHERE id = {id}");
            run(connection, &elsewhere)?;
        }
        run(connection, &format!("UPDATE mailbox_message SET {column} = {value} WHERE id = {id}"))?;
    }

    let devices = ["node_id = x'00'", "platform = 'pigeon'", "registered_at = -1", "sealed_token = NULL"];
    for (place, damage) in devices.iter().enumerate() {
        let id = format!("x'{:032x}'", 1_000 + place);
        let copy = format!(
            "INSERT INTO device (device_id, node_id, platform, sealed_token, token_index, token_key, registered_at, registrations, \
             has_channel, paused_until) SELECT {id}, node_id, platform, sealed_token, randomblob(32), token_key, registered_at, \
             registrations, has_channel, paused_until FROM device \
             WHERE node_id = (SELECT recipient FROM mailbox_message WHERE id % 1099511627776 = 1) AND platform = 'webhook' \
             ORDER BY registered_at DESC LIMIT 1"
        );
        assert_eq!(run(connection, &copy)?, 1);
        assert_eq!(run(connection, &format!("UPDATE device SET {damage} WHERE device_id = {id}"))?, 1);
    }

    let wakes = [
        "node_id = x'00'",
        "reason = 'boredom'",
        "state = 'asleep'",
        "step = 4294967295",
        "attempts = -1",
        "state = 'ended', put_off = 'why'",
    ];
    for (place, damage) in wakes.iter().enumerate() {
        let id = 1_000 + place;
        let copy = format!(
            "INSERT INTO wake (id, node_id, reason, wake_group, under_way, state, opened_at, expires_at, due_at, step, attempts) \
             SELECT {id}, node_id, reason, randomblob(32), under_way, 'open', opened_at, expires_at, 0, step, attempts \
             FROM wake ORDER BY id LIMIT 1"
        );
        assert_eq!(run(connection, &copy)?, 1);
        assert_eq!(run(connection, &format!("UPDATE wake SET {damage} WHERE id = {id}"))?, 1);
    }
    let attempt = "INSERT INTO wake_attempt (id, wake, device_id, reason, sent_at) \
                   SELECT 1000, id, x'01', reason, -1 FROM wake ORDER BY id LIMIT 1";
    assert_eq!(run(connection, attempt)?, 1);
    Ok(vec![
        ("hold", 9),
        ("hold_hash", 1),
        ("hold_part", 9),
        ("pending_message", 4),
        ("mailbox_message", 6),
        ("device", 4),
        ("wake", 6),
        ("wake_attempt", 1),
    ])
}

async fn health(stage: &Stage) -> Result<Value, Failure> {
    let url = format!("{}/health", stage.payers_lsp().api_url());
    let response = tests::http::client(Duration::from_secs(10))?.get(url).send().await.map_err(wrong)?;
    assert_eq!(response.status().as_u16(), 200);
    response.json().await.map_err(wrong)
}

/// Waits until the server has counted so many damaged rows of each table, and says so everywhere.
async fn until_counted(stage: &Stage, counts: &[(&'static str, u64)]) -> Result<(), Failure> {
    wait_until("the damaged rows to be counted", SOON, async || {
        let metrics = stage.payers_lsp().metrics().await?;
        let counted = |table| metrics.sum("lightning_rod_damaged_rows", &[("table", table)]) as u64;
        let seen: Vec<_> = counts.iter().map(|(table, _)| (*table, counted(table))).collect();
        Ok(if seen == counts { Seen::Done(()) } else { Seen::NotYet(format!("{seen:?}")) })
    })
    .await
}

/// Waits until a hold is settled.
async fn until_settled(stage: &Stage, pid_hash: &str) -> Result<(), Failure> {
    wait_until("the payment to be settled", 2 * PAYMENT_TIMEOUT, async || {
        let holds = stage.payers_lsp().hold(pid_hash).await?;
        let states: Vec<_> = holds.iter().map(|hold| hold.summary.state).collect();
        let is_settled = states == [HoldStateTag::Settled];
        Ok(if is_settled { Seen::Done(()) } else { Seen::NotYet(format!("{states:?}")) })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_rows_are_named_and_harm_nobody_else() -> TestResult {
    let setup = Setup::lsps(1);
    let mut stage = Stage::new(setup.clone()).await?;
    let database = stage.payers_lsp().data_dir().join("lsp.sqlite");
    let before = stage.settled_balances().await?;
    stage.payee.leave_coverage();
    // A wallet that makes an invoice is online for it, and would answer what waits.
    let invoices = [stage.invoice(AMOUNT_MSAT, &[]).await?.0, stage.invoice(AMOUNT_MSAT, &[]).await?.0];
    let mut pid_hashes = Vec::new();
    for (count, invoice) in (1..).zip(&invoices) {
        stage.pay(invoice, &[]).await?;
        wait_until("the payment_pending to be in the mailbox", PAYMENT_TIMEOUT, async || {
            let waiting = stage.payers_lsp().mailbox().await?.len();
            Ok(if waiting >= count { Seen::Done(()) } else { Seen::NotYet(waiting.to_string()) })
        })
        .await?;
        let holds = stage.payers_lsp().holds().await?;
        let known = |hold: &&HoldSummary| !pid_hashes.contains(&hold.pid_hash.to_string());
        let new: Vec<_> = holds.iter().filter(known).map(|hold| hold.pid_hash.to_string()).collect();
        assert_eq!(new.len(), 1, "{holds:?}");
        pid_hashes.extend(new);
    }
    stage.payers_lsp_mut().stop().await?;

    let other = connection(&database)?;
    let mut counts = damage_others(&other)?;
    // The second payment's own HTLC, too.
    let lose = "UPDATE hold_part SET outbound_amount_msat = -outbound_amount_msat WHERE hold_id = 2";
    assert_eq!(run(&other, lose)?, 1);
    counts[2].1 += 1;
    run(&other, "UPDATE kv SET value = x'00ff' WHERE key IN ('network_graph', 'scorer')")?;
    other.close().map_err(|(_, error)| wrong(error))?;

    stage.payers_lsp_mut().start().await?;
    until_counted(&stage, &counts).await?;
    let told = health(&stage).await?.to_string();
    assert!(told.contains("hold_part 10") && told.contains("wake 6"), "{told}");
    let log = stage.payers_lsp().log();
    for named in
        ["table=\"hold\" id=\"1000\"", "table=\"wake\" id=\"1001\"", "table=\"hold_hash\" id=\"1009/0\""]
    {
        assert!(log.contains(named), "{named}");
    }

    // The first payment goes its way; the second one's HTLC stays where it is, though its payee has answered.
    stage.payee.enter_coverage();
    until_settled(&stage, &pid_hashes[0]).await?;
    let channels = stage.payers_lsp().channels().await?;
    let pending: usize = channels.iter().map(|channel| channel.pending_inbound_htlcs).sum();
    assert_eq!(pending, 1, "the other one is neither forwarded nor failed");
    let outgoing: usize = channels.iter().map(|channel| channel.pending_outbound_htlcs).sum();
    assert_eq!(outgoing, 0);

    stage.payers_lsp_mut().stop().await?;
    let doctor = Program::lsp_server(stage.payers_lsp().data_dir()).attempt(&["doctor"]).await?;
    for named in ["hold 1003: ", "pending_message 1019: ", "mailbox_message 1002: ", "wake 1000: "] {
        assert!(doctor.stdout.contains(named), "{named}: {}", doctor.stdout);
    }
    for said in [&log, &told, &doctor.stdout, &doctor.stderr] {
        assert!(
            !said.contains(JUNK) && !said.contains(stage.payee.webhook_url()),
            "a stored value is repeated"
        );
    }

    // Mended, it is what it was.
    let other = connection(&database)?;
    let mend = "UPDATE hold_part SET outbound_amount_msat = -outbound_amount_msat WHERE hold_id = 2";
    assert_eq!(run(&other, mend)?, 1);
    other.close().map_err(|(_, error)| wrong(error))?;
    stage.payers_lsp_mut().start().await?;
    counts[2].1 -= 1;
    until_counted(&stage, &counts).await?;
    let app = stage.payee.open_app().await?;
    until_settled(&stage, &pid_hashes[1]).await?;
    app.close().await?;
    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + 2 * AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());
    assert!(stage.all_channels_open(&setup).await?);
    stage.payers_lsp_mut().stop().await?;

    refuses_to_start(&stage, &database).await?;
    stage.payers_lsp_mut().start().await?;
    assert!(stage.all_channels_open(&setup).await?);
    stage.finish().await?;
    Ok(())
}

/// What the server cannot do without is damaged, one after the other, and put back.
async fn refuses_to_start(stage: &Stage, database: &Path) -> Result<(), Failure> {
    let copy = database.with_extension("whole");
    let file = |source| Failure::File { path: database.to_owned(), source };
    fs::copy(database, &copy).map_err(file)?;
    let program = Program::lsp_server(stage.payers_lsp().data_dir())
        .variable("LSP__LIGHTNING__LISTEN", stage.payers_lsp().listen().to_string())
        .variable("LSP__PUSH__ALLOW_PRIVATE_ADDRESSES", "true");
    for (key, word) in [
        ("primary_namespace = '' AND key = 'manager'", "key `manager`"),
        ("primary_namespace = 'monitors'", "key `monitors/"),
        ("primary_namespace = 'on_chain_wallet'", "key `on_chain_wallet/"),
    ] {
        let other = connection(database)?;
        run(&other, &format!("UPDATE kv SET value = substr(value, 1, length(value) / 2) WHERE {key}"))?;
        other.close().map_err(|(_, error)| wrong(error))?;
        let refused = program.attempt(&["run"]).await?;
        assert_ne!(refused.code, Some(0), "{key}");
        assert!(refused.stderr.contains(word) && !refused.stderr.contains("the server is up"), "{refused:?}");
        put_back(&copy, database)?;
    }

    let page = 4_096;
    let bytes = fs::metadata(database).map_err(file)?.len();
    let damage = fs::OpenOptions::new().write(true).open(database).map_err(file)?;
    for at in (2 * page..bytes).step_by(4_096) {
        damage.write_all_at(&[0xff; 64], at).map_err(file)?;
    }
    let doctor = program.attempt(&["doctor"]).await?;
    assert!(doctor.stdout.contains("database pages"), "{doctor:?}");
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    let refused = program.attempt(&["run"]).await?;
    assert_ne!(refused.code, Some(0));
    assert!(
        refused.stderr.contains("malformed") && !refused.stderr.contains("the server is up"),
        "{refused:?}"
    );

    damage.write_all_at(b"no database at all", 0).map_err(file)?;
    let refused = program.attempt(&["run"]).await?;
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("file is not a database"), "{refused:?}");
    put_back(&copy, database)?;
    fs::remove_file(copy).map_err(file)
}

/// The whole file, and no log of another one.
fn put_back(copy: &Path, database: &Path) -> Result<(), Failure> {
    for log in ["lsp.sqlite-wal", "lsp.sqlite-shm"] {
        let path = database.with_file_name(log);
        if path.exists() {
            fs::remove_file(&path).map_err(|source| Failure::File { path, source })?;
        }
    }
    fs::copy(copy, database).map(drop).map_err(|source| Failure::File { path: database.to_owned(), source })
}
