//! What takes minutes. Cargo runs one program of tests after the other, so these share one: the crash matrix keeps the processor busy, and
//! a payee that gives up after LDK's three minutes only waits.

mod crash_matrix;
mod release;
