//! The preloaded library that gives fsyncs a fixed cost and counts them: see `shim/shim.c`.

use std::fs;
use std::ops::Sub;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tests::failure::Failure;

const SOURCE: &str = include_str!("../shim/shim.c");
/// Names the file with the counters.
const COUNTERS_VAR: &str = "SHIM_COUNTERS";
const NUMBERS: usize = 4;
const NUMBER_BYTES: usize = size_of::<u64>();

/// The library, built for this run.
pub(crate) struct Shim {
    library: PathBuf,
    fsync_cost: Duration,
}

/// The counters of one process.
pub(crate) struct Counters {
    file: PathBuf,
}

/// What a process has made durable since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Durable {
    /// `fsync`, `fdatasync`, `sync_file_range` and `msync`.
    pub(crate) fsyncs: u64,
    /// Calls that wrote to files of the data folder's file system.
    pub(crate) writes: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Time spent in fsyncs, all threads together.
    pub(crate) nanos: u64,
}

impl Sub for Durable {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            fsyncs: self.fsyncs.saturating_sub(earlier.fsyncs),
            writes: self.writes.saturating_sub(earlier.writes),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            nanos: self.nanos.saturating_sub(earlier.nanos),
        }
    }
}

impl Shim {
    /// Compiles the library into `folder` with the system's C compiler.
    pub(crate) fn build(folder: &Path, fsync_cost: Duration) -> Result<Self, Failure> {
        let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
        fs::write(&source, SOURCE).map_err(|error| Failure::File { path: source.clone(), source: error })?;
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let status = compiler.status();
        let status = status.map_err(|source| Failure::Start { name: "cc".to_owned(), source })?;
        if status.success() {
            Ok(Self { library, fsync_cost })
        } else {
            Err(Failure::wrong(format!("the C compiler failed: {status}")))
        }
    }

    /// Puts the library into a process that is about to start with its data in `data_dir`, which must exist.
    pub(crate) fn preload(
        &self,
        command: &mut tokio::process::Command,
        data_dir: &Path,
        counters: &Counters,
    ) {
        command
            .env("LD_PRELOAD", &self.library)
            .env(COUNTERS_VAR, &counters.file)
            .env("SHIM_FSYNC_NANOS", self.fsync_cost.as_nanos().to_string())
            .env("SHIM_FOLDER", data_dir);
    }
}

impl Counters {
    /// Fresh ones.
    pub(crate) fn new(folder: &Path, name: &str) -> Result<Self, Failure> {
        let file = folder.join(format!("{name}.counters"));
        fs::write(&file, [0; NUMBERS * NUMBER_BYTES])
            .map_err(|source| Failure::File { path: file.clone(), source })?;
        Ok(Self { file })
    }

    /// Those of the process that this is, which was started with the shim.
    pub(crate) fn of_this_process() -> Result<Self, Failure> {
        let file = std::env::var_os(COUNTERS_VAR).map(PathBuf::from);
        Ok(Self { file: file.ok_or_else(|| Failure::wrong("this process has no shim"))? })
    }

    /// What they say now.
    pub(crate) fn read(&self) -> Result<Durable, Failure> {
        let bytes =
            fs::read(&self.file).map_err(|source| Failure::File { path: self.file.clone(), source })?;
        let (numbers, _) = bytes.as_chunks::<NUMBER_BYTES>();
        match numbers {
            [fsyncs, writes, bytes, nanos] => Ok(Durable {
                fsyncs: u64::from_ne_bytes(*fsyncs),
                writes: u64::from_ne_bytes(*writes),
                bytes: u64::from_ne_bytes(*bytes),
                nanos: u64::from_ne_bytes(*nanos),
            }),
            _ => Err(Failure::wrong("the counters have another size")),
        }
    }
}
