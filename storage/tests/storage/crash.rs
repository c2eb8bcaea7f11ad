//! What a `kill -9` in mid-stream leaves behind. The child is this test binary itself, told by the environment to write.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use storage::testing::Scratch;
use storage::{Commit, Database, StorageError};

use crate::{NOTES, add_note, note_ids, open};

storage::on_both!(a_killed_process_leaves_a_prefix_and_no_lease, a_running_process_keeps_others_out);

const CHILD_DATABASE: &str = "STORAGE_TEST_CHILD_DATABASE";

/// Writes that wait for their commit at any time.
const IN_FLIGHT: u64 = 100;

/// Not a test by itself: the child's part, which does nothing unless it is called as the child.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_writes_until_it_is_killed() {
    let Ok(url) = env::var(CHILD_DATABASE) else { return };
    let db = Database::open(&url.parse().unwrap(), &[NOTES]).await.unwrap();
    let mut commits = FuturesOrdered::new();
    for number in 1_u64.. {
        commits.push_back(write(&db, number));
        if number > IN_FLIGHT {
            commits.next().await.unwrap().unwrap();
            println!("durable {}", number - IN_FLIGHT);
            std::io::stdout().flush().unwrap();
        }
    }
}

/// Odd numbers are transactions, even ones key-value writes: one order for both.
fn write(db: &Database, number: u64) -> Commit<(), StorageError> {
    if number % 2 == 1 {
        add_note(db, number as i64, "odd")
    } else {
        db.kv().write("even", "", &number.to_string(), number.to_be_bytes().to_vec())
    }
}

fn start_child(scratch: &Scratch) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::child_writes_until_it_is_killed", "--nocapture"])
        .env(CHILD_DATABASE, scratch.url_text())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the child once it has called so many writes durable; gives the last one that it did.
fn kill_after(mut child: Child, durable: u64) -> u64 {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = 0;
    let mut number_of =
        |line: String| line.rsplit_once("durable ").and_then(|(_, number)| number.parse().ok());
    while told < durable {
        told = lines.next().unwrap().ok().and_then(&mut number_of).unwrap_or(told);
    }
    child.kill().unwrap();
    // The last line may be cut off; a number that is cut off is smaller than the whole one.
    let told = lines.map_while(Result::ok).filter_map(number_of).fold(told, u64::max);
    child.wait().unwrap();
    told
}

async fn a_killed_process_leaves_a_prefix_and_no_lease(scratch: Scratch) {
    for kill_at in [1, 250, 2000] {
        let folder = scratch.another();
        let told = kill_after(start_child(&folder), kill_at);

        let db = open(&folder).await;
        let mut found: Vec<u64> = note_ids(&db).await.into_iter().map(|id| id as u64).collect();
        found.extend(db.kv().list("even", "").await.unwrap().iter().map(|key| key.parse::<u64>().unwrap()));
        found.sort_unstable();
        let last = *found.last().unwrap();
        assert!(found.into_iter().eq(1..=last), "what is durable must be a prefix of what was queued");
        assert!(last >= told, "{told} was called durable, {last} was found");

        write(&db, last + 1).await.unwrap();
    }
}

async fn a_running_process_keeps_others_out(folder: Scratch) {
    let mut child = start_child(&folder);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("durable") {}
    let second = Database::open(folder.url(), &[NOTES]).await;
    assert!(matches!(second.err(), Some(StorageError::InUse { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
}
