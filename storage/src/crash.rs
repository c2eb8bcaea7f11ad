//! Named points at which a test makes the process die.
//!
//! A [`crash_point!`](crate::crash_point) stands at each boundary where a crash could tell of work that is half done: before and
//! after a commit, between what is durable and what LDK or a phone is told. It does nothing unless the process was started with
//! [`CRASH_AT`] naming it, and in a build without debug assertions it is not there at all (ADR 17).
//! With [`CRASH_TRACE`] the process says on standard error which points it reaches.

#[cfg(debug_assertions)]
use std::sync::OnceLock;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable that names the point to die at: `name`, or `name:N` for the N-th time that it is reached. It is read
/// once.
pub const CRASH_AT: &str = "LIGHTNING_ROD_CRASH_AT";

/// With this environment variable, whatever its value, each point that is reached is a line on standard error: [`trace_line`].
pub const CRASH_TRACE: &str = "LIGHTNING_ROD_CRASH_TRACE";

#[cfg(debug_assertions)]
static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

#[cfg(debug_assertions)]
#[derive(Debug)]
struct Armed {
    name: String,
    /// 1 is the first time. Whatever is no number from 1 on never comes.
    at: u64,
    reached: AtomicU64,
}

#[cfg(debug_assertions)]
impl Armed {
    fn parse(text: &str) -> Self {
        let (name, at) = match text.rsplit_once(':') {
            Some((name, at)) => (name, at.parse().unwrap_or(0)),
            None => (text, 1),
        };
        Self { name: name.to_owned(), at, reached: AtomicU64::new(0) }
    }

    fn is_due(&self, name: &str) -> bool {
        self.name == name && self.reached.fetch_add(1, Ordering::Relaxed) + 1 == self.at
    }
}

/// The line with which [`CRASH_TRACE`] tells of a point, without its end.
pub fn trace_line(name: &str) -> String {
    format!("crash point {name} reached")
}

/// The line with which a process dies at a point, without its end.
pub fn death_line(name: &str) -> String {
    format!("crash point {name}: the process aborts, as {CRASH_AT} says")
}

/// What [`crash_point!`](crate::crash_point) calls.
#[cfg(debug_assertions)]
#[doc(hidden)]
pub fn reached(name: &str) {
    static TRACED: OnceLock<bool> = OnceLock::new();
    if *TRACED.get_or_init(|| std::env::var_os(CRASH_TRACE).is_some()) {
        eprintln!("{}", trace_line(name));
    }
    let armed = ARMED.get_or_init(|| std::env::var(CRASH_AT).ok().map(|text| Armed::parse(&text)));
    if armed.as_ref().is_some_and(|armed| armed.is_due(name)) {
        eprintln!("{}", death_line(name));
        std::process::abort();
    }
}

/// `crash_point!("name")` aborts the process if [`CRASH_AT`](crate::crash::CRASH_AT) names this point. The name is unique and a
/// literal, since the crash tests read the list of points from the source.
#[cfg(debug_assertions)]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::reached($name)
    };
}

/// Nothing: this build has no crash points.
#[cfg(not(debug_assertions))]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {};
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    const CHILD: &str = "STORAGE_TEST_CRASH_CHILD";
    const SIGABRT: i32 = 6;

    /// Not a test by itself: the child's part, which passes three points.
    #[test]
    fn child_passes_points() {
        if std::env::var_os(CHILD).is_some() {
            for _ in 0..3 {
                crash_point!("first");
                crash_point!("second");
                println!("passed");
            }
        }
    }

    fn command() -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash::tests::child_passes_points", "--nocapture"]).env(CHILD, "1");
        command.env_remove(CRASH_AT).env_remove(CRASH_TRACE);
        command
    }

    /// The signal that ended the child, and how often it passed both points.
    fn child(crash_at: Option<&str>) -> (Option<i32>, usize) {
        let mut command = command();
        if let Some(point) = crash_at {
            command.env(CRASH_AT, point);
        }
        let output = command.output().unwrap();
        let died = output.status.signal() == Some(SIGABRT);
        assert_eq!(died, String::from_utf8_lossy(&output.stderr).contains("crash point"));
        (output.status.signal(), String::from_utf8_lossy(&output.stdout).matches("passed\n").count())
    }

    #[test]
    fn a_traced_process_says_what_it_reaches() {
        let output = command().env(CRASH_TRACE, "1").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let expected = if cfg!(debug_assertions) { 3 } else { 0 };
        for point in ["first", "second"] {
            assert_eq!(stderr.matches(&format!("{}\n", trace_line(point))).count(), expected);
        }
    }

    #[test]
    fn a_process_dies_where_it_is_told_and_nowhere_else() {
        for unharmed in [None, Some("third"), Some("second:4"), Some("second:0"), Some("second:x"), Some("")]
        {
            assert_eq!(child(unharmed), (None, 3), "{unharmed:?}");
        }
        let in_release = !cfg!(debug_assertions);
        for (point, passed) in [("first", 0), ("second", 0), ("first:1", 0), ("second:2", 1), ("first:3", 2)]
        {
            let expected = if in_release { (None, 3) } else { (Some(SIGABRT), passed) };
            assert_eq!(child(Some(point)), expected, "{point}");
        }
    }
}
