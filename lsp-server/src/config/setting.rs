//! Settings one by one: from TOML or from the environment, to a type, noting what is wrong and going on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bitcoin::Network;
use protocol::units::Msat;
use storage::DatabaseUrl;
use toml::{Table, Value};

use super::error::ConfigMistake;

/// What every variable of ours starts with, and what separates section and key.
const PREFIX: &str = "LSP__";
const SEPARATOR: &str = "__";

/// How alike a misspelt key must be to one that is known, to be taken for it.
const LIKENESS_MIN: f64 = 0.8;

/// A type that a setting can have.
pub(super) trait Setting: Sized {
    /// Completes "expected ...".
    const EXPECTED: &'static str;

    /// From the environment, or from a TOML string.
    fn from_text(text: &str) -> Option<Self>;

    /// From TOML.
    fn from_toml(value: &Value) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
}

impl Setting for String {
    const EXPECTED: &'static str = "text in quotes";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_toml(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

macro_rules! whole_number {
    ($($type:ty: $expected:literal),+) => {
        $(impl Setting for $type {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn from_toml(value: &Value) -> Option<Self> {
                value.as_integer()?.try_into().ok()
            }
        })+
    };
}

whole_number!(
    u8: "a whole number from 0 to 255",
    u16: "a whole number from 0 to 65535",
    u32: "a whole number from 0 to 4294967295",
    u64: "a whole number, 0 or more"
);

impl Setting for Msat {
    const EXPECTED: &'static str = "millisatoshi: a whole number, 0 or more";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    fn from_toml(value: &Value) -> Option<Self> {
        u64::from_toml(value).map(Self)
    }
}

impl Setting for Network {
    const EXPECTED: &'static str = "bitcoin, testnet, testnet4, signet or regtest";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "mainnet" | "main" => Some(Self::Bitcoin),
            text => text.parse().ok(),
        }
    }
}

impl Setting for SocketAddr {
    const EXPECTED: &'static str = "an address with a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Setting for Option<SocketAddr> {
    const EXPECTED: &'static str = "\"off\", or an address with a port, such as \"127.0.0.1:9464\"";

    fn from_text(text: &str) -> Option<Self> {
        if text == "off" { Some(None) } else { SocketAddr::from_text(text).map(Some) }
    }
}

impl Setting for Vec<SocketAddr> {
    const EXPECTED: &'static str =
        "a list of addresses with ports, such as [\"127.0.0.1:9735\", \"[::]:9735\"]";

    fn from_text(text: &str) -> Option<Self> {
        text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(SocketAddr::from_text).collect()
    }

    fn from_toml(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(SocketAddr::from_toml).collect()
    }
}

impl Setting for DatabaseUrl {
    const EXPECTED: &'static str = "a database URL, such as \"sqlite:/var/lib/lsp/lsp.sqlite\" or \"postgres://USER:PASSWORD@HOST/DATABASE\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Settings by name, and the mistakes found so far.
pub(super) struct Settings {
    table: Table,
    /// By `section.key`: the variable's name and its text.
    environment: BTreeMap<String, (String, String)>,
    known: BTreeSet<&'static str>,
    mistakes: Vec<ConfigMistake>,
    wrong: BTreeSet<&'static str>,
}

impl Settings {
    pub(super) fn new(table: Table, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let environment = environment
            .into_iter()
            .filter_map(|(name, text)| {
                let key = name.strip_prefix(PREFIX)?.replace(SEPARATOR, ".").to_lowercase();
                Some((key, (name, text)))
            })
            .collect();
        Self { table, environment, known: BTreeSet::new(), mistakes: Vec::new(), wrong: BTreeSet::new() }
    }

    /// The setting, or `default`.
    pub(super) fn or<T: Setting>(&mut self, key: &'static str, default: T) -> T {
        match self.find(key) {
            Found::Value(value) => value,
            Found::Nothing | Found::Mistake => default,
        }
    }

    /// The setting, if it is there and right.
    pub(super) fn optional<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        match self.find(key) {
            Found::Value(value) => Some(value),
            Found::Nothing | Found::Mistake => None,
        }
    }

