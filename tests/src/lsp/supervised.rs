//! An LSP that dies as it is told, and is started again each time.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use super::Lsp;
use crate::doom::{Doom, Fate};
use crate::failure::Failure;
use crate::process::{Output, Process};

/// How often it is looked whether the process has died.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

const SIGKILL: i32 = 9;

impl Lsp {
    /// Starts it again so that it dies of each of `dooms`, one after the other, tells `story` against it, and starts it once more
    /// as soon as it is dead, and not resting. Without any it goes on as it is. The answer, and how often it died.
    ///
    /// # Errors
    ///
    /// When the story fails, or the process ends in any other way.
    pub async fn with_dooms<T>(
        &mut self,
        fate: &Fate,
        dooms: Vec<Doom>,
        story: impl AsyncFnOnce(&Self) -> Result<T, Failure>,
    ) -> Result<(T, usize), Failure> {
        if dooms.is_empty() {
            return Ok((story(self).await?, 0));
        }
        self.kill().await;
        fate.set(dooms);
        let this = &*self;
        let mut process = Some(this.launch(fate)?);
        let told = {
            let mut story = std::pin::pin!(story(this));
            loop {
                tokio::select! {
                    told = &mut story => break told?,
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                }
                process = match process {
                    Some(running) => this.look_after(running, fate).await?,
                    None if fate.is_resting() => None,
                    None => Some(this.launch(fate)?),
                };
            }
        };
        if fate.is_fulfilled() && process.is_some() {
            self.process = process;
            return Ok((told, fate.deaths()));
        }
        // It may die while the story ends, which is a death too.
        if let Some(mut process) = process
            && let Some(status) = process.kill_now().await
        {
            fate.end(status);
        }
        let deaths = fate.deaths();
        // What did not come must not come later.
        fate.set([]);
        self.process = Some(self.launch(fate)?);
        Ok((told, deaths))
    }

    /// Starts it again if it has died, kills it if it is to die now, or to rest.
    async fn look_after(&self, mut process: Process, fate: &Fate) -> Result<Option<Process>, Failure> {
        if fate.is_resting() {
            // It may have died a moment before.
            let status = process.kill_now().await;
            if status.is_none_or(|status| status.signal() != Some(SIGKILL)) {
                self.died(fate, status)?;
            }
            return Ok(None);
        }
        let status = match fate.is_over() {
            true => process.kill_now().await,
            false => match process.ended() {
                Some(status) => Some(status),
                None => return Ok(Some(process)),
            },
        };
        self.died(fate, status)?;
        self.launch(fate).map(Some)
    }

    /// As [`Lsp::with_dooms`], with one crash point. The answer, and whether it died there.
    ///
    /// # Errors
    ///
    /// When the story fails, or the process ends in any other way.
    pub async fn with_crash<T>(
        &mut self,
        point: &str,
        story: impl AsyncFnOnce(&Self) -> Result<T, Failure>,
    ) -> Result<(T, bool), Failure> {
        let dooms = vec![Doom::At(point.to_owned())];
        let (told, deaths) = self.with_dooms(&Fate::default(), dooms, story).await?;
        Ok((told, deaths > 0))
    }

    fn launch(&self, fate: &Fate) -> Result<Process, Failure> {
        let mut command = self.command(&["run"])?;
        fate.begin(&mut command);
        Process::start(&self.name, command, Output::Log(&self.log))
    }

    fn died(&self, fate: &Fate, status: Option<std::process::ExitStatus>) -> Result<(), Failure> {
        match status {
            Some(status) if fate.end(status) => Ok(()),
            Some(status) => {
                Err(Failure::Ended { name: self.name.clone(), status, stderr: self.log_tail(20) })
            }
            None => Err(Failure::wrong(format!("{} cannot be killed", self.name))),
        }
    }

    /// Kills it, and starts it so that it tells of every crash point that it reaches.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn restart_traced(&mut self) -> Result<(), Failure> {
        self.kill().await;
        let fate = Fate::default();
        fate.trace();
        self.process = Some(self.launch(&fate)?);
        Ok(())
    }
}
