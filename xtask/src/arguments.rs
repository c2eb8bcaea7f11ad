//! Arguments of commands that hand the rest on.

/// An own flag of a command that hands the rest on. It may stand among the rest: everything after the first unknown
/// argument is. What follows `--` is never ours.
pub(crate) fn take_flag(flag: &str, seen: bool, rest: &[String]) -> (bool, Vec<String>) {
    let ours = rest.iter().position(|argument| argument == "--").unwrap_or(rest.len());
    let (before, after) = rest.split_at(ours);
    let kept: Vec<String> =
        before.iter().filter(|argument| *argument != flag).chain(after).cloned().collect();
    (seen || kept.len() < rest.len(), kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_flag_is_found_among_the_rest() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(take_flag("--release", false, &words("--lsps 1 --release")), (true, words("--lsps 1")));
        assert_eq!(take_flag("--release", true, &words("--keep")), (true, words("--keep")));
        assert_eq!(take_flag("--release", false, &words("a -- --release")), (false, words("a -- --release")));
    }
}
