//! Everything about a plan that can be wrong before anything was started.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Result, bail};
use meter::cpulist::CpuList;
use toml::Spanned;

use super::{PartSpec, Plan, expand, load::Source, substitute};

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
pub(super) fn check(plan: &Plan, source: &Source) -> Result<()> {
    let path = source.path().display();
    if plan.repetitions == 0 {
        bail!("{path}: `repetitions` must be at least 1");
    }
    let positive = |seconds: f64| seconds.is_finite() && seconds > 0.0;
    if !positive(plan.trial_timeout_s) || !positive(plan.proof_timeout_s) {
        bail!("{path}: time limits must be above 0 seconds");
    }
    if plan.name.is_empty() || plan.name.contains(['/', ' ', '\n']) {
        bail!("{path}: `name` becomes part of a folder's name: letters, digits, dashes, please");
    }
    let checker = Checker { plan, source };
    checker.platform()?;
    checker.domains()?;
    checker.loads()?;
    checker.probes()?;
    checker.matrix()?;
    expand(plan).map(drop)
}

/// What a value must be, if it is not.
type Rule = fn(&str) -> Option<&'static str>;

/// Names that programs take as an argument: never an option, never more than a line.
fn host(name: &str) -> Option<&'static str> {
    let good = !name.is_empty() && !name.starts_with('-') && !name.contains(char::is_control);
    (!good).then_some("a name that does not begin with a dash")
}

fn absolute(path: &str) -> Option<&'static str> {
    (!path.starts_with('/') || path.contains(char::is_control)).then_some("an absolute path")
}

fn address(text: &str) -> Option<&'static str> {
    text.parse::<IpAddr>().is_err().then_some("an IP address")
}

fn peer(text: &str) -> Option<&'static str> {
    let parsed = text.split_once('/').and_then(|(address, length)| {
        let length: u8 = length.parse().ok()?;
        (address.parse::<Ipv4Addr>().is_ok() && (8..=30).contains(&length)).then_some(())
    });
    parsed.is_none().then_some("an IPv4 address with the length of its network, such as 10.77.1.1/24")
}

struct Checker<'a> {
    plan: &'a Plan,
    source: &'a Source,
}

