//! How trials end: one table that decides what follows from an outcome, everywhere.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::json;

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Measured, with its load proved.
    Completed,
    /// Measured, but it can't be trusted.
    Invalid,
    /// Something broke.
    Failed,
    /// It took longer than the plan allows.
    TimedOut,
    /// It can't run here.
    Skipped,
}

/// What an outcome means for the matrix as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The cell has its run.
    Succeeds,
    /// The matrix is whole without it.
    Lacks,
    /// The result of the matrix can't be trusted; the reason is printed at once.
    Spoils,
}

/// One line of the table: everything that depends on an outcome.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Which outcome.
    pub outcome: Outcome,
    /// Its name in journal, summary and reports.
    pub name: &'static str,
    /// What it means, for the schema.
    pub about: &'static str,
    /// Whether the trial's numbers are in the statistics.
    pub counts: bool,
    /// How often a slot is tried while trials end so.
    pub attempts: u32,
    /// What it means for the matrix.
    pub effect: Effect,
}

/// All outcomes, in the order in which they are listed, which is the enum's.
pub const OUTCOMES: [Rule; 5] = [
    Rule {
        outcome: Outcome::Completed,
        name: "completed",
        about: "Measured, with its load proved.",
        counts: true,
        attempts: 1,
        effect: Effect::Succeeds,
    },
    Rule {
        outcome: Outcome::Invalid,
        name: "invalid",
        about: "Measured, but not to be trusted: the load did not run as it should, or the probe says so itself.",
        counts: false,
        attempts: 2,
        effect: Effect::Spoils,
    },
    Rule {
        outcome: Outcome::Failed,
        name: "failed",
        about: "Something broke; `stage` and `reason` say where and what.",
        counts: false,
        attempts: 1,
        effect: Effect::Spoils,
    },
    Rule {
        outcome: Outcome::TimedOut,
        name: "timed-out",
        about: "It took longer than the plan allows.",
        counts: false,
        attempts: 1,
        effect: Effect::Spoils,
    },
    Rule {
        outcome: Outcome::Skipped,
        name: "skipped",
        about: "It can't run here, for the `reason` given.",
        counts: false,
        attempts: 1,
        effect: Effect::Lacks,
    },
];

impl Outcome {
    /// Its line of the table.
    pub fn rule(self) -> &'static Rule {
        &OUTCOMES[self as usize]
    }

    /// Its name, as in the journal.
    pub fn name(self) -> &'static str {
        self.rule().name
    }

    /// Whether a trial that ended so is a run of its cell.
    pub fn counts(self) -> bool {
        self.rule().counts
    }

    /// Whether nothing follows the trial of that `attempt`, from 0, that ended so.
    pub fn is_final(self, attempt: u32) -> bool {
        attempt + 1 >= self.rule().attempts
    }

    /// The outcome of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        OUTCOMES.iter().find(|rule| rule.name == name).map(|rule| rule.outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| {
            let known: Vec<&str> = OUTCOMES.iter().map(|rule| rule.name).collect();
            D::Error::custom(format!("unknown outcome `{name}`; there are {}", known.join(", ")))
        })
    }
}

impl JsonSchema for Outcome {
    fn schema_name() -> Cow<'static, str> {
        "Outcome".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = |rule: &Rule| json!({"type": "string", "const": rule.name, "description": rule.about});
        let all: Vec<_> = OUTCOMES.iter().map(one).collect();
        schemars::json_schema!({"description": "How a trial ended.", "oneOf": all})
    }
}

/// Numbers of trials by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; OUTCOMES.len()]);

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, outcome: Outcome) {
        self.0[outcome as usize] += 1;
    }

    /// How many ended that way.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize]
    }

    /// How many are runs of their cell.
    pub fn completed(&self) -> u64 {
        self.listed().filter(|(outcome, _)| outcome.counts()).map(|(_, count)| count).sum()
    }

    /// How many ended in a way that has this effect.
    pub fn with(&self, effect: Effect) -> u64 {
        self.listed().filter(|(outcome, _)| outcome.rule().effect == effect).map(|(_, count)| count).sum()
    }

    /// Every outcome with its number, in the table's order.
    pub fn listed(&self) -> impl Iterator<Item = (Outcome, u64)> {
        OUTCOMES.iter().zip(self.0).map(|(rule, count)| (rule.outcome, count))
    }

    /// Those that are in no statistic, in words: `2 invalid`, `1 skipped`.
    pub fn incomplete(&self) -> Vec<String> {
        let some = self.listed().filter(|(outcome, count)| !outcome.counts() && *count > 0);
        some.map(|(outcome, count)| format!("{count} {outcome}")).collect()
    }
}

impl FromIterator<Outcome> for Counts {
    fn from_iter<I: IntoIterator<Item = Outcome>>(outcomes: I) -> Self {
        let mut counts = Self::default();
        outcomes.into_iter().for_each(|outcome| counts.add(outcome));
        counts
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.listed().map(|(outcome, count)| (outcome.name(), count)))
    }
}

impl JsonSchema for Counts {
    fn schema_name() -> Cow<'static, str> {
        "Counts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let number = generator.subschema_for::<u64>();
        let mut properties = serde_json::Map::new();
        for rule in &OUTCOMES {
            let mut property = number.clone();
            property.insert("description".into(), json!(rule.about));
            properties.insert(rule.name.to_owned(), property.to_value());
        }
        let names: Vec<&str> = OUTCOMES.iter().map(|rule| rule.name).collect();
        schemars::json_schema!({
            "description": "Numbers of trials by how they ended.", "type": "object",
            "properties": properties, "required": names,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_finds_its_own_line_by_value_and_by_name() {
        for (index, rule) in OUTCOMES.iter().enumerate() {
            assert_eq!(rule.outcome as usize, index);
            assert_eq!(serde_json::to_value(rule.outcome).unwrap(), json!(rule.name));
            assert_eq!(serde_json::from_value::<Outcome>(json!(rule.name)).unwrap(), rule.outcome);
        }
        let error = serde_json::from_str::<Outcome>("\"fine\"").unwrap_err().to_string();
        assert!(error.contains("unknown outcome `fine`") && error.contains("timed-out"), "{error}");
    }

    #[test]
    fn counts_are_listed_by_the_tables_names() {
        let counts: Counts = [Outcome::TimedOut, Outcome::Completed, Outcome::TimedOut, Outcome::Skipped]
            .into_iter()
            .collect();
        assert_eq!(counts.incomplete(), ["2 timed-out", "1 skipped"]);
        assert_eq!((counts.with(Effect::Spoils), counts.with(Effect::Lacks)), (2, 1));
        let expected = json!({"completed": 1, "invalid": 0, "failed": 0, "timed-out": 2, "skipped": 1});
        assert_eq!(serde_json::to_value(counts).unwrap(), expected);
    }

    #[test]
    fn only_an_invalid_trial_is_followed_by_another() {
        assert!(!Outcome::Invalid.is_final(0) && Outcome::Invalid.is_final(1));
        assert!(OUTCOMES.iter().all(|rule| rule.outcome == Outcome::Invalid || rule.outcome.is_final(0)));
    }
}
