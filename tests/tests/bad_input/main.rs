//! Bad input to the real programs: each has its own error that says what to do, and leaves everything as it was.

mod asking;
mod ground;
mod http;
mod invoices;
mod paying;
mod setting_up;
mod starting;
