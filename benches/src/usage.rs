//! What the kernel counts for a process, and what this machine is.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use storage::Database;
use tests::failure::Failure;

use crate::shim::{Counters, Durable};

/// Position of `utime` after the parenthesis that closes the program's name in `/proc/PID/stat`; `stime` follows.
const USER_TIME_FIELD: usize = 11;

/// What a process has used since it started, or during some time.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) durable: Durable,
    /// By the kernel's count, sockets and logs included.
    pub(crate) written_bytes: u64,
    /// By the process's own count; `None` for a stock LSP.
    pub(crate) commits: Option<u64>,
}

impl Usage {
    /// Of this process, which runs with the shim and has this database.
    pub(crate) fn of_this_process(database: &Database) -> Result<Self, Failure> {
        let pid = std::process::id().cast_signed();
        Ok(Self {
            cpu: own_cpu(),
            durable: Counters::of_this_process()?.read()?,
            written_bytes: written_bytes(pid)?,
            commits: Some(database.stats().commits),
        })
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            durable: self.durable - earlier.durable,
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            commits: self.commits.zip(earlier.commits).map(|(now, then)| now.saturating_sub(then)),
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            durable: Durable {
                fsyncs: self.durable.fsyncs + other.durable.fsyncs,
                writes: self.durable.writes + other.durable.writes,
                bytes: self.durable.bytes + other.durable.bytes,
                nanos: self.durable.nanos + other.durable.nanos,
            },
            written_bytes: self.written_bytes + other.written_bytes,
            commits: self.commits.zip(other.commits).map(|(one, two)| one + two),
        }
    }
}

fn read(path: String) -> Result<String, Failure> {
    fs::read_to_string(&path).map_err(|source| Failure::File { path: PathBuf::from(path), source })
}

/// CPU time of a process, in user and kernel mode, all threads together. It comes in ticks, of 10 ms as a rule.
pub(crate) fn cpu(pid: i32) -> Result<Duration, Failure> {
    let stat = read(format!("/proc/{pid}/stat"))?;
    let ticks = stat.rsplit_once(')').and_then(|(_, rest)| {
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(ticks(USER_TIME_FIELD)? + ticks(USER_TIME_FIELD + 1)?)
    });
    let ticks = ticks.ok_or_else(|| Failure::wrong("/proc/PID/stat has another form"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// CPU time of this process, to the nanosecond.
fn own_cpu() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    // Neither is ever negative.
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap_or_default())
}

/// Bytes that a process gave to `write` and its relatives: files, pipes and sockets alike.
pub(crate) fn written_bytes(pid: i32) -> Result<u64, Failure> {
    let io = read(format!("/proc/{pid}/io"))?;
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok());
    line.ok_or_else(|| Failure::wrong("/proc/PID/io has another form"))
}

/// This machine, in words.
pub(crate) fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let find = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = find("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let memory = find("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .map_or_else(|| "unknown memory".to_owned(), |kib| format!("{} GiB", kib >> 20));
    format!("{cpus} CPUs ({model}), {memory}")
}
