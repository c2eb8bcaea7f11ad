//! Who dies where in which round.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Options;
use super::lane::Dooms;
use super::points::{Kind, Role};
use super::stories::Story;
use crate::doom::Doom;
use crate::failure::Failure;

/// In a short run, the writer's points, which come at the start already, are tried at these times too.
const COMMITS: [u32; 2] = [15, 40];

/// In a whole run, the times at which a point is tried that is reached so often.
const TIMES: [u32; 10] = [1, 2, 3, 4, 6, 10, 16, 26, 42, 68];

/// The points of a payment in parts that a short run tries: where one part is done and another is not.
const MPP: [(Role, &str); 9] = [
    (Role::LspA, "part_released"),
    (Role::LspA, "part_released:2"),
    (Role::LspA, "htlc_queued:2"),
    (Role::LspB, "message_handed_over"),
    (Role::Payer, "pay_told"),
    (Role::Payer, "held_seen"),
    (Role::Payee, "unblock_sent"),
    (Role::Payee, "before_claim"),
    (Role::Payee, "claim_told"),
];

/// Where a process dies that is to die once more while it recovers.
const BEFORE_RECOVERY: [(Role, &str); 8] = [
    (Role::LspA, "htlc_queued"),
    (Role::LspA, "unblock_stored"),
    (Role::LspA, "part_released"),
    (Role::LspB, "message_queued"),
    (Role::LspB, "wake_pushed"),
    (Role::Payer, "pay_told"),
    (Role::Payee, "pending_stored"),
    (Role::Payee, "claim_told"),
];

/// Where it dies then.
const IN_RECOVERY: [&str; 5] =
    ["before_commit", "after_commit", "event_received", "event_handled", "ldk_write_queued"];

/// Longer than a story takes; those that come later do not come.
const KILL_AFTER_MS_MAX: u64 = 12_000;

/// Who reaches which point, in which story first, and how often.
#[derive(Debug, Default)]
pub(super) struct Found(BTreeMap<(Role, String), BTreeMap<Story, u32>>);

