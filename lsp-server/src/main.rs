//! `lsp-server`: the program.

use std::process::ExitCode;

/// The database's pages and rows are many small allocations, freed in another order than they were made.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lsp_server::cli::main()
}
