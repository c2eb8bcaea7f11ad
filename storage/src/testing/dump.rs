//! Postgres' own copies.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Scratch, answer_of_server, must};

impl Scratch {
    /// Where the server's programs are, which is on this machine.
    ///
    /// # Panics
    /// If it cannot be asked, or if this is no Postgres database.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        let (options, _) = must(self.server.as_ref().ok_or("it is SQLite"), "a server");
        answer_of_server(options, "SELECT setting FROM pg_config WHERE name = 'BINDIR'").into()
    }

    /// What `pg_dump` makes of it, also while somebody writes.
    ///
    /// # Panics
    /// If it cannot, or if this is no Postgres database.
    pub fn dump(&self, file: &Path) {
        run(Command::new(self.programs().join("pg_dump")).arg("--file").arg(file).arg(&self.text));
    }

    /// Nothing is left in it but what a dump holds.
    ///
    /// # Panics
    /// If that cannot be, or if this is no Postgres database.
    pub fn restore(&self, file: &Path) {
        let (_, name) = must(self.server.as_ref().ok_or("it is SQLite"), "a server");
        self.on_server(&format!("DROP DATABASE {name} WITH (FORCE)"));
        self.on_server(&format!("CREATE DATABASE {name}"));
        let options = ["--quiet", "--no-psqlrc", "--output=/dev/null", "--set=ON_ERROR_STOP=1", "--file"];
        run(Command::new(self.programs().join("psql")).args(options).arg(file).arg(&self.text));
    }
}

fn run(command: &mut Command) {
    let output = must(command.output(), "a program of Postgres'");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
