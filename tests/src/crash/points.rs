//! The crash points, read from the source: a new one cannot be forgotten.

use std::fmt;
use std::path::Path;

use crate::failure::Failure;

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The payer's LSP.
    LspA,
    /// The payee's LSP.
    LspB,
    /// The payer's wallet.
    Payer,
    /// The payee's wallet.
    Payee,
}

/// A program, with crash points of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `lsp-server`
    Lsp,
    /// `wallet`
    Wallet,
}

impl Role {
    /// All of them, in a table's order.
    pub const ALL: [Self; 4] = [Self::LspA, Self::LspB, Self::Payer, Self::Payee];

    /// Its name in logs, and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LspA => "lsp_a",
            Self::LspB => "lsp_b",
            Self::Payer => "payer",
            Self::Payee => "payee",
        }
    }

    /// Which program it runs.
    pub fn kind(self) -> Kind {
        match self {
            Self::LspA | Self::LspB => Kind::Lsp,
            Self::Payer | Self::Payee => Kind::Wallet,
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == text);
        known.ok_or_else(|| "expected lsp_a, lsp_b, payer or payee".to_owned())
    }
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Lsp, Self::Wallet];

    /// The sources that its program is made of, as far as they have crash points.
    fn sources(self) -> [&'static str; 3] {
        let own = match self {
            Self::Lsp => "lsp-server/src",
            Self::Wallet => "wallet/src",
        };
        ["storage/src", "node/src", own]
    }

    /// The names of all crash points of this program, sorted.
    ///
    /// # Errors
    ///
    /// When two have the same name, or a file cannot be read.
    pub fn points(self) -> Result<Vec<String>, Failure> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut points = Vec::new();
        for sources in self.sources() {
            find_points(&workspace.join(sources), &mut points)?;
        }
        points.sort();
        match points.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Failure::wrong(format!("two crash points are called {}", pair[0]))),
            None => Ok(points),
        }
    }
}

fn find_points(path: &Path, points: &mut Vec<String>) -> Result<(), Failure> {
    let failure = |source| Failure::File { path: path.to_owned(), source };
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(failure)? {
            find_points(&entry.map_err(failure)?.path(), points)?;
        }
        // The macro's own file shows how it is used.
    } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("storage/src/crash.rs")
    {
        let text = std::fs::read_to_string(path).map_err(failure)?;
        let names = text.split("crash_point!(\"").skip(1).filter_map(|rest| rest.split_once('"'));
        points.extend(names.map(|(name, _)| name.to_owned()));
    }
    Ok(())
}

/// How often each point stands in a part of a traced process's log.
pub(super) fn reached(log: &str) -> std::collections::BTreeMap<String, u32> {
    let mut counts = std::collections::BTreeMap::new();
    for line in log.lines() {
        let name = line.strip_prefix("crash point ").and_then(|rest| rest.strip_suffix(" reached"));
        if let Some(name) = name.filter(|name| storage::crash::trace_line(name) == line) {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_points_of_both_programs_are_found() {
        for (kind, own, others) in
            [(Kind::Lsp, "block_stored", "before_claim"), (Kind::Wallet, "before_claim", "block_stored")]
        {
            let points = kind.points().unwrap();
            for shared in ["before_commit", "after_commit", "event_handled", own] {
                assert!(points.iter().any(|point| point == shared), "{shared} is not in {points:?}");
            }
            assert!(!points.iter().any(|point| point == others));
        }
    }

    #[test]
    fn a_trace_is_read() {
        let line = storage::crash::trace_line("here");
        let log = format!("{line}\nsomething else\n{line}\n{}\n", storage::crash::death_line("here"));
        assert_eq!(reached(&log).into_iter().collect::<Vec<_>>(), [("here".to_owned(), 2)]);
    }
}
