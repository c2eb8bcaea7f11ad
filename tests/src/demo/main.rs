//! `demo`: two phones that are never online together pay each other.

fn main() {}
