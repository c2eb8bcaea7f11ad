//! The story's lines, with the time since it began.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tests::phone::{Happening, Phone};

use crate::words;

/// Prints what happens, when, and to whom. Clones write to the same page.
#[derive(Clone)]
pub(crate) struct Timeline {
    start: Arc<Mutex<Instant>>,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self { start: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Begins a chapter; times count from here.
    pub(crate) fn chapter(&self, title: &str) {
        println!("\n{title}\n");
        *self.start.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// One line.
    pub(crate) fn tell(&self, who: &str, what: &str) {
        let elapsed = self.start.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        println!("{:>7.2} s  {who:<9} {what}", elapsed.as_secs_f64());
    }

    /// Seconds since the chapter began.
    pub(crate) fn seconds(&self) -> f64 {
        self.start.lock().unwrap_or_else(PoisonError::into_inner).elapsed().as_secs_f64()
    }

    /// Tells everything that happens on a phone from now on.
    pub(crate) fn follow(&self, phone: &Phone) {
        let (timeline, name) = (self.clone(), phone.wallet().name().to_owned());
        phone.witness(move |happening| match happening {
            Happening::Pushed(push) => {
                let reason = &push.body.reason;
                timeline.tell(&name, &format!("  push received: {reason} ({})", words::push(reason)));
            }
            Happening::Woken => timeline.tell(&name, "ON, started by the push"),
            Happening::Said(line) => {
                if let Some(text) = words::step(line) {
                    timeline.tell(&name, &format!("  {text}"));
                }
            }
            Happening::Slept(_) => timeline.tell(&name, "OFF"),
        });
    }
}
