//! Runs a comparison: every side once a round, in an order that rotates, and a verdict on each goal.

use anyhow::Error;
use serde::Serialize;

use super::{
    comparison::{Comparison, Goal},
    figures::{Figure, Measurement},
    workbench::{Lacking, Workbench},
};
use stats::describe;

/// What became of a comparison.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Name of the comparison.
    pub comparison: String,
    /// The work in one line.
    pub what: String,
    /// Rounds in which every side ran.
    pub pairs: usize,
    /// Our side first, then the peers.
    pub sides: Vec<Side>,
    /// The verdicts.
    pub goals: Vec<Judged>,
    /// Why there is no result, or not a whole one: a run that failed.
    pub failed: Option<String>,
    /// Why it was not run: the machine lacks something.
    pub skipped: Option<String>,
}

/// One side and what it measured, round by round.
#[derive(Debug, Serialize)]
pub struct Side {
    /// Its label.
    pub label: String,
    /// Why it took no part: what is not installed, or what the machine lacks for it.
    pub missing: Option<String>,
    /// One measurement a round.
    pub runs: Vec<Measurement>,
    /// What it said against its own results.
    pub remarks: Vec<String>,
}

impl Side {
    /// Median and range of one of its figures.
    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of(&self.runs.iter().filter_map(|run| run.get(figure)).collect::<Vec<_>>())
    }
}

/// A goal and how it stands.
#[derive(Debug, PartialEq, Serialize)]
pub struct Judged {
    /// The figure.
    pub figure: Figure,
    /// The peer; `null` where our figure itself is bounded.
    pub against: Option<String>,
    /// `at_least`, `at_most` or `within`.
    #[serde(flatten)]
    pub target: Target,
    /// Ratio pair by pair (ours / theirs), or our figure.
    #[serde(flatten)]
    pub spread: Spread,
    /// Whether the median keeps the bound.
    pub met: bool,
}

/// A bound as it is written.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "bound", content = "target")]
pub enum Target {
    /// The median must be no less.
    AtLeast(f64),
    /// The median must be no more.
    AtMost(f64),
    /// The median must be as close to 1.
    Within(f64),
}

/// Median and range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of these values; none of nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        describe(values).map(|all| Self { median: all.median, min: all.min, max: all.max })
    }
}

/// Runs `pairs` rounds; `tell` hears what happens. It ends at the first run that fails.
pub fn run(
    comparison: &Comparison,
    workbench: &Workbench,
    pairs: usize,
    mut tell: impl FnMut(&str),
) -> Outcome {
    let contenders: Vec<_> = std::iter::once(&comparison.ours).chain(&comparison.peers).collect();
    let mut sides: Vec<Side> = contenders
        .iter()
        .map(|contender| Side {
            label: contender.label.clone(),
            missing: contender.missing(),
            runs: Vec::new(),
            remarks: Vec::new(),
        })
        .collect();
    let (mut failed, mut skipped, mut done) = (None, None, 0);
    while done < pairs && failed.is_none() && skipped.is_none() {
        for turn in 0..sides.len() {
            let index = (turn + done) % sides.len();
            if sides[index].missing.is_some() {
                continue;
            }
            if !worth_running(comparison, &sides) {
                skipped = Some("none of its peers can take part".to_owned());
                break;
            }
            tell(&format!("{}: round {} of {pairs}, {}", comparison.name, done + 1, sides[index].label));
            match (contenders[index].measure)(workbench) {
                Ok(measurement) => sides[index].remember(measurement),
                Err(error) if is_lacking(&error) && index > 0 => sides[index].leave(format!("{error:#}")),
                Err(error) => {
                    let told = format!("{}: {error:#}", sides[index].label);
                    *if is_lacking(&error) { &mut skipped } else { &mut failed } = Some(told);
                    break;
                }
            }
        }
        done += usize::from(failed.is_none() && skipped.is_none());
    }
    for side in &mut sides {
        side.runs.truncate(done);
    }
    let goals = comparison.goals.iter().filter_map(|goal| judge(goal, &sides)).collect();
    let (name, what) = (comparison.name.clone(), comparison.what.clone());
    Outcome { comparison: name, what, pairs: done, sides, goals, failed, skipped }
}

/// Whether anything can be judged: a bound of our own, or a peer that takes part.
fn worth_running(comparison: &Comparison, sides: &[Side]) -> bool {
    let alone = comparison.goals.iter().any(|goal| goal.against.is_none());
    alone || sides[1..].iter().any(|side| side.missing.is_none())
}

impl Side {
    fn remember(&mut self, mut measurement: Measurement) {
        for remark in std::mem::take(&mut measurement.remarks) {
            if !self.remarks.contains(&remark) {
                self.remarks.push(remark);
            }
        }
        self.runs.push(measurement);
    }

    /// Takes no part any more.
    fn leave(&mut self, reason: String) {
        self.missing = Some(reason);
        self.runs.clear();
    }
}

fn is_lacking(error: &Error) -> bool {
    error.chain().any(<dyn std::error::Error>::is::<Lacking>)
}