impl Found {
    pub(super) fn add(&mut self, story: Story, reached: [BTreeMap<String, u32>; 4]) {
        for (role, points) in Role::ALL.into_iter().zip(reached) {
            for (point, times) in points {
                self.0.entry((role, point)).or_default().insert(story, times);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// By the story that is quickest to tell.
    fn story_of(&self, role: Role, point: &str) -> Option<(Story, u32)> {
        let stories = self.0.get(&(role, point.to_owned()))?;
        Story::ALL.into_iter().find_map(|story| stories.get(&story).map(|times| (story, *times)))
    }

    /// The other stories in which it is reached, that with the most times last.
    fn elsewhere(&self, role: Role, point: &str, story: Story) -> Vec<Story> {
        let Some(stories) = self.0.get(&(role, point.to_owned())) else { return Vec::new() };
        let mut others: Vec<_> = stories.iter().filter(|(other, _)| **other != story).collect();
        others.sort_by_key(|(_, times)| **times);
        others.into_iter().map(|(story, _)| *story).collect()
    }
}

/// One process that is to die in a round.
#[derive(Clone, Debug)]
pub(super) struct Try {
    pub(super) role: Role,
    pub(super) dooms: Vec<Doom>,
    /// Else it may live.
    pub(super) must_come: bool,
    /// How often it was tried alone, in vain.
    pub(super) alone: u32,
    /// Where else it can be tried, the best last.
    pub(super) elsewhere: Vec<Story>,
}

impl Try {
    fn at(role: Role, points: &[&str]) -> Self {
        let dooms = points.iter().map(|point| Doom::At((*point).to_owned())).collect();
        Self { role, dooms, must_come: true, alone: 0, elsewhere: Vec::new() }
    }
}

/// One story, and those who die in it.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) story: Story,
    pub(super) tries: Vec<Try>,
}

impl Round {
    pub(super) fn dooms(&self) -> Dooms {
        let mut dooms = Dooms::default();
        for one in &self.tries {
            dooms.set(one.role, one.dooms.clone());
        }
        dooms
    }
}

/// Every round of a run.
///
/// # Errors
///
/// When the sources cannot be read, or nothing is asked for.
pub(super) fn plan(options: &Options, found: &Found) -> Result<Vec<Round>, Failure> {
    let mut tries = Vec::new();
    let kinds = if options.random_only { Vec::new() } else { Kind::ALL.to_vec() };
    for kind in kinds {
        for point in kind.points()? {
            let roles = Role::ALL.into_iter().filter(|role| role.kind() == kind);
            let before = tries.len();
            for role in roles {
                if options.whole {
                    tries.extend(every_time(options, found, role, &point));
                } else if let Some((story, times)) = found.story_of(role, &point) {
                    let elsewhere = found.elsewhere(role, &point, story);
                    tries.push((story, Try { elsewhere, ..Try::at(role, &[&point]) }));
                    let commits = COMMITS.iter().filter(|at| point.ends_with("_commit") && **at <= times);
                    // On a busy machine more is written in one commit, and there are fewer.
                    tries.extend(commits.map(|at| {
                        (story, Try { must_come: false, ..Try::at(role, &[&format!("{point}:{at}")]) })
                    }));
                }
            }
            if tries.len() == before && (options.story.is_none() || options.point.is_some()) {
                // Nobody comes there while all is well. It may be a point of recovery; of one story alone, more likely another's.
                let first = BEFORE_RECOVERY.into_iter().find(|(role, _)| role.kind() == kind);
                tries.extend(first.map(|(role, first)| (Story::Main, Try::at(role, &[first, &point]))));
            }
        }
    }
    if options.random_only {
        return Ok(random_rounds(options));
    }
    if options.whole {
        for (role, first) in BEFORE_RECOVERY {
            tries.extend(IN_RECOVERY.map(|second| (Story::Main, Try::at(role, &[first, second]))));
        }
    } else {
        tries.extend(MPP.map(|(role, point)| (Story::Mpp, Try::at(role, &[point]))));
        for ((role, first), second) in BEFORE_RECOVERY.into_iter().zip(IN_RECOVERY.iter().cycle()) {
            tries.push((Story::Main, Try::at(role, &[first, second])));
        }
    }
    tries.retain(|(story, one)| {
        options.role.is_none_or(|role| role == one.role) && options.story.is_none_or(|only| only == *story)
    });
    if let Some(point) = &options.point {
        let named =
            |doom: &Doom| matches!(doom, Doom::At(at) if at == point || at.split(':').next() == Some(point));
        tries.retain(|(_, one)| one.dooms.iter().any(named));
        if tries.is_empty() {
            // As it was said: a time that no clean story has.
            let role = options.role.unwrap_or(Role::LspA);
            tries.push((options.story.unwrap_or(Story::Main), Try::at(role, &[point])));
        }
    }
    let mut rounds = pack(tries, options.whole);
    rounds.extend(random_rounds(options));
    // The longest first.
    rounds.sort_by_key(|round| match round.story {
        Story::Mpp => 0,
        Story::Late | Story::Expire => 1,
        _ => 2,
    });
    Ok(rounds)
}

fn every_time(options: &Options, found: &Found, role: Role, point: &str) -> Vec<(Story, Try)> {
    let Some(stories) = found.0.get(&(role, point.to_owned())) else { return Vec::new() };
    let mut tries = Vec::new();
    for (story, times) in stories {
        for at in (1..=*times).filter(|at| options.every || TIMES.contains(at)) {
            // A process that is killed and started before it reaches a point for the N-th time counts anew.
            let must_come = at == 1;
            let elsewhere = found.elsewhere(role, point, *story);
            tries.push((*story, Try { must_come, elsewhere, ..Try::at(role, &[&format!("{point}:{at}")]) }));
        }
    }
    tries
}

/// In a short run, one of each role dies in each round.
fn pack(tries: Vec<(Story, Try)>, alone: bool) -> Vec<Round> {
    let mut rounds: Vec<Round> = Vec::new();
    for (story, one) in tries {
        let room = |round: &&mut Round| {
            !alone && round.story == story && round.tries.iter().all(|other| other.role != one.role)
        };
        match rounds.iter_mut().find(room) {
            Some(round) => round.tries.push(one),
            None => rounds.push(Round { story, tries: vec![one] }),
        }
    }
    rounds
}

fn random_rounds(options: &Options) -> Vec<Round> {
    let mut random = SplitMix(options.seed);
    let stories = [
        Story::Main,
        Story::Cancel,
        Story::Main,
        Story::Ordinary,
        Story::Main,
        Story::Mpp,
        Story::Main,
        Story::Refuse,
        Story::Main,
        Story::Expire,
    ];
    (0..options.random)
        .zip(stories.into_iter().cycle())
        .map(|(_, story)| {
            let story = options.story.unwrap_or(story);
            let roles = Role::ALL.into_iter().filter(|role| options.role.is_none_or(|only| only == *role));
            let tries = roles
                .map(|role| {
                    let doom = Doom::After(Duration::from_millis(random.next() % KILL_AFTER_MS_MAX));
                    Try { role, dooms: vec![doom], must_come: false, alone: 0, elsewhere: Vec::new() }
                })
                .collect();
            Round { story, tries }
        })
        .collect()
}

/// Sebastiano Vigna's SplitMix64: the same moments for the same seed, without another dependency.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_round_kills_one_of_each_role_and_a_whole_one_only_one() {
        let tries = || {
            Role::ALL
                .into_iter()
                .chain([Role::Payer])
                .map(|role| (Story::Main, Try::at(role, &["here"])))
                .collect()
        };
        let sizes = |alone| pack(tries(), alone).iter().map(|round| round.tries.len()).collect::<Vec<_>>();
        assert_eq!(sizes(false), [4, 1]);
        assert_eq!(sizes(true), [1; 5]);
    }

    fn options(seed: u64) -> Options {
        Options {
            whole: true,
            point: None,
            role: None,
            story: None,
            every: false,
            random_only: false,
            random: 3,
            seed,
            lanes: 1,
        }
    }

    /// Whom nobody has found anywhere is looked for after a first death, unless one story was all that was looked at.
    #[test]
    fn a_story_alone_looks_for_no_points_of_the_others() {
        let nowhere = Found::default();
        let after_a_first_death = |options: Options| -> usize {
            let rounds = plan(&options, &nowhere).unwrap();
            let is_recovery = |one: &&Try| {
                one.dooms.len() == 2
                    && !IN_RECOVERY.iter().any(|at| one.dooms[1] == Doom::At((*at).to_owned()))
            };
            rounds.iter().flat_map(|round| &round.tries).filter(is_recovery).count()
        };
        assert!(after_a_first_death(options(1)) > 0);
        assert_eq!(after_a_first_death(Options { story: Some(Story::Main), ..options(1) }), 0);
        let point = Some("webhook_stored".to_owned());
        let named = after_a_first_death(Options { story: Some(Story::Main), point, ..options(1) });
        assert_eq!(named, 1);
    }

    #[test]
    fn the_same_seed_gives_the_same_moments() {
        let words = |seed| -> Vec<String> {
            random_rounds(&options(seed)).iter().map(|round| round.dooms().to_string()).collect()
        };
        assert_eq!(words(1), words(1));
        assert_ne!(words(1), words(2));
    }
}
