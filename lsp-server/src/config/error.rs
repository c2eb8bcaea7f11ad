//! What can be wrong with a config.

use std::fmt;
use std::path::PathBuf;

/// The config cannot be used. No text here repeats a value that may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no config, or not for this user.
    #[error(
        "cannot read {}: run `lsp-server init` first, or name the right directory with --data-dir",
        path.display()
    )]
    Unreadable {
        /// The config file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}, line {line}: {message}", path.display())]
    Syntax {
        /// The config file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The parser's words.
        message: String,
    },
    /// Settings are wrong; all that are.
    #[error("{}", list(path, mistakes))]
    Mistakes {
        /// The config file.
        path: PathBuf,
        /// At least one.
        mistakes: Vec<ConfigMistake>,
    },
}

/// One setting that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMistake {
    /// `section.key`, or the name of the environment variable that set it.
    pub setting: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for ConfigMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.message)
    }
}

fn list(path: &std::path::Path, mistakes: &[ConfigMistake]) -> String {
    let count = match mistakes.len() {
        1 => "1 mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    let mut text = format!("the config has {count} ({} and the environment):", path.display());
    for mistake in mistakes {
        text.push_str("\n  ");
        text.push_str(&mistake.to_string());
    }
    text
}
