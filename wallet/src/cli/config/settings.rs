//! Settings one by one: from TOML or from the environment, noting what is wrong and going on.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

/// What every variable of ours starts with, and what separates section and key: `WALLET__BITCOIND__RPC_URL`.
const PREFIX: &str = "WALLET__";
const SEPARATOR: &str = "__";

/// How alike a misspelt key must be to one that is known, to be taken for it.
const LIKENESS_MIN: f64 = 0.9;

/// What a setting that is any text expects.
pub(super) const TEXT: &str = "text in quotes";

/// Settings by name, and the mistakes found so far.
pub(super) struct Settings {
    /// By `section.key`: the file's name for it or the variable's, and the value.
    given: BTreeMap<String, (String, Value)>,
    known: BTreeSet<&'static str>,
    mistakes: Vec<String>,
}

impl Settings {
    pub(super) fn new(table: Table, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut given = BTreeMap::new();
        for (key, value) in table {
            match value {
                Value::Table(section) => {
                    // A section with a key's name is that key, of the wrong type.
                    given.insert(key.clone(), (key.clone(), Value::Table(Table::new())));
                    for (inner, value) in section {
                        let inner = format!("{key}.{inner}");
                        given.insert(inner.clone(), (inner, value));
                    }
                }
                value => {
                    given.insert(key.clone(), (key, value));
                }
            }
        }
        for (name, text) in environment {
            if let Some(key) = name.strip_prefix(PREFIX) {
                let key = key.replace(SEPARATOR, ".").to_lowercase();
                given.insert(key, (name, Value::String(text)));
            }
        }
        Self { given, known: BTreeSet::new(), mistakes: Vec::new() }
    }

    /// The setting, if it is there and right.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        self.known.insert(key);
        let (name, value) = self.given.get(key)?;
        let read = read(value);
        if read.is_none() {
            self.mistakes.push(format!("{name}: expected {expected}"));
        }
        read
    }

    /// The setting, if it is right; it is a mistake that it is missing.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        if !self.given.contains_key(key) {
            self.mistakes.push(format!("{key}: is missing: expected {expected}"));
        }
        self.optional(key, expected, read)
    }

    /// Every mistake, those of unknown keys included. To be called when every key that there is was asked for.
    pub(super) fn mistakes(mut self) -> Vec<String> {
        let sections: BTreeSet<_> = self.known.iter().filter_map(|key| key.split_once('.')).collect();
        let is_section = |key: &str| sections.iter().any(|(section, _)| *section == key);
        for (key, (name, value)) in &self.given {
            if self.known.contains(key.as_str()) || (is_section(key) && value.is_table()) {
                continue;
            }
            self.mistakes.push(match self.most_like(key) {
                Some(likely) => format!("{name}: is unknown; did you mean {likely}?"),
                None => format!("{name}: is unknown"),
            });
        }
        self.mistakes
    }

    fn most_like(&self, key: &str) -> Option<&'static str> {
        let likeness = |known: &&str| strsim::jaro_winkler(known, key);
        let best = self.known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
        (likeness(best) >= LIKENESS_MIN).then_some(*best)
    }
}
