//! `cargo xtask fuzz`.

mod bounds;
mod stats;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use xtask::with_causes;

use crate::process::{self, ProcessError};
use crate::tools::{FUZZ, ToolError};
use stats::Stats;

/// An input that takes longer than this, in seconds, is a finding.
const INPUT_SECONDS_MAX: u32 = 10;
/// How long each target runs with --quick.
const QUICK_SECONDS: u32 = 5;
/// A target that takes more than this, in MiB, is a finding.
const MEMORY_MIB_MAX: u32 = 2048;

/// Runs the fuzz targets of fuzz/, each for a bounded time.
///
/// Needs a nightly toolchain (`rustup toolchain install nightly`), which is not installed for you; cargo-fuzz is, into
/// target/tools, at a pinned version. What a run finds worth keeping stays in target/fuzz/corpus for the next one; the
/// committed corpus, which `cargo xtask test` replays on any toolchain, is only read, unless --minimize is given.
/// Fails if an input crashed a target, and says where it is.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The targets to run; all of them if none is named.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// How long each target runs, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,

    /// Five seconds for each target: whether all of them still build, start and hold their corpus.
    #[arg(long, conflicts_with = "seconds")]
    quick: bool,

    /// Only names the targets.
    #[arg(long)]
    list: bool,

    /// Afterwards merges what was found into the committed corpus: as few and as small inputs as cover the same code.
    #[arg(long)]
    minimize: bool,
}

