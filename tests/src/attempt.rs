//! Commands that may fail, and what they leave behind.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bitcoin::hashes::{Hash, sha256};

use crate::failure::Failure;
use crate::process;

/// One of this build's programs, on one data folder.
#[derive(Clone, Debug)]
pub struct Program {
    name: &'static str,
    data_dir: PathBuf,
    variables: Vec<(String, String)>,
}

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it answered.
    pub stdout: String,
    /// What it logged and complained of.
    pub stderr: String,
}

impl Program {
    /// `lsp-server`
    pub fn lsp_server(data_dir: &Path) -> Self {
        Self { name: "lsp-server", data_dir: data_dir.to_owned(), variables: Vec::new() }
    }

    /// `wallet`
    pub fn wallet(data_dir: &Path) -> Self {
        Self { name: "wallet", data_dir: data_dir.to_owned(), variables: Vec::new() }
    }

    /// With a variable in its environment.
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Runs a command to its end, however it ends.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or does not end.
    pub async fn attempt(&self, arguments: &[&str]) -> Result<Attempt, Failure> {
        self.attempt_with_input(arguments, None).await
    }

    /// As [`Program::attempt`], with something to read on its standard input.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or does not end.
    pub async fn attempt_with_input(
        &self,
        arguments: &[&str],
        input: Option<&str>,
    ) -> Result<Attempt, Failure> {
        let mut command = process::command(process::built_program(self.name)?);
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command.arg("--data-dir").arg(&self.data_dir).args(arguments);
        let name = format!("{} {}", self.name, arguments.first().copied().unwrap_or_default());
        let ended = process::finish(&name, command, input).await?;
        Ok(Attempt { code: ended.status.code(), stdout: ended.stdout, stderr: ended.stderr })
    }
}

impl Attempt {
    /// Its last words: the error for which it ended. Empty if there is none.
    pub fn error(&self) -> &str {
        let is_line = |start: usize| start == 0 || self.stderr[..start].ends_with('\n');
        let found = self.stderr.rmatch_indices("error: ").find(|(start, _)| is_line(*start));
        found.map_or("", |(start, _)| self.stderr[start..].trim_end())
    }
}

/// The content of every file in a folder, as hashes. Sockets are left out, and a file without content is as good as none.
///
/// # Errors
///
/// When a file cannot be read.
pub fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, sha256::Hash>, Failure> {
    let failure = |path: &Path| {
        let path = path.to_owned();
        |source: io::Error| Failure::File { path, source }
    };
    let mut contents = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failure(folder))? {
        let entry = entry.map_err(failure(folder))?;
        let path = entry.path();
        if entry.file_type().map_err(failure(&path))?.is_file() {
            let bytes = std::fs::read(&path).map_err(failure(&path))?;
            if !bytes.is_empty() {
                contents.insert(path, sha256::Hash::hash(&bytes));
            }
        }
    }
    Ok(contents)
}
