//! Tests of the hold: named cases, its rows, and properties of any sequence of events.

mod cases;
mod properties;
mod rows;
mod run;
mod undone;
