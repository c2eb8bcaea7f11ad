//! Leaves nothing behind, however this program ends.
//!
//! Drop ends what a test started, and covers panics. It does not run when a signal ends the program: Ctrl-C,
//! a CI job's time limit, `kill -9`. So there is one shell beside it, in a process group of its own, that
//! knows every group and folder, and cleans up when the pipe to it breaks.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

const SCRIPT: &str = include_str!("guardian.sh");

static GUARDIAN: OnceLock<Mutex<Child>> = OnceLock::new();

/// From now on, the process group `group` ends when this program does.
pub(crate) fn watch_group(group: i32) -> io::Result<()> {
    tell(&format!("group {group}"))
}

/// The group has ended; its number may soon be somebody else's.
pub(crate) fn forget_group(group: i32) -> io::Result<()> {
    tell(&format!("group-ended {group}"))
}

/// From now on, `folder` is removed when this program ends.
pub(crate) fn watch_folder(folder: &Path) -> io::Result<()> {
    tell(&format!("folder {}", folder.display()))
}

/// Everything watched so far outlives this program.
pub(crate) fn leave_all() -> io::Result<()> {
    tell("leave")
}

/// Ends everything watched now, and returns when it has.
pub(crate) fn end_all() {
    if let Some(guardian) = GUARDIAN.get() {
        let mut guardian = guardian.lock().unwrap_or_else(PoisonError::into_inner);
        drop(guardian.stdin.take());
        let _ = guardian.wait();
    }
}

fn tell(line: &str) -> io::Result<()> {
    let guardian = match GUARDIAN.get() {
        Some(guardian) => guardian,
        None => {
            let started = start()?;
            // Two threads may have started one each: the loser's sees its input end, with nothing to clean up.
            GUARDIAN.get_or_init(|| Mutex::new(started))
        }
    };
    let mut guardian = guardian.lock().unwrap_or_else(PoisonError::into_inner);
    let input =
        guardian.stdin.as_mut().ok_or_else(|| io::Error::other("the guardian has been told to end"))?;
    writeln!(input, "{line}")?;
    input.flush()
}

fn start() -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", SCRIPT, "guardian"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}
