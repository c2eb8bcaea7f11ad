//! Replays the committed corpus in a crate's own tests, on any toolchain. Compiled into each of them.

use std::path::Path;

/// Runs a target over its corpus; a panic names the input.
pub(super) fn corpus(name: &str, target: fn(&[u8])) {
    // Asked at run time: a target folder that two checkouts share may hold a binary that the other one built.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let folder = Path::new(&package).join("../fuzz/corpus").join(name);
    let inputs = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for input in inputs {
        let path = input.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        let naming = NamesInput(&path);
        target(&data);
        drop(naming);
        count += 1;
    }
    assert!(count > 0, "{} is empty: nothing was replayed", folder.display());
}

struct NamesInput<'a>(&'a Path);

impl Drop for NamesInput<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input is {}", self.0.display());
        }
    }
}
