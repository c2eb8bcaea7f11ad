//! Tests of the hold: named cases, and properties of any sequence of events.

mod cases;
mod properties;
