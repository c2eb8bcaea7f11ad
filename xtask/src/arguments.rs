//! Arguments of commands that hand the rest on.

/// Takes a flag of our own out of the rest, and returns whether it was there. The rest is everything that follows the
/// first argument not known to us, also what follows a `--` in it, which is not ours. `before` is whether the flag
/// was seen before the rest.
pub(crate) fn take_flag(flag: &str, before: bool, rest: &[String]) -> (bool, Vec<String>) {
    let (ours, others) = rest.split_at(rest.iter().position(|word| word == "--").unwrap_or(rest.len()));
    let kept: Vec<String> = ours.iter().filter(|word| *word != flag).chain(others).cloned().collect();
    (before || kept.len() < rest.len(), kept)
}
