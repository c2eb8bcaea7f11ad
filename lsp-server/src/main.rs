//! `lsp-server`: the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    lsp_server::cli::main()
}