/// How a goal stands; `None` where nothing was measured for it.
fn judge(goal: &Goal, sides: &[Side]) -> Option<Judged> {
    let ours = sides.first()?;
    let values: Vec<f64> = match &goal.against {
        None => ours.runs.iter().filter_map(|run| run.get(goal.figure)).collect(),
        Some(label) => {
            let theirs = sides.iter().find(|side| side.label == *label)?;
            let pairs = ours.runs.iter().zip(&theirs.runs);
            pairs.filter_map(|(ours, theirs)| ratio(ours, theirs, goal.figure)).collect()
        }
    };
    let spread = Spread::of(&values)?;
    Some(Judged {
        figure: goal.figure,
        against: goal.against.clone(),
        target: goal.bound.into(),
        spread,
        met: goal.bound.is_met(spread.median),
    })
}

fn ratio(ours: &Measurement, theirs: &Measurement, figure: Figure) -> Option<f64> {
    Some(ours.get(figure)? / theirs.get(figure).filter(|theirs| *theirs != 0.0)?)
}

impl From<super::comparison::Bound> for Target {
    fn from(bound: super::comparison::Bound) -> Self {
        use super::comparison::Bound;
        match bound {
            Bound::AtLeast(target) => Self::AtLeast(target),
            Bound::AtMost(target) => Self::AtMost(target),
            Bound::Within(target) => Self::Within(target),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use anyhow::bail;
    use meter::control::Stop;

    use super::*;
    use crate::comparison::{Bound, Contender, Program};

    const SHELL: Program = Program { name: "sh", package: "dash" };

    fn workbench() -> (tempfile::TempDir, Workbench) {
        let folder = tempfile::tempdir().unwrap();
        let workbench = Workbench::new(folder.path(), folder.path().into(), Stop::new()).unwrap();
        (folder, workbench)
    }

    /// A side that writes its name down and measures `values` in turn.
    fn side(
        label: &'static str,
        order: &Rc<RefCell<String>>,
        values: &'static [f64],
    ) -> impl Fn(&Workbench) -> anyhow::Result<Measurement> + 'static {
        let order = Rc::clone(order);
        let next = std::cell::Cell::new(0);
        move |_| {
            order.borrow_mut().push_str(label);
            next.set(next.get() + 1);
            Ok(Measurement::default().with(Figure::BYTES_PER_S, values[next.get() - 1]))
        }
    }

    #[test]
    fn sides_take_turns_and_ratios_are_pair_by_pair() {
        let (_folder, workbench) = workbench();
        let order = Rc::new(RefCell::new(String::new()));
        let comparison =
            Comparison::new("x/y", "", Contender::ours("ours", side("A", &order, &[10.0, 30.0, 8.0])))
                .against(
                    Contender::peer("theirs", SHELL, side("B", &order, &[10.0, 10.0, 10.0])),
                    &[(Figure::BYTES_PER_S, Bound::AtLeast(1.1))],
                )
                .at_most(Figure::BYTES_PER_S, 10.0);
        let outcome = run(&comparison, &workbench, 3, |_| ());
        assert_eq!(*order.borrow(), "ABBAAB");
        let ratio = &outcome.goals[0];
        assert_eq!(ratio.spread, Spread { median: 1.0, min: 0.8, max: 3.0 });
        assert!(!ratio.met);
        assert!(outcome.goals[1].met, "the median of 10, 30, 8 is 10");
    }

    #[test]
    fn a_run_that_failed_is_a_failure_and_a_machine_that_lacks_something_is_not() {
        let (_folder, workbench) = workbench();
        let failing = Comparison::new("x/y", "", Contender::ours("ours", |_| bail!("no luck")))
            .at_most(Figure::CPU_S, 1.0);
        let outcome = run(&failing, &workbench, 2, |_| ());
        assert_eq!((outcome.failed.as_deref(), outcome.pairs), (Some("ours: no luck"), 0));
        assert!(outcome.goals.is_empty(), "nothing was measured, so nothing is judged");

        let lacking = Contender::ours("ours", |_| Err(Lacking("no zram".into()).into()));
        let outcome =
            run(&Comparison::new("x/y", "", lacking).at_most(Figure::CPU_S, 1.0), &workbench, 2, |_| ());
        assert_eq!((outcome.failed, outcome.skipped.as_deref()), (None, Some("ours: no zram")));
    }

    #[test]
    fn a_missing_peer_is_named_and_nothing_runs_for_it() {
        let (_folder, workbench) = workbench();
        let missing = Program { name: "no-such-program-anywhere", package: "p" };
        let comparison = Comparison::new("x/y", "", Contender::ours("ours", |_| panic!("not run"))).against(
            Contender::peer("theirs", missing, |_| panic!("not run")),
            &[(Figure::CPU_S, Bound::AtMost(1.0))],
        );
        let outcome = run(&comparison, &workbench, 2, |_| ());
        assert!(outcome.failed.is_none() && outcome.skipped.is_some());
        assert!(outcome.sides[1].missing.as_deref().unwrap().contains("apt-get install p"));
    }
}
