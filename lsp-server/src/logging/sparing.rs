//! Lines that strangers can cause: so many per second and place, whoever knocks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::callsite::Identifier;
use tracing::{Event, Metadata};
use tracing_subscriber::layer::{Context, Filter};

use crate::limits::{self, ServerLimit};

/// The target of lines that anybody can cause by connecting, asking or sending.
pub const STRANGERS: &str = "lsp_server::strangers";

/// What LDK says; much of it is about what peers do.
const LDK: &str = "ldk";

/// Lines of one place at once ...
const LINES_BURST: f64 = 200.0;

/// ... and per second, in the long run.
const LINES_PER_SECOND: f64 = 20.0;

/// Lines left out since the last look.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// How many lines were left out since this was last asked.
pub fn lines_left_out() -> u64 {
    LEFT_OUT.swap(0, Ordering::Relaxed)
}

/// Lets lines with the target [`STRANGERS`], and LDK's, pass at a bounded rate per place in the code, and all others always.
#[derive(Debug, Default)]
pub struct Sparing {
    /// Bounded by the places that there are.
    places: Mutex<HashMap<Identifier, Place>>,
}

#[derive(Debug)]
struct Place {
    lines: f64,
    filled_at: Instant,
}

impl Sparing {
    fn passes(&self, metadata: &Metadata<'_>, now: Instant) -> bool {
        if ![STRANGERS, LDK].contains(&metadata.target()) {
            return true;
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place =
            places.entry(metadata.callsite()).or_insert_with(|| Place { lines: LINES_BURST, filled_at: now });
        let elapsed = now.saturating_duration_since(place.filled_at).as_secs_f64();
        place.lines = (place.lines + elapsed * LINES_PER_SECOND).min(LINES_BURST);
        place.filled_at = now;
        let passes = place.lines >= 1.0;
        if passes {
            place.lines -= 1.0;
        }
        passes
    }
}

impl<S> Filter<S> for Sparing {
    fn enabled(&self, _metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        let passes = self.passes(event.metadata(), Instant::now());
        if !passes {
            // Not a line about it: this is where lines come through.
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
            limits::count(ServerLimit::LogLines);
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Layer, Registry};

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<AtomicU64>);

    impl<S: tracing::Subscriber> Layer<S> for Seen {
        fn on_event(&self, _event: &Event<'_>, _context: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Remembers where the last line came from.
    #[derive(Clone, Default)]
    struct Place(Arc<Mutex<Option<&'static Metadata<'static>>>>);

    impl<S: tracing::Subscriber> Layer<S> for Place {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            *self.0.lock().unwrap() = Some(event.metadata());
        }
    }

    #[test]
    fn lines_of_one_place_pass_up_to_the_bound_and_again_as_time_goes_on() {
        let place = Place::default();
        tracing::subscriber::with_default(Registry::default().with(place.clone()), || {
            tracing::info!(target: STRANGERS, "somebody knocks");
        });
        let line = place.0.lock().unwrap().unwrap();
        let (sparing, start) = (Sparing::default(), Instant::now());
        let bound = LINES_BURST as usize;
        for count in 1..=bound {
            assert!(sparing.passes(line, start), "line {count}");
        }
        assert!(!sparing.passes(line, start), "one more");
        let interval = Duration::from_secs_f64(1.0 / LINES_PER_SECOND);
        assert!(!sparing.passes(line, start + interval / 2));
        assert!(sparing.passes(line, start + interval));
        assert!(!sparing.passes(line, start + interval));
        let later = start + Duration::from_secs(3_600);
        let passed = (0..2 * bound).filter(|_| sparing.passes(line, later)).count();
        assert_eq!(passed, bound, "what is not used is not saved up beyond it");
    }

    #[test]
    fn strangers_lines_are_bounded_and_others_are_not() {
        let seen = Seen::default();
        let subscriber = Registry::default().with(seen.clone().with_filter(Sparing::default()));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..1_000 {
                tracing::info!(target: STRANGERS, "somebody knocks");
            }
            let strangers = seen.0.swap(0, Ordering::Relaxed);
            let bound = LINES_BURST as u64;
            // The clock runs meanwhile.
            assert!((bound..bound + 100).contains(&strangers), "{strangers}");
            tracing::info!(target: STRANGERS, "another place");
            assert_eq!(seen.0.swap(0, Ordering::Relaxed), 1);
            for _ in 0..1_000 {
                tracing::info!("our own business");
            }
            assert_eq!(seen.0.load(Ordering::Relaxed), 1_000);
        });
        assert!(lines_left_out() > 0);
    }
}