#[derive(Debug, thiserror::Error)]
enum FuzzError {
    #[error("there is no fuzz target {name}; there are: {}", known.join(", "))]
    UnknownTarget { name: String, known: Vec<String> },
    #[error("fuzzing needs a nightly toolchain, and there is none: `rustup toolchain install nightly`")]
    NoNightly,
    #[error("cannot get cargo-fuzz")]
    Tool(#[from] ToolError),
    #[error("the targets do not build")]
    Build(#[source] ProcessError),
    #[error("cannot use {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot run {target}")]
    Start { target: String, source: io::Error },
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match try_run(arguments) {
        Ok(crashes) if crashes.is_empty() => ExitCode::SUCCESS,
        Ok(crashes) => {
            eprintln!("\nfuzz: inputs that crash, hang or take too much:");
            for path in crashes {
                eprintln!("    {}", path.display());
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("fuzz: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// Answers with the inputs that crashed a target.
fn try_run(arguments: &Arguments) -> Result<Vec<PathBuf>, FuzzError> {
    let known = targets()?;
    if let Some(name) = arguments.targets.iter().find(|name| !known.contains(name)) {
        return Err(FuzzError::UnknownTarget { name: name.clone(), known });
    }
    if arguments.list {
        known.iter().for_each(|name| println!("{name}"));
        return Ok(Vec::new());
    }
    let chosen = if arguments.targets.is_empty() { &known } else { &arguments.targets };
    let places = Places::new(nightly_host()?)?;
    places.build()?;
    let mut crashes = Vec::new();
    println!("{}", Stats::HEADER);
    for target in chosen {
        let seconds = if arguments.quick { QUICK_SECONDS } else { arguments.seconds };
        let (stats, ended_well) = places.fuzz(target, seconds)?;
        println!("{}", stats.line(target));
        if !ended_well {
            crashes.extend(places.artifacts(target)?);
        }
        if arguments.minimize {
            places.minimize(target)?;
        }
    }
    Ok(crashes)
}

fn fuzz_folder() -> PathBuf {
    process::root().join("fuzz")
}

fn targets() -> Result<Vec<String>, FuzzError> {
    let folder = fuzz_folder().join("fuzz_targets");
    let mut names: Vec<_> = files(&folder)?
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, FuzzError> {
    let failed = |source| FuzzError::Folder { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// The programs and folders of fuzzing, all under the target folder but for the committed corpus.
struct Places {
    target: PathBuf,
    host: String,
}

impl Places {
    fn new(host: String) -> Result<Self, FuzzError> {
        let target = process::target_dir()
            .map_err(|source| FuzzError::Folder { path: PathBuf::from("target"), source })?
            .join("fuzz");
        Ok(Self { target, host })
    }

    fn build(&self) -> Result<(), FuzzError> {
        let cargo_fuzz = FUZZ.command()?;
        let mut command = nightly(cargo_fuzz.get_program());
        // With `cfg(fuzzing)` LDK and secp256k1 swap their cryptography for one that a fuzzer can forge.
        // No sanitizer: there is no unsafe code here to watch, and without one a target does twice as much.
        command.args(["fuzz", "build", "--no-cfg-fuzzing", "--sanitizer", "none", "--target", &self.host]);
        command.arg("--fuzz-dir");
        command.arg(fuzz_folder());
        command.arg("--target-dir").arg(&self.target);
        process::run(&mut command).map_err(FuzzError::Build)
    }

    fn folder(&self, kind: &str, target: &str) -> Result<PathBuf, FuzzError> {
        let path = self.target.join(kind).join(target);
        fs::create_dir_all(&path).map_err(|source| FuzzError::Folder { path: path.clone(), source })?;
        Ok(path)
    }

    fn committed(target: &str) -> PathBuf {
        fuzz_folder().join("corpus").join(target)
    }

    fn artifacts(&self, target: &str) -> Result<Vec<PathBuf>, FuzzError> {
        files(&self.folder("artifacts", target)?)
    }

    /// libFuzzer's own program.
    fn program(&self, target: &str) -> Command {
        process::program(self.target.join(&self.host).join("release").join(target))
    }

    fn fuzz(&self, target: &str, seconds: u32) -> Result<(Stats, bool), FuzzError> {
        let found = self.folder("corpus", target)?;
        let artifacts = self.folder("artifacts", target)?;
        let output = self
            .program(target)
            .arg(&found)
            .arg(Self::committed(target))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg("-print_final_stats=1")
            .stdin(Stdio::null())
            .output()
            .map_err(|source| FuzzError::Start { target: target.to_owned(), source })?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            eprintln!("{said}");
        }
        Ok((Stats::read(&said), output.status.success()))
    }

    /// Merges what was found into the committed corpus, which stays within its bounds.
    fn minimize(&self, target: &str) -> Result<(), FuzzError> {
        let merged = self.folder("merged", target)?;
        let committed = Self::committed(target);
        let mut command = self.program(target);
        command.arg("-merge=1").arg(&merged).arg(&committed).arg(self.folder("corpus", target)?);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        process::run(&mut command).map_err(FuzzError::Build)?;
        bounds::replace(&merged, &committed).map_err(|source| FuzzError::Folder { path: committed, source })
    }
}

/// The nightly compiler's name for this machine.
fn nightly_host() -> Result<String, FuzzError> {
    let output = nightly("rustc").arg("-vV").stdin(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success()).ok_or(FuzzError::NoNightly)?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).ok_or(FuzzError::NoNightly)
}

/// A program, run so that the cargo and the compiler that it finds are nightly's.
fn nightly(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = process::program("rustup");
    // The cargo that runs this program is not nightly's.
    command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN").args(["run", "nightly"]).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole committed corpus.
    const CORPUS_BYTES_MAX: u64 = 300_000;

    #[test]
    fn every_target_is_built_and_has_a_corpus_that_stays_small() {
        let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
        let targets = targets().unwrap();
        assert!(targets.len() > 10, "{targets:?}");
        let mut total = 0;
        for target in targets {
            assert!(
                manifest.contains(&format!("name = \"{target}\"\n")),
                "{target} is not in fuzz/Cargo.toml"
            );
            let corpus = files(&Places::committed(&target)).unwrap();
            assert!(!corpus.is_empty(), "{target} has no corpus");
            total += corpus.iter().map(|path| path.metadata().unwrap().len()).sum::<u64>();
        }
        assert!(total <= CORPUS_BYTES_MAX, "the corpus has {total} bytes");
    }

    #[test]
    fn an_unknown_target_is_told_which_there_are() {
        let arguments = Arguments {
            targets: vec!["nothing".to_owned()],
            seconds: 1,
            quick: false,
            list: false,
            minimize: false,
        };
        let error = try_run(&arguments).unwrap_err();
        assert!(error.to_string().contains("there are: api_bodies, "), "{error}");
    }
}
