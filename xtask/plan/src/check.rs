//! Everything about a plan that can be wrong before anything was started, but for what only its platform
//! knows.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use meter::cpulist::CpuList;
use toml::Spanned;

use super::{AttachmentSpec, PartSpec, Plan, expand, names, source::Sources, substitute};

/// Words that the coordinator and the platform give to arguments, besides `address.DOMAIN`.
const BUILT_IN_WORDS: [&str; 4] = ["disk", "peer", "cpus", "cpu"];

/// Every word that arguments of `plan` may use; `word` says what stands for it.
pub fn known_words(plan: &Plan, word: impl Fn(&str) -> String) -> BTreeMap<String, String> {
    let built_in = BUILT_IN_WORDS.iter().map(|name| (*name).to_owned());
    let addresses = plan.domains.keys().map(|name| format!("address.{name}"));
    let variables = plan.variables.keys().cloned();
    built_in.chain(addresses).chain(variables).map(|name| (name.clone(), word(&name))).collect()
}

/// Checks every name and number of `plan`.
pub(super) fn check(plan: &Plan, sources: &Sources) -> Result<()> {
    let checker = Checker { plan, sources };
    checker.numbers()?;
    checker.names()?;
    checker.platform()?;
    checker.domains()?;
    checker.attachments()?;
    checker.controls()?;
    checker.loads()?;
    checker.probes()?;
    checker.matrix()?;
    expand(plan).map(drop).map_err(|error| sources.error(&["matrix"], error))
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
        let limits =
            [("trial_timeout_s", self.plan.trial_timeout_s), ("proof_timeout_s", self.plan.proof_timeout_s)];
        for (key, seconds) in limits {
            if !(seconds.is_finite() && seconds > 0.0) {
                return Err(self.sources.error(&[key], format!("`{key}` must be above 0 seconds")));
            }
        }
        Ok(())
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

    /// Every word in braces must be one that a trial will know. `path` is where the arguments are.
    fn arguments(&self, path: &[&str], args: &[Spanned<String>]) -> Result<()> {
        let words = known_words(self.plan, |_| String::new());
        for (index, arg) in args.iter().enumerate() {
            let index = index.to_string();
            let at = [path, &["args", &index]].concat();
            substitute(arg.get_ref(), &words).map_err(|message| self.sources.error(&at, message))?;
        }
        Ok(())
    }

    fn parts(&self, path: &[&str], parts: &[PartSpec]) -> Result<()> {
        for (index, part) in parts.iter().enumerate() {
            let index = index.to_string();
            let at = |key: &'static str| [path, &[&index, key]].concat();
            self.domain(&at("domain"), part.domain.get_ref())?;
            self.tool(&at("tool"), part.tool.get_ref())?;
            self.arguments(&[path, &[&index]].concat(), &part.args)?;
        }
        Ok(())
    }

    fn platform(&self) -> Result<()> {
        self.domain(&["platform", "control"], self.plan.platform.control.get_ref())?;
        self.domain(&["platform", "outside"], self.plan.platform.outside.get_ref())
    }

    fn domains(&self) -> Result<()> {
        for (name, domain) in &self.plan.domains {
            domain
                .cpus
                .parse::<CpuList>()
                .map_err(|message| self.sources.error(&["domains", name, "cpus"], message))?;
        }
        Ok(())
    }

    fn attachments(&self) -> Result<()> {
        let mut baseline = None;
        for (name, attachment) in &self.plan.attachments {
            if attachment.baseline
                && let Some(first) = baseline.replace(name)
            {
                let message = format!("only one attachment can be the `baseline`; `{first}` is it too");
                return Err(self.sources.error(&["attachments", name, "baseline"], message));
            }
            self.domain(&["attachments", name, "measured"], attachment.measured.get_ref())?;
            for (absent, domain) in &attachment.stands_in {
                self.domain(&["attachments", name, "stands_in", absent], domain.get_ref())?;
            }
        }
        Ok(())
    }

    /// A control is the baseline once more.
    fn controls(&self) -> Result<()> {
        let what = |attachment: &AttachmentSpec| {
            let stands_in =
                attachment.stands_in.iter().map(|(part, whole)| (part.clone(), whole.get_ref().clone()));
            let stands_in: Vec<(String, String)> = stands_in.collect();
            (attachment.measured.get_ref().clone(), attachment.device.clone(), stands_in)
        };
        let baseline = self.plan.attachments.values().find(|attachment| attachment.baseline).map(what);
        for (name, control) in self.plan.attachments.iter().filter(|(_, attachment)| attachment.control) {
            if control.baseline || baseline != Some(what(control)) {
                let message = format!(
                    "the control `{name}` must be the baseline once more: the same measured domain, `device` \
                     and `stands_in`, without `baseline`"
                );
                return Err(self.sources.error(&["attachments", name, "control"], message));
            }
        }
        Ok(())
    }

    fn loads(&self) -> Result<()> {
        self.plan.loads.iter().try_for_each(|(name, load)| self.parts(&["loads", name, "parts"], &load.parts))
    }

    fn probes(&self) -> Result<()> {
        for (name, probe) in &self.plan.probes {
            let path = ["probes", name.as_str()];
            let at = |key: &'static str| [path[0], path[1], key];
            self.tool(&at("tool"), probe.tool.get_ref())?;
            self.arguments(&path, &probe.args)?;
            self.parts(&at("with"), &probe.with)?;
            if probe.metrics.is_empty() {
                let message = format!("probe `{name}` has no metric; nothing would be measured");
                return Err(self.sources.error(&path, message));
            }
            for (index, metric) in probe.metrics.iter().enumerate() {
                if let Some(fault) = names::fault(&metric.name, "") {
                    let at = ["probes", name, "metrics", &index.to_string(), "name"];
                    return Err(self.sources.error(&at, fault));
                }
                if !(0.0..=1000.0).contains(&metric.margin_percent) {
                    let at = ["probes", name, "metrics", &index.to_string(), "margin_percent"];
                    let (metric, margin) = (&metric.name, metric.margin_percent);
                    let message = format!("`margin_percent` of `{metric}` is {margin}; it must be 0 to 1000");
                    return Err(self.sources.error(&at, message));
                }
            }
            let costs = probe.cost.iter().flat_map(|cost| {
                [("elapsed", &cost.elapsed), ("work", &cost.work), ("interrupts", &cost.interrupts)]
            });
            for (key, metric) in costs {
                if !probe.metrics.iter().any(|known| known.name == *metric) {
                    let message =
                        format!("the cost of probe `{name}` needs the metric `{metric}`, which it lacks");
                    return Err(self.sources.error(&["probes", name, "cost", key], message));
                }
            }
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
                names.iter().enumerate().try_for_each(|(place, name)| {
                    known(&["matrix", &index, key, &place.to_string()], name.get_ref())
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
