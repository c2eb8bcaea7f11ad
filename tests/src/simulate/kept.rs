//! What must survive a crash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use storage::StorageError;

use super::world::World;

impl World {
    /// Invariant 3: what was acknowledged is there after a start.
    pub(super) fn check_kept(&mut self) {
        let Some(process) = &self.process else { return };
        let kept = Arc::new(Mutex::new(None));
        let (answer, db) = (kept.clone(), process.db.clone());
        process.run(async move {
            let read = db.read("kept", |tx| {
                Box::pin(async move {
                    let holds = tx.fetch_all("SELECT pid_hash, deadline FROM hold", &[]).await?;
                    let mail = tx.fetch_all("SELECT recipient, message FROM mailbox_message", &[]).await?;
                    let mut found = (BTreeMap::new(), Vec::new());
                    for row in holds {
                        found.0.insert(row.get_array::<32>("pid_hash")?, row.get_u32("deadline")?);
                    }
                    for row in mail {
                        found.1.push((row.get_blob("recipient")?, row.get_blob("message")?));
                    }
                    Ok::<_, StorageError>(found)
                })
            });
            if let (Ok(read), Ok(mut answer)) = (read.await, answer.lock()) {
                *answer = Some(read);
            }
        });
        let Some((holds, mail)) = kept.lock().ok().and_then(|mut kept| kept.take()) else { return };
        let mut state = self.model.lock();
        let now = state.now;
        let lost: Vec<_> = state
            .payments
            .iter()
            .enumerate()
            .filter(|(_, payment)| {
                payment.granted.is_some() && holds.get(&payment.pid.hash().0).copied() != payment.granted
            })
            .map(|(number, _)| number)
            .collect();
        for payment in lost {
            state.trace.violation(format!("payment {payment}: the hold that was granted is not there"));
        }
        for ((peer, message), until) in &self.stored {
            let key = (peer.serialize().to_vec(), message.clone());
            if now < *until && !mail.contains(&key) {
                state.trace.violation("a message that was kept is not there".to_owned());
            }
        }
    }
}
