//! How large the committed corpus may be. Named inputs stay; of the others the smallest.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// What fuzzing may add to one target's, in bytes.
const FOUND_BYTES_MAX: u64 = 12_000;
/// And how many inputs.
const FOUND_INPUTS_MAX: usize = 120;

/// Replaces what fuzzing found in `committed` by what is in `merged`, within the bounds, and empties `merged`.
pub(crate) fn replace(merged: &Path, committed: &Path) -> io::Result<()> {
    for path in inputs(committed)? {
        if was_found(&path) {
            fs::remove_file(path)?;
        }
    }
    let mut found = Vec::new();
    for path in inputs(merged)? {
        found.push((path.metadata()?.len(), path));
    }
    found.sort();
    let mut bytes_left = FOUND_BYTES_MAX;
    for (bytes, path) in found.iter().take(FOUND_INPUTS_MAX) {
        let Some(left) = bytes_left.checked_sub(*bytes) else { break };
        bytes_left = left;
        fs::copy(path, committed.join(path.file_name().unwrap_or_default()))?;
    }
    fs::remove_dir_all(merged)
}

fn inputs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// libFuzzer calls an input by its SHA-1.
fn was_found(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_inputs_stay_and_of_the_others_the_smallest() {
        let folder = tempfile::tempdir().unwrap();
        let [merged, committed] = ["merged", "committed"].map(|name| folder.path().join(name));
        for folder in [&merged, &committed] {
            fs::create_dir(folder).unwrap();
        }
        let name = |digit: &str| digit.repeat(40);
        fs::write(committed.join("a-finding"), "x").unwrap();
        fs::write(committed.join(name("a")), "old").unwrap();
        fs::write(merged.join(name("b")), "new").unwrap();
        fs::write(merged.join(name("c")), vec![0; FOUND_BYTES_MAX as usize]).unwrap();
        replace(&merged, &committed).unwrap();
        let mut left: Vec<_> = inputs(&committed).unwrap();
        left.sort();
        assert_eq!(left, [committed.join("a-finding"), committed.join(name("b"))]);
        assert!(!merged.exists());
    }
}
