//! Everything about a plan that can be wrong before anything was started, but for what only its platform
//! knows.

mod measured;
mod places;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use toml::Spanned;

use super::{PartSpec, Plan, expand, names, source::Sources};

/// Words that the coordinator and the platform give to arguments, besides `address.DOMAIN`.
const BUILT_IN_WORDS: [&str; 4] = ["disk", "peer", "cpus", "cpu"];

/// The longest time limit, in seconds.
const LONGEST_S: f64 = 604_800.0;

/// The most trials of one matrix.
const MOST_TRIALS: u64 = 1_000_000;

/// Every word that arguments of `plan` may use; `word` says what stands for it.
pub fn known_words(plan: &Plan, word: impl Fn(&str) -> String) -> BTreeMap<String, String> {
    let built_in = BUILT_IN_WORDS.iter().map(|name| (*name).to_owned());
    let addresses = plan.domains.keys().map(|name| format!("address.{name}"));
    let variables = plan.variables.keys().cloned();
    built_in.chain(addresses).chain(variables).map(|name| (name.clone(), word(&name))).collect()
}

/// Variables whose word stands in no argument and no setting of the platform.
pub(super) fn unused_variables(plan: &Plan) -> Vec<String> {
    let parts = plan.loads.values().flat_map(|load| &load.parts);
    let parts = parts.chain(plan.probes.values().flat_map(|probe| &probe.with)).flat_map(|part| &part.args);
    let args = parts.chain(plan.probes.values().flat_map(|probe| &probe.args));
    let mut texts: Vec<&str> = args.map(|arg| arg.get_ref().as_str()).collect();
    texts.extend(plan.platform.settings.values().filter_map(toml::Value::as_str));
    let is_used = |name: &&String| texts.iter().any(|text| text.contains(&format!("{{{name}}}")));
    plan.variables.keys().filter(|name| !is_used(name)).cloned().collect()
}

/// Checks every name and number of `plan`.
pub(super) fn check(plan: &Plan, sources: &Sources) -> Result<()> {
    let checker = Checker { plan, sources };
    checker.numbers()?;
    checker.names()?;
    checker.variables()?;
    checker.platform()?;
    checker.domains()?;
    checker.controls()?;
    checker.attachments()?;
    checker.loads()?;
    checker.probes()?;
    checker.matrix()?;
    checker.carriers()?;
    checker.unused()?;
    let cells = expand(plan).map_err(|error| sources.error(&["matrix"], error))?;
    checker.trials(cells.len())
}

struct Checker<'a> {
    plan: &'a Plan,
    sources: &'a Sources,
}

