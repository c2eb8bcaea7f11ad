//! Answers on stdout: tables for people, JSON for scripts.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use super::CliError;

/// Where and how answers go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// `answer` as JSON, or the text that `render` makes of it.
    pub(super) fn print<T: Serialize, D: Display>(
        self,
        answer: &T,
        render: impl FnOnce(&T) -> D,
    ) -> Result<(), CliError> {
        let mut text = if self.json {
            serde_json::to_string_pretty(answer).map_err(|error| CliError::Io(error.into()))?
        } else {
            render(answer).to_string()
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        write(&text)
    }

    /// For commands without an answer: a line for people, an empty object for scripts.
    pub(super) fn done(self, line: &str) -> Result<(), CliError> {
        write(&if self.json { "{}\n".to_owned() } else { format!("{line}\n") })
    }
}

fn write(text: &str) -> Result<(), CliError> {
    match io::stdout().write_all(text.as_bytes()) {
        // `lsp-server ... | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}
