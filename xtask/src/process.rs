//! Running cargo and other programs in the workspace.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;

/// Why a program did not do its work. What it had to say is on the terminal already.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error("cannot start {program}")]
    Start { program: String, source: io::Error },
    #[error("{program} failed: {status}")]
    Failed { program: String, status: ExitStatus },
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Stock ldk-node wallets: a workspace of their own, since ldk-node links another version of SQLite, and one lock file can have only one.
pub(crate) fn interop_manifest() -> Option<PathBuf> {
    Some(root().join("tests/interop/Cargo.toml")).filter(|path| path.is_file())
}

/// The fuzz targets: a workspace of their own, since libFuzzer belongs to no other build.
pub(crate) fn fuzz_manifest() -> PathBuf {
    root().join("fuzz/Cargo.toml")
}

/// cargo's target folder: this program is in a profile's folder inside it, whatever the configuration calls it.
///
/// # Errors
///
/// When the system cannot say where this program is.
pub(crate) fn target_dir() -> io::Result<PathBuf> {
    let exe = env::current_exe()?;
    let folder = exe.ancestors().nth(2).map(Path::to_path_buf);
    folder.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "this program is not in a target folder"))
}

/// A program that runs in the workspace's root, and as if no cargo had started this one: build scripts that watch
/// the variables which `cargo run` sets would otherwise run again each time.
pub(crate) fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(path);
    command.current_dir(root());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let set_by_cargo_run =
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|p| text.starts_with(p))
                || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"].contains(&text.as_ref());
        if set_by_cargo_run {
            command.env_remove(&name);
        }
    }
    command
}

/// The cargo that started this program.
pub(crate) fn cargo() -> Command {
    program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs the command to its end, with this program's own input and output.
///
/// # Errors
///
/// When it cannot be started, or ends with a failure.
pub(crate) fn run(command: &mut Command) -> Result<(), ProcessError> {
    let status =
        command.status().map_err(|source| ProcessError::Start { program: name_of(command), source })?;
    if status.success() { Ok(()) } else { Err(ProcessError::Failed { program: name_of(command), status }) }
}

/// As [`run`], and shows every line of the program's standard output to `seen` on its way to our own.
///
/// # Errors
///
/// When it cannot be started, or ends with a failure.
pub(crate) fn run_reading(command: &mut Command, mut seen: impl FnMut(&str)) -> Result<(), ProcessError> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| ProcessError::Start { program: name_of(command), source })?;
    if let Some(output) = child.stdout.take() {
        let mut ours = io::stdout();
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            seen(&String::from_utf8_lossy(&line));
            // Whoever reads us may have gone; the tests go on.
            drop(ours.write_all(&line).and_then(|()| ours.write_all(b"\n")).and_then(|()| ours.flush()));
        }
    }
    let status = child.wait().map_err(|source| ProcessError::Start { program: name_of(command), source })?;
    if status.success() { Ok(()) } else { Err(ProcessError::Failed { program: name_of(command), status }) }
}

/// The same program under `nice`, as far as there is one.
pub(crate) fn at_lowest_priority(command: &Command) -> Command {
    let there_is_nice = Command::new("nice").arg("true").output().is_ok_and(|output| output.status.success());
    if !there_is_nice {
        return program(command.get_program());
    }
    let mut nice = program("nice");
    nice.args(["-n", "19"]).arg(command.get_program());
    nice
}

/// A program that runs while this one does something else. What it says is shown when it is waited for.
pub(crate) struct Beside {
    name: String,
    child: io::Result<thread::JoinHandle<io::Result<Output>>>,
}

impl Beside {
    /// Starts it. If that fails, [`Beside::finish`] says so.
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self {
            name: name.to_owned(),
            child: child.map(|child| thread::spawn(move || child.wait_with_output())),
        }
    }

    /// Waits for its end, and shows what it said, each line of its standard output to `seen` as well.
    ///
    /// # Errors
    ///
    /// When it could not be started, or ended with a failure.
    pub(crate) fn finish(self, mut seen: impl FnMut(&str)) -> Result<(), ProcessError> {
        let Self { name: program, child } = self;
        let gone = |_| io::Error::other("nobody waited for it");
        let output = match child.and_then(|child| child.join().unwrap_or_else(|panic| Err(gone(panic)))) {
            Ok(output) => output,
            Err(source) => return Err(ProcessError::Start { program, source }),
        };
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            seen(line);
            println!("{line}");
        }
        match output.status {
            status if status.success() => Ok(()),
            status => Err(ProcessError::Failed { program, status }),
        }
    }
}

/// The program's file name and first argument, as in `cargo clippy`.
pub(crate) fn name_of(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    if let Some(first) = command.get_args().next() {
        name = format!("{name} {}", first.to_string_lossy());
    }
    name
}
