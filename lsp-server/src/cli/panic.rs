//! What happens when LDK gives up.

use std::panic::PanicHookInfo;
use std::path::PathBuf;

use super::exit;
use crate::guard::mark_stale;

/// Of LDK's words when a peer has proved that our state is old (`panic_on_stale_state`, lightning 0.3
/// `src/ln/channel.rs`).
const FALLEN_BEHIND: &str = "We have fallen behind";

/// From here on a peer's proof that the database is old ends the process at once, before it can say anything to anybody, and is
/// remembered in `marker`. A panic ends only its task otherwise, and the process would go on with a node that is half dead.
pub(super) fn install(marker: PathBuf) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        if words(info).contains(FALLEN_BEHIND) {
            if let Err(error) =
                mark_stale(&marker, "a peer has proved at channel_reestablish that this database is old")
            {
                tracing::error!(%error, path = %marker.display(), "it cannot be remembered that the database is old");
            }
            tracing::error!(
                "a peer has PROVED that the database is an old copy: the process ends at once, and no start from it is allowed"
            );
            std::process::exit(exit::STALE.into());
        }
        if is_in_ldk(info) {
            tracing::error!(
                "LDK has panicked: the process ends at once, and the next start finds what is durable"
            );
            std::process::abort();
        }
    }));
}

fn words<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or_default()
}

fn is_in_ldk(info: &PanicHookInfo<'_>) -> bool {
    info.location().is_some_and(|location| {
        location.file().split('/').any(|folder| folder == "lightning" || folder.starts_with("lightning-0"))
    })
}
