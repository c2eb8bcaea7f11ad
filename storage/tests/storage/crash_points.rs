//! `storage::crash` compiled as a program of its own, as debug builds and as releases compile it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const SIGABRT: i32 = 6;

/// Compiles a program that passes one crash point and says so.
fn compile(folder: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let source = folder.join(format!("{name}.rs"));
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/crash.rs");
    let text = format!(
        "#[macro_use] #[path = {module:?}] pub mod crash;\nfn main() {{ crash_point!(\"here\"); println!(\"passed\"); }}"
    );
    std::fs::write(&source, text).unwrap();
    let program = folder.join(name);
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "--cap-lints", "allow"]).args(flags).arg("-o").arg(&program);
    let output = command.arg(&source).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// The signal that ended a program that is told to die where it passes, and what it said.
fn doomed(program: &Path) -> (Option<i32>, String) {
    let output = Command::new(program)
        .env(storage::crash::CRASH_AT, "here")
        .env(storage::crash::CRASH_TRACE, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.signal(), String::from_utf8_lossy(&said).into_owned())
}

fn knows_the_variable(program: &Path) -> bool {
    let name = storage::crash::CRASH_AT.as_bytes();
    std::fs::read(program).unwrap().windows(name.len()).any(|bytes| bytes == name)
}

#[test]
fn a_release_has_no_crash_points() {
    let folder = tempfile::tempdir().unwrap();
    let debug = compile(folder.path(), "debug", &[]);
    let (signal, said) = doomed(&debug);
    assert!(signal == Some(SIGABRT) && !said.contains("passed"), "{signal:?}: {said}");
    assert!(knows_the_variable(&debug));

    let release = compile(folder.path(), "release", &["-C", "opt-level=3"]);
    assert_eq!(doomed(&release), (None, "passed\n".to_owned()));
    assert!(!knows_the_variable(&release));
}