    /// The setting; `placeholder`, for a config that is thrown away, when it is missing.
    pub(super) fn required<T: Setting>(&mut self, key: &'static str, placeholder: T) -> T {
        match self.find(key) {
            Found::Value(value) => value,
            Found::Mistake => placeholder,
            Found::Nothing => {
                self.mistake(key, format!("is missing: expected {}", T::EXPECTED));
                placeholder
            }
        }
    }

    /// Notes a mistake unless `right`, or unless the setting is known to be wrong already.
    pub(super) fn check(&mut self, key: &'static str, right: bool, message: impl FnOnce() -> String) {
        if !right && !self.wrong.contains(key) {
            self.mistake(key, message());
        }
    }

    /// Every mistake, those of unknown keys included.
    pub(super) fn mistakes(mut self) -> Vec<ConfigMistake> {
        let mut keys = Vec::new();
        self.keys_of("", &self.table, &mut keys);
        let unknown = keys.into_iter().map(|key| (key.clone(), key));
        let unknown_variables =
            self.environment.iter().map(|(key, (name, _))| (key.clone(), name.clone())).collect::<Vec<_>>();
        for (key, shown) in unknown.chain(unknown_variables) {
            if !self.known.contains(key.as_str()) {
                let message = match self.most_like(&key) {
                    Some(likely) => format!("is unknown; did you mean {likely}?"),
                    None => "is unknown".to_owned(),
                };
                self.mistakes.push(ConfigMistake { setting: shown, message });
            }
        }
        self.mistakes
    }

    /// Every key of the file, by `section.key`; of sections that are known, what is in them.
    fn keys_of(&self, prefix: &str, table: &Table, keys: &mut Vec<String>) {
        for (name, value) in table {
            let key = format!("{prefix}{name}");
            match value {
                Value::Table(section) if self.known.iter().any(|known| is_within(known, &key)) => {
                    self.keys_of(&format!("{key}."), section, keys);
                }
                _ => keys.push(key),
            }
        }
    }

    fn find<T: Setting>(&mut self, key: &'static str) -> Found<T> {
        self.known.insert(key);
        let value = match self.environment.get(key) {
            Some((_, text)) => T::from_text(text),
            None => match self.toml_value(key) {
                Some(value) => T::from_toml(value),
                None => return Found::Nothing,
            },
        };
        match value {
            Some(value) => Found::Value(value),
            None => {
                self.mistake(key, format!("expected {}", T::EXPECTED));
                Found::Mistake
            }
        }
    }

    fn toml_value(&self, key: &str) -> Option<&Value> {
        let mut sections = key.split('.');
        let last = sections.next_back()?;
        let table = sections.try_fold(&self.table, |table, section| table.get(section)?.as_table())?;
        table.get(last)
    }

    fn mistake(&mut self, key: &'static str, message: String) {
        let setting = self.environment.get(key).map_or_else(|| key.to_owned(), |(name, _)| name.clone());
        self.wrong.insert(key);
        self.mistakes.push(ConfigMistake { setting, message });
    }

    /// The known key or section that `key` was probably meant to be: alike as a whole, or in its last part.
    fn most_like(&self, key: &str) -> Option<&'static str> {
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let sections = self.known.iter().filter_map(|key| section_of(key)).collect::<BTreeSet<_>>();
        let likeness = |known: &str| {
            let whole = strsim::jaro_winkler(known, key);
            let same_last = last(known) == last(key);
            if same_last {
                whole.max(LIKENESS_MIN)
            } else {
                whole.min(strsim::jaro_winkler(&last(known), &last(key)))
            }
        };
        self.known
            .iter()
            .copied()
            .chain(sections)
            .map(|known| (likeness(known), known))
            .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, known)| known)
    }
}

enum Found<T> {
    Value(T),
    Nothing,
    Mistake,
}

fn section_of(key: &'static str) -> Option<&'static str> {
    key.rsplit_once('.').map(|(section, _)| section)
}

fn is_within(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}