impl Checker<'_> {
    fn numbers(&self) -> Result<()> {
        if self.plan.repetitions == 0 {
            return Err(self.sources.error(&["repetitions"], "`repetitions` must be at least 1"));
        }
        // What TOML can't write, the results folder can't keep.
        if i64::try_from(self.plan.seed).is_err() {
            return Err(self.sources.error(&["seed"], format!("`seed` must be at most {}", i64::MAX)));
        }
        let limits =
            [("trial_timeout_s", self.plan.trial_timeout_s), ("proof_timeout_s", self.plan.proof_timeout_s)];
        for (key, seconds) in limits {
            if !(seconds.is_finite() && seconds > 0.0 && seconds <= LONGEST_S) {
                let message = format!("`{key}` must be above 0 and at most {LONGEST_S} seconds (a week)");
                return Err(self.sources.error(&[key], message));
            }
        }
        Ok(())
    }

    fn trials(&self, cells: usize) -> Result<()> {
        let trials = u64::from(self.plan.repetitions) * cells as u64;
        if trials > MOST_TRIALS {
            let message =
                format!("these would be {trials} trials of {cells} cells; at most are {MOST_TRIALS}");
            return Err(self.sources.error(&["repetitions"], message));
        }
        Ok(())
    }

    /// Variables can't hide the words that a trial gives, and have no braces of their own.
    fn variables(&self) -> Result<()> {
        for (name, value) in &self.plan.variables {
            let message = if BUILT_IN_WORDS.contains(&name.as_str()) {
                format!("`{name}` is a word that the platform gives to arguments; choose another name")
            } else if value.contains(['{', '}']) {
                format!("`{}` has a brace; words in a variable are not replaced", value.escape_debug())
            } else {
                continue;
            };
            return Err(self.sources.error(&["variables", name], message));
        }
        Ok(())
    }

    /// A variable that nothing uses is a number that does not act.
    fn unused(&self) -> Result<()> {
        let own = |name: &&String| self.sources.own_has(&["variables", name]);
        match unused_variables(self.plan).iter().find(own) {
            Some(name) => {
                let message = format!("nothing uses the variable `{name}`");
                Err(self.sources.error(&["variables", name], message))
            }
            None => Ok(()),
        }
    }

    /// Names that are none, and names of one kind that differ in upper and lower case only.
    fn names(&self) -> Result<()> {
        let plan = self.plan;
        if let Some(fault) = names::fault(&plan.name, ".") {
            return Err(self
                .sources
                .error(&["name"], format!("it becomes part of a folder's name, but {fault}")));
        }
        let kinds: [(&str, &str, Vec<&String>); 5] = [
            ("variables", "", plan.variables.keys().collect()),
            ("domains", "", plan.domains.keys().collect()),
            ("attachments", "", plan.attachments.keys().collect()),
            ("loads", "@+", plan.loads.keys().collect()),
            ("probes", "", plan.probes.keys().collect()),
        ];
        for (kind, also, names) in kinds {
            let mut seen = BTreeSet::new();
            for name in names {
                let fault = names::fault(name, also).or_else(|| {
                    let new = seen.insert(name.to_ascii_lowercase());
                    (!new).then(|| format!("`{name}` differs from another name only in upper and lower case"))
                });
                if let Some(fault) = fault {
                    return Err(self.sources.error(&[kind, name], fault));
                }
            }
        }
        Ok(())
    }

    /// Refuses a reference to something that is not in `known`.
    fn known<T>(&self, path: &[&str], what: &str, name: &str, known: &BTreeMap<String, T>) -> Result<()> {
        if known.contains_key(name) {
            return Ok(());
        }
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let message = format!("no {what} is named `{name}`; there are {}", names.join(", "));
        Err(self.sources.error(path, message))
    }

    fn domain(&self, path: &[&str], name: &str) -> Result<()> {
        self.known(path, "domain", name, &self.plan.domains)
    }

    fn tool(&self, path: &[&str], name: &str) -> Result<()> {
        if tools::NAMES.contains(&name) {
            return Ok(());
        }
        let message = format!("no tool is named `{name}`; there are {}", tools::NAMES.join(", "));
        Err(self.sources.error(path, message))
    }

    /// Checks parts, and that those of a load prove themselves. `path` is where they are.
    fn parts(&self, path: &[&str], parts: &[PartSpec], of_load: bool) -> Result<()> {
        for (index, part) in parts.iter().enumerate() {
            let index = index.to_string();
            let at = |key: &'static str| [path, &[&index, key]].concat();
            self.domain(&at("domain"), part.domain.get_ref())?;
            self.tool(&at("tool"), part.tool.get_ref())?;
            let path = [path, &[&index]].concat();
            let numbers = self.arguments(&path, part.tool.get_ref(), &part.args)?;
            if of_load {
                self.proofs(&path, part, &numbers)?;
            } else if !part.proof.is_empty() {
                let message = "a probe's other end proves itself by the probe; only a load has a `proof`";
                return Err(self.sources.error(&at("proof"), message));
            }
        }
        Ok(())
    }

    fn loads(&self) -> Result<()> {
        self.plan
            .loads
            .iter()
            .try_for_each(|(name, load)| self.parts(&["loads", name, "parts"], &load.parts, true))
    }

    fn probes(&self) -> Result<()> {
        for (name, probe) in &self.plan.probes {
            let path = ["probes", name.as_str()];
            let at = |key: &'static str| [path[0], path[1], key];
            self.tool(&at("tool"), probe.tool.get_ref())?;
            let numbers = self.arguments(&path, probe.tool.get_ref(), &probe.args)?;
            self.device(&path, probe)?;
            self.parts(&at("with"), &probe.with, false)?;
            self.metrics(&path, probe, &numbers)?;
            self.cost(&path, probe)?;
        }
        Ok(())
    }

    fn matrix(&self) -> Result<()> {
        let plan = self.plan;
        for (index, product) in plan.matrix.iter().enumerate() {
            let index = index.to_string();
            let axis = |key: &'static str,
                        names: &[Spanned<String>],
                        known: &dyn Fn(&[&str], &str) -> Result<()>| {
                if names.is_empty() {
                    let message = format!("`{key}` is empty, so this product has no cell");
                    return Err(self.sources.error(&["matrix", &index, key], message));
                }
                let mut seen = BTreeSet::new();
                names.iter().enumerate().try_for_each(|(place, name)| {
                    let at = ["matrix", &index, key, &place.to_string()];
                    known(&at, name.get_ref())?;
                    if seen.insert(name.get_ref()) {
                        return Ok(());
                    }
                    Err(self.sources.error(&at, format!("`{}` is here twice", name.get_ref())))
                })
            };
            axis("probes", &product.probes, &|at, name| self.known(at, "probe", name, &plan.probes))?;
            axis("attachments", &product.attachments, &|at, name| {
                self.known(at, "attachment", name, &plan.attachments)
            })?;
            axis("loads", &product.loads, &|at, name| self.known(at, "load", name, &plan.loads))?;
        }
        Ok(())
    }
}
