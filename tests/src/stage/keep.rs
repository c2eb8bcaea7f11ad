//! Leaving the stage without taking it down.

use std::path::PathBuf;

use super::Stage;
use crate::failure::Failure;
use crate::process::{self, Output, Process, guardian};

/// What was left running.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Where everybody's data and logs are.
    pub folder: PathBuf,
    /// Every process group, by name.
    pub groups: Vec<(String, i32)>,
}

impl Stage {
    /// Leaves everybody running for good. The phones, which are tasks of this program, become processes of their own:
    /// `program phone NAME --data-dir D --log L --port P`.
    ///
    /// # Errors
    ///
    /// When a phone cannot be started. Then all ends as usual.
    pub async fn keep(mut self, program: &std::path::Path) -> Result<Kept, Failure> {
        let mut phones = Vec::new();
        for phone in [&mut self.payer, &mut self.payee] {
            phone.switch_off().await;
            let wallet = phone.wallet();
            let log = wallet.data_dir().with_extension("phone.log");
            let mut command = process::command(program);
            command.args(["phone", wallet.name(), "--port", &phone.port().to_string()]);
            command.arg("--data-dir").arg(wallet.data_dir()).arg("--log").arg(wallet.log_path());
            let name = format!("{}'s phone", wallet.name());
            phones.push((name.clone(), Process::start(&name, command, Output::Log(&log))?));
        }
        self.logs.not_needed();
        let Self { bitcoind, lsps, folder, .. } = self;
        let folder = folder.keep();
        guardian::leave_all().map_err(|source| Failure::File { path: folder.clone(), source })?;
        let mut groups = vec![("bitcoind".to_owned(), bitcoind.group())];
        groups.extend(lsps.iter().filter_map(|lsp| Some((lsp.name().to_owned(), lsp.group()?))));
        groups.extend(phones.iter().map(|(name, process)| (name.clone(), process.group())));
        // Their owners must not end them.
        std::mem::forget((bitcoind, lsps, phones));
        Ok(Kept { folder, groups })
    }
}
