//! A comparison as data: who does which work, and what has to be reached.

use anyhow::Result;

use super::{
    figures::{Figure, Measurement},
    workbench::Workbench,
};

/// One piece of work, done by our tool and by its peers in turn.
pub struct Comparison {
    /// `group/work`, such as `disk/write`.
    pub name: String,
    /// The work in one line: sizes, device, what counts.
    pub what: String,
    /// Our side.
    pub ours: Contender,
    /// The other sides; none where a figure only has a bound of its own.
    pub peers: Vec<Contender>,
    /// What has to be reached.
    pub goals: Vec<Goal>,
}

impl Comparison {
    /// A comparison without peers and goals.
    pub fn new(name: impl Into<String>, what: impl Into<String>, ours: Contender) -> Self {
        Self { name: name.into(), what: what.into(), ours, peers: Vec::new(), goals: Vec::new() }
    }

    /// Adds a peer and what is to be reached against it.
    pub fn against(mut self, peer: Contender, goals: &[(Figure, Bound)]) -> Self {
        let against = Some(peer.label.clone());
        self.goals.extend(goals.iter().map(|&(figure, bound)| Goal {
            figure,
            against: against.clone(),
            bound,
        }));
        self.peers.push(peer);
        self
    }

    /// Adds a bound of our own figure: the largest that is allowed.
    pub fn at_most(mut self, figure: Figure, limit: f64) -> Self {
        self.goals.push(Goal { figure, against: None, bound: Bound::AtMost(limit) });
        self
    }

    /// The part of the name before the slash.
    pub fn group(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}

/// One side of a comparison.
pub struct Contender {
    /// How it is called in the output.
    pub label: String,
    /// The program that it needs, if it is not ours.
    pub needs: Option<Program>,
    /// Does the work once.
    pub measure: Box<Measure>,
}

/// Work that is done once, bounded in time, and leaves nothing behind.
pub type Measure = dyn Fn(&Workbench) -> Result<Measurement>;

impl Contender {
    /// One of our own tools.
    pub fn ours(
        label: impl Into<String>,
        measure: impl Fn(&Workbench) -> Result<Measurement> + 'static,
    ) -> Self {
        Self { label: label.into(), needs: None, measure: Box::new(measure) }
    }

    /// A peer that needs `program`.
    pub fn peer(
        label: impl Into<String>,
        program: Program,
        measure: impl Fn(&Workbench) -> Result<Measurement> + 'static,
    ) -> Self {
        Self { label: label.into(), needs: Some(program), measure: Box::new(measure) }
    }

    /// Why it can't take part, where its program is not installed.
    pub fn missing(&self) -> Option<String> {
        let program = self.needs.filter(|program| !program.is_installed())?;
        Some(format!("{} is not installed: apt-get install {}", program.name, program.package))
    }
}

/// A program of others.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name on the search path.
    pub name: &'static str,
    /// The Debian package that holds it.
    pub package: &'static str,
}

impl Program {
    fn is_installed(self) -> bool {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(self.name).is_file()))
    }
}

/// What has to be reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// By which figure.
    pub figure: Figure,
    /// The peer's label: the goal bounds ours / theirs. Without one it bounds our figure itself.
    pub against: Option<String>,
    /// The bound.
    pub bound: Bound,
}

/// A bound of a ratio or of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// No less than this: more is better.
    AtLeast(f64),
    /// No more than this: less is better.
    AtMost(f64),
    /// As close to 1 as this: the same is right.
    Within(f64),
}

impl Bound {
    /// Whether `value` keeps the bound.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::Within(distance) => (value - 1.0).abs() <= distance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_an_orientation() {
        assert!(Bound::AtLeast(1.0).is_met(1.0) && !Bound::AtLeast(1.0).is_met(0.99));
        assert!(Bound::AtMost(0.6).is_met(0.6) && !Bound::AtMost(0.6).is_met(0.61));
        assert!(Bound::Within(0.05).is_met(0.96) && !Bound::Within(0.05).is_met(1.06));
        assert!(!Bound::AtMost(1.0).is_met(f64::NAN));
    }

    #[test]
    fn a_peer_that_is_not_installed_is_named_with_its_package() {
        let program = Program { name: "no-such-program-anywhere", package: "no-such-package" };
        let peer = Contender::peer("x", program, |_| Ok(Measurement::default()));
        assert_eq!(
            peer.missing().unwrap(),
            "no-such-program-anywhere is not installed: apt-get install no-such-package"
        );
        assert!(Contender::ours("x", |_| Ok(Measurement::default())).missing().is_none());
    }
}
