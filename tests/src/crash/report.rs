//! What came of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Options;
use super::plan::{Round, Try};
use super::points::{Kind, Role};
use super::stories::Story;
use crate::doom::Doom;
use crate::failure::Failure;

/// The deaths that were survived, point by process, and what went wrong.
#[derive(Debug, Default)]
pub struct Report {
    survived: BTreeMap<String, [u32; 4]>,
    kills: [u32; 4],
    stories: BTreeMap<Story, u32>,
    failures: Vec<String>,
    points: usize,
    elapsed: Duration,
}

impl Report {
    /// Nothing went wrong.
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    pub(super) fn rounds(&self) -> u32 {
        self.stories.values().sum()
    }

    pub(super) fn told(&mut self, story: Story, _elapsed: Duration) {
        *self.stories.entry(story).or_default() += 1;
    }

    pub(super) fn deaths(&mut self, one: &Try, deaths: usize) {
        for doom in one.dooms.iter().take(deaths) {
            match doom {
                Doom::At(point) => {
                    let name = point.split(':').next().unwrap_or(point).to_owned();
                    self.survived.entry(name).or_default()[one.role.index()] += 1;
                }
                Doom::After(_) => self.kills[one.role.index()] += 1,
            }
        }
    }

    pub(super) fn not_reached(&mut self, one: &Try) {
        let dooms: Vec<_> = one.dooms.iter().map(ToString::to_string).collect();
        self.failures.push(format!("{} was not reached by {}", dooms.join(" and then "), one.role));
    }

    pub(super) fn failed(&mut self, round: &Round, words: String) {
        *self.stories.entry(round.story).or_default() += 1;
        self.failures.push(words);
    }

    /// Every point must have been survived by one of those who run its program.
    pub(super) fn close(&mut self, options: &Options, elapsed: Duration) -> Result<(), Failure> {
        self.elapsed = elapsed;
        for kind in Kind::ALL {
            for point in kind.points()? {
                let counts = self.survived.entry(point.clone()).or_default();
                let mut roles = Role::ALL.into_iter().filter(|role| role.kind() == kind);
                let died = roles.any(|role| counts[role.index()] > 0);
                let asked_for = options.point.is_none()
                    && options.role.is_none()
                    && options.story.is_none()
                    && !options.random_only;
                self.points += 1;
                if asked_for && !died {
                    self.failures.push(format!("nobody died at {point} of {kind:?} and was well again"));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<30}", "deaths survived at")?;
        for role in Role::ALL {
            write!(f, "{role:>9}")?;
        }
        writeln!(f)?;
        let rows = self.survived.iter().map(|(point, counts)| (point.as_str(), counts));
        for (name, counts) in rows.chain([("kill -9 at a random moment", &self.kills)]) {
            write!(f, "{name:<30}")?;
            for count in counts {
                let text = if *count == 0 { "-".to_owned() } else { count.to_string() };
                write!(f, "{text:>9}")?;
            }
            writeln!(f)?;
        }
        let at_points: u32 = self.survived.values().flatten().sum();
        let kills: u32 = self.kills.iter().sum();
        let stories: Vec<_> = self.stories.iter().map(|(story, count)| format!("{count} {story}")).collect();
        writeln!(
            f,
            "{at_points} deaths at {} points and {kills} kills survived, in {} rounds ({}), {:.0} s",
            self.points,
            self.rounds(),
            stories.join(", "),
            self.elapsed.as_secs_f64()
        )?;
        for failure in &self.failures {
            writeln!(f, "FAILED {failure}")?;
        }
        Ok(())
    }
}
