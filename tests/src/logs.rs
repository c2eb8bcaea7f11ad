//! What everybody logged, for whoever has to find out why a test failed.

use std::path::PathBuf;

/// How many lines of each log are shown.
const LINES: usize = 60;

/// Prints the end of every log when it is dropped, unless [`Logs::not_needed`] was called before: a test that returns early,
/// or panics, has failed.
#[derive(Debug, Default)]
pub struct Logs {
    paths: Vec<(String, PathBuf)>,
    not_needed: bool,
}

impl Logs {
    /// Shows this one, too.
    pub fn add(&mut self, name: &str, path: PathBuf) {
        self.paths.push((name.to_owned(), path));
    }

    /// The test has passed.
    pub fn not_needed(&mut self) {
        self.not_needed = true;
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        if self.not_needed {
            return;
        }
        for (name, path) in &self.paths {
            let log = std::fs::read_to_string(path).unwrap_or_default();
            // A traced process says more than anybody wants to read.
            let log: String = log.split_inclusive('\n').filter(|line| !is_trace(line)).collect();
            if let Some(panicked) = panicked(&log) {
                eprintln!("\n--- {name} panicked ---\n{panicked}");
            }
            eprintln!("\n--- the end of {name}'s log ---\n{}", crate::text::tail(&log, LINES));
        }
    }
}

/// What is said of the last panic, which the backtrace behind it would push out of sight.
fn panicked(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().collect();
    let at = lines.iter().rposition(|line| line.contains("panicked at"))?;
    Some(lines[at..].iter().take(LINES).copied().collect::<Vec<_>>().join("\n"))
}

fn is_trace(line: &str) -> bool {
    line.starts_with("crash point ") && line.trim_end().ends_with(" reached")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_says_is_found_in_front_of_its_backtrace() {
        let frames: String = (0..100).map(|frame| format!("  {frame}: somewhere\n")).collect();
        let log = format!("well\nthread 'main' panicked at lib.rs:1:2:\nwhy\n{frames}");
        let said = panicked(&log).unwrap();
        assert!(said.starts_with("thread 'main' panicked at lib.rs:1:2:\nwhy\n"), "{said}");
        assert_eq!(said.lines().count(), LINES);
        assert_eq!(panicked("well\n"), None);
    }
}
