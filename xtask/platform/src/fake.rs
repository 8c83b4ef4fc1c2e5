//! A platform of the tests: faked domains, and attachments that work or do not.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use anyhow::{Result, bail};

use super::Platform;
use domain::{
    Domain,
    fake::{Behaviour, FakeDomain, Script},
};
use plan::{AttachmentSpec, Device, Plan};

/// Faked domains of a plan.
pub struct FakePlatform {
    domains: BTreeMap<String, FakeDomain>,
    /// What the tools share.
    pub script: Rc<RefCell<Script>>,
    /// Whether there are no loop devices.
    pub without_loop: bool,
    /// Whether attaching fails.
    pub broken: bool,
    /// How long attaching takes.
    pub attaching: Duration,
    /// What is wrong with the domains.
    pub troubles: Vec<String>,
    /// Why the measured domain can't go on.
    pub halted: Option<String>,
    /// How many times somebody looks and finds that it goes on, before that.
    pub looks_in_vain: usize,
    /// How many attachments are left before nothing can be had any more.
    pub attachments_left: Option<usize>,
}

impl FakePlatform {
    /// All domains of `plan`, with these behaviours of tools.
    pub fn new(plan: &Plan, behaviours: &[(&str, Behaviour)]) -> Self {
        let behaviours =
            behaviours.iter().map(|(name, behaviour)| ((*name).to_owned(), behaviour.clone())).collect();
        let script = Rc::new(RefCell::new(Script { behaviours, ..Script::default() }));
        let domain = |name: &String| FakeDomain { name: name.clone(), script: Rc::clone(&script) };
        let domains = plan.domains.keys().map(|name| (name.clone(), domain(name))).collect();
        Self {
            domains,
            script,
            without_loop: false,
            broken: false,
            attaching: Duration::ZERO,
            troubles: Vec::new(),
            halted: None,
            looks_in_vain: 0,
            attachments_left: None,
        }
    }
}

impl Platform for FakePlatform {
    fn label(&self) -> String {
        "fake domains of a test".into()
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn domain_cpus(&self) -> BTreeMap<String, String> {
        self.domains.keys().map(|name| (name.clone(), "0-1".to_owned())).collect()
    }

    fn domain(&self, name: &str) -> Result<&dyn Domain> {
        Ok(&self.domains[name])
    }

    fn lacks(&self, attachment: &AttachmentSpec, device: Device) -> Option<String> {
        let looped = device == Device::Disk
            && attachment.device.get("disk").and_then(toml::Value::as_str) == Some("loop");
        (self.without_loop && looped).then(|| "no loop device here".to_owned())
    }

    fn troubles(&mut self) -> Vec<String> {
        self.troubles.clone()
    }

    fn halted(&self, domain: &str) -> Result<Option<String>> {
        let look = format!("look after {domain}");
        let mut script = self.script.borrow_mut();
        script.log.push(look.clone());
        let looks = script.log.iter().filter(|line| **line == look).count();
        Ok(self.halted.clone().filter(|_| looks > self.looks_in_vain))
    }

    fn attach_parts(&self) -> BTreeMap<&'static str, f64> {
        BTreeMap::from([("switch", self.attaching.as_secs_f64())])
    }

    fn lost(&self) -> Option<&str> {
        (self.attachments_left == Some(0)).then_some("the host is gone")
    }

    fn attach(&mut self, attachment: &AttachmentSpec, _: Device) -> Result<BTreeMap<String, String>> {
        match &mut self.attachments_left {
            Some(0) => bail!("the host is gone"),
            Some(left) => *left -= 1,
            None => {}
        }
        if self.broken {
            bail!("the device did not come back");
        }
        std::thread::sleep(self.attaching);
        self.script.borrow_mut().log.push(format!("attach {}", attachment.measured.get_ref()));
        let mut words: BTreeMap<String, String> = self
            .domains
            .keys()
            .map(|name| (format!("address.{name}"), format!("address-of-{name}")))
            .collect();
        words.insert("disk".into(), "/fake/disk".into());
        words.insert("peer".into(), "fake-peer".into());
        Ok(words)
    }
}