impl Checker<'_> {
    /// Refuses a reference to something that is not in `known`.
    fn known<T>(&self, what: &str, name: &Spanned<String>, known: &BTreeMap<String, T>) -> Result<()> {
        if known.contains_key(name.get_ref()) {
            return Ok(());
        }
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let message = format!("no {what} is named `{}`; there are {}", name.get_ref(), names.join(", "));
        Err(self.source.error(name.span().start, &message))
    }

    fn tool(&self, name: &Spanned<String>) -> Result<()> {
        if tools::NAMES.contains(&name.get_ref().as_str()) {
            return Ok(());
        }
        let message = format!("no tool is named `{}`; there are {}", name.get_ref(), tools::NAMES.join(", "));
        Err(self.source.error(name.span().start, &message))
    }

    /// Every word in braces must be one that a trial will know.
    fn arguments(&self, args: &[Spanned<String>]) -> Result<()> {
        let words = known_words(self.plan, |_| String::new());
        for arg in args {
            substitute(arg.get_ref(), &words)
                .map_err(|message| self.source.error(arg.span().start, &message))?;
        }
        Ok(())
    }

    fn part(&self, part: &PartSpec) -> Result<()> {
        self.known("domain", &part.domain, &self.plan.domains)?;
        self.tool(&part.tool)?;
        self.arguments(&part.args)
    }

    fn platform(&self) -> Result<()> {
        let platform = &self.plan.platform;
        let kinds = super::PLATFORMS;
        if !kinds.contains(&platform.kind.get_ref().as_str()) {
            let message =
                format!("no platform is named `{}`; there are {}", platform.kind.get_ref(), kinds.join(", "));
            return Err(self.source.error(platform.kind.span().start, &message));
        }
        for domain in [&platform.control, &platform.outside] {
            self.known("domain", domain, &self.plan.domains)?;
        }
        if platform.kind.get_ref() == "xen" && platform.xen.is_none() {
            let path = self.source.path().display();
            bail!("{path}: a Xen host needs [platform.xen]: `disk`, `nic` and `peer`; see docs/xen.md");
        }
        if let Some(size) = &platform.disk_size {
            let parsed = substitute(size.get_ref(), &self.plan.variables)
                .and_then(|size| size.parse::<meter::units::Bytes>().map(drop));
            parsed.map_err(|message| self.source.error(size.span().start, &message))?;
        }
        Ok(())
    }

    fn domains(&self) -> Result<()> {
        for (name, domain) in &self.plan.domains {
            if let Err(message) = domain.cpus.parse::<CpuList>() {
                bail!("{}: domain `{name}`: {message}", self.source.path().display());
            }
        }
        let xen = self.plan.platform.xen.iter();
        let peers = xen.map(|xen| ("platform.xen".to_owned(), "peer", Some(&xen.peer), peer as Rule));
        let rules = self.plan.domains.iter().flat_map(|(name, domain)| {
            let at = domain.at.iter();
            at.flat_map(move |at| {
                let rule = |key, value, rule| (format!("domain `{name}`"), key, value, rule);
                [
                    rule("ssh", at.ssh.as_ref(), host as Rule),
                    rule("guest", at.guest.as_ref(), host),
                    rule("config", at.config.as_ref(), absolute),
                    rule("namespace", at.namespace.as_ref(), absolute),
                    rule("address", at.address.as_ref(), address),
                ]
            })
        });
        for (place, key, value, rule) in peers.chain(rules) {
            if let Some((value, must)) = value.and_then(|value| Some((value, rule(value)?))) {
                bail!("{}: {place}: `{key}` is `{value}`; it must be {must}", self.source.path().display());
            }
        }
        let baselines = self.plan.attachments.values().filter(|attachment| attachment.baseline).count();
        if baselines > 1 {
            bail!("{}: only one attachment can be the `baseline`", self.source.path().display());
        }
        for attachment in self.plan.attachments.values() {
            self.known("domain", &attachment.measured, &self.plan.domains)?;
            for domain in attachment.stands_in.values() {
                self.known("domain", domain, &self.plan.domains)?;
            }
        }
        Ok(())
    }

    fn loads(&self) -> Result<()> {
        self.plan.loads.values().flat_map(|load| &load.parts).try_for_each(|part| self.part(part))
    }

    fn probes(&self) -> Result<()> {
        for (name, probe) in &self.plan.probes {
            self.tool(&probe.tool)?;
            self.arguments(&probe.args)?;
            probe.with.iter().try_for_each(|part| self.part(part))?;
            if probe.metrics.is_empty() {
                let message = format!("probe `{name}` has no metric; nothing would be measured");
                return Err(self.source.error(probe.tool.span().start, &message));
            }
            let costs = probe.cost.iter().flat_map(|cost| [&cost.elapsed, &cost.work, &cost.interrupts]);
            for metric in costs {
                if !probe.metrics.iter().any(|known| known.name == *metric) {
                    let message =
                        format!("the cost of probe `{name}` needs the metric `{metric}`, which it has not");
                    return Err(self.source.error(probe.tool.span().start, &message));
                }
            }
        }
        Ok(())
    }

    fn matrix(&self) -> Result<()> {
        let plan = self.plan;
        for product in &plan.matrix {
            product.probes.iter().try_for_each(|name| self.known("probe", name, &plan.probes))?;
            product
                .attachments
                .iter()
                .try_for_each(|name| self.known("attachment", name, &plan.attachments))?;
            product.loads.iter().try_for_each(|name| self.known("load", name, &plan.loads))?;
        }
        Ok(())
    }
}
