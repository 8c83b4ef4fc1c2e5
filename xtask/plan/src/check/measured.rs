//! What tools are asked for and what is taken from their records: arguments as the tools' own parsers read them,
//! and keys and units as in the schemas of their records.

use std::collections::BTreeSet;

use anyhow::Result;
use meter::units::Bytes;
use toml::Spanned;
use tools::interface::{self, Numbers};

use super::{Checker, known_words};
use crate::{Better, Device, MetricSpec, PartSpec, ProbeSpec, names, substitute};

/// The most bytes that an offset in a file can count.
const MOST_BYTES: u64 = i64::MAX.unsigned_abs();

impl Checker<'_> {
    /// The arguments of `tool`: every word in braces must be one that a trial will know, and with words in
    /// their place the tool's own parser must take them. `path` is where the arguments are. Gives the numbers
    /// that the tool writes then.
    pub(super) fn arguments(&self, path: &[&str], tool: &str, args: &[Spanned<String>]) -> Result<Numbers> {
        let words = known_words(self.plan, |name| match (self.plan.variables.get(name), name) {
            (Some(value), _) => value.clone(),
            (None, "disk") => "/dev/iomatrix".to_owned(),
            (None, "cpu" | "cpus") => "0".to_owned(),
            // An address for documentation: it is read, never used.
            (None, _) => "192.0.2.1".to_owned(),
        });
        let mut line = Vec::new();
        for (index, arg) in args.iter().enumerate() {
            let index = index.to_string();
            let at = [path, &["args", &index]].concat();
            let arg =
                substitute(arg.get_ref(), &words).map_err(|message| self.sources.error(&at, message))?;
            if arg.ends_with('B') && arg.parse::<Bytes>().is_ok_and(|bytes| bytes.0 > MOST_BYTES) {
                return Err(self
                    .sources
                    .error(&at, format!("`{arg}` is more than any disk or file can have")));
            }
            line.push(arg);
        }
        let at = [path, &["args"]].concat();
        let subcommand =
            interface::subcommand(tool, &line).map_err(|message| self.sources.error(&at, message))?;
        Ok(interface::numbers(tool, subcommand.as_deref()))
    }

    /// The proofs of a load's part. `path` is where the part is.
    pub(super) fn proofs(&self, path: &[&str], part: &PartSpec, numbers: &Numbers) -> Result<()> {
        if part.proof.is_empty() {
            let message = format!(
                "this part of the load has no `proof`: name a number of {}'s samples that shows that it runs",
                part.tool.get_ref()
            );
            return Err(self.sources.error(&[path, &["proof"]].concat(), message));
        }
        let both: BTreeSet<String> = numbers.sample.intersection(&numbers.summary).cloned().collect();
        for (index, proof) in part.proof.iter().enumerate() {
            let index = index.to_string();
            let at = |key: &'static str| [path, &["proof", &index, key]].concat();
            self.key(&at("key"), &proof.key, part.tool.get_ref(), "samples and summary", &both)?;
            if !(proof.at_least.is_finite() && proof.at_least > 0.0) {
                let message = format!("`at_least` is {}; it must be a number above 0", proof.at_least);
                return Err(self.sources.error(&at("at_least"), message));
            }
        }
        Ok(())
    }

    fn key(&self, path: &[&str], key: &str, tool: &str, what: &str, known: &BTreeSet<String>) -> Result<()> {
        if known.contains(key) {
            return Ok(());
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let message =
            format!("the {what} of {tool} have no number `{key}` here; there are {}", known.join(", "));
        Err(self.sources.error(path, message))
    }

    /// The metrics of a probe, whose tool writes `numbers`. `path` is where the probe is.
    pub(super) fn metrics(&self, path: &[&str], probe: &ProbeSpec, numbers: &Numbers) -> Result<()> {
        if probe.metrics.is_empty() {
            return Err(self.sources.error(path, "this probe has no metric; nothing would be measured"));
        }
        let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for (index, metric) in probe.metrics.iter().enumerate() {
            let index = index.to_string();
            let at = |key: &'static str| [path, &["metrics", &index, key]].concat();
            let MetricSpec { name, key, margin_percent: margin, .. } = metric;
            if let Some(fault) = names::fault(name, "") {
                return Err(self.sources.error(&at("name"), fault));
            }
            if !names.insert(name.to_ascii_lowercase()) {
                return Err(self.sources.error(&at("name"), format!("two metrics have the name `{name}`")));
            }
            self.key(&at("key"), key, probe.tool.get_ref(), "summaries", &numbers.summary)?;
            if !keys.insert(key) {
                return Err(self.sources.error(&at("key"), format!("two metrics have the key `{key}`")));
            }
            self.unit_and_direction(metric, at)?;
            if !(0.0..=1000.0).contains(margin) {
                let message = format!("`margin_percent` of `{name}` is {margin}; it must be 0 to 1000");
                return Err(self.sources.error(&at("margin_percent"), message));
            }
        }
        Ok(())
    }

    fn unit_and_direction<'a>(
        &self,
        metric: &MetricSpec,
        at: impl Fn(&'static str) -> Vec<&'a str>,
    ) -> Result<()> {
        let MetricSpec { key, unit, better, .. } = metric;
        if let Some(right) = interface::unit(key)
            && unit != right
        {
            let message = format!("the unit of `{key}` is `{right}`, not `{}`", unit.escape_debug());
            return Err(self.sources.error(&at("unit"), message));
        }
        let wrong = match unit.as_str() {
            "s" | "ns" => Better::More,
            "bits/s" | "bytes/s" => Better::Less,
            _ => return Ok(()),
        };
        if *better == wrong {
            let (kind, word) = if wrong == Better::More { ("time", "more") } else { ("throughput", "less") };
            let message = format!("`{key}` is a {kind}: `{word}` of it can't be better");
            return Err(self.sources.error(&at("better"), message));
        }
        Ok(())
    }

    /// The metrics that the cost of an interrupt follows from, and their units.
    pub(super) fn cost(&self, path: &[&str], probe: &ProbeSpec) -> Result<()> {
        let Some(cost) = &probe.cost else { return Ok(()) };
        let parts: [(&str, &str, Option<&str>); 3] = [
            ("elapsed", &cost.elapsed, Some("s")),
            ("work", &cost.work, None),
            ("interrupts", &cost.interrupts, Some("1")),
        ];
        let refuse =
            |key, message: String| Err(self.sources.error(&[path, &["cost", key]].concat(), message));
        for (key, name, unit) in parts {
            let Some(metric) = probe.metrics.iter().find(|metric| metric.name == name) else {
                return refuse(key, format!("the cost needs the metric `{name}`, which the probe lacks"));
            };
            if let Some(unit) = unit
                && metric.unit != unit
            {
                let message = format!("`{key}` is in the unit `{unit}`, but `{name}` in `{}`", metric.unit);
                return refuse(key, message);
            }
            // A rate or a time is no amount of work.
            let amount = ["bytes", "1"].contains(&metric.unit.as_str()) && name != cost.interrupts;
            if key == "work" && !amount {
                return refuse(key, format!("`{name}` is no amount of work: it must be a count or bytes"));
            }
        }
        Ok(())
    }

    /// A probe of a device must be told which, and of the other kind none.
    pub(super) fn device(&self, path: &[&str], probe: &ProbeSpec) -> Result<()> {
        let has = |word: &str| probe.args.iter().any(|arg| arg.get_ref().contains(word));
        let (needs, not) = match probe.device {
            Device::Disk => ("{disk}", "{peer}"),
            Device::Network => ("{peer}", "{disk}"),
        };
        if has(not) || !has(needs) {
            let message =
                format!("for this `device` the arguments have `{needs}`, and `{not}` is not known in them");
            return Err(self.sources.error(&[path, &["device"]].concat(), message));
        }
        Ok(())
    }
}
