//! A domain of the tests: tools that behave as told, without a process.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::Instant,
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Domain, Event, Exit, Process, ToolCommand};

/// How a faked tool behaves.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// A load: its sample proves it, and its summary comes when it is told to stop.
    Load(Value),
    /// A load whose summary shows something else than its samples did.
    Fading(Value, Value),
    /// A probe: its summary comes by itself, with this exit code.
    Probe(Value, i32),
    /// A load that shows itself once and then dies, as when its domain is destroyed.
    Vanishing(Value),
    /// A load that proves itself and heeds `quiet`, and whose summary then comes by itself.
    EndsEarly(Value),
    /// It can't be started.
    Unreachable,
    /// It ends with an error before it is ready.
    Refuses,
    /// It is never ready.
    Mute,
    /// It dies right after `go`.
    Dies,
    /// It goes, and says nothing more; not even when told to stop.
    Hangs,
    /// A load that proves itself and falls silent, and never stops, as when its domain is destroyed.
    Clings(Value),
    /// A load that goes on talking when told to be quiet.
    Chatters(Value),
}

/// What every faked tool of a platform shares: how it behaves, and what happened.
#[derive(Default)]
pub struct Script {
    /// Behaviours by tool, or by `domain:tool`.
    pub behaviours: BTreeMap<String, Behaviour>,
    /// What happened, in order.
    pub log: Vec<String>,
    /// How many tools run at this moment.
    pub alive: usize,
}

/// A faked place.
pub struct FakeDomain {
    /// Its name.
    pub name: String,
    /// What is shared.
    pub script: Rc<RefCell<Script>>,
}

impl Domain for FakeDomain {
    fn start(&self, command: &ToolCommand) -> Result<Box<dyn Process>> {
        let mut script = self.script.borrow_mut();
        script.log.push(format!("start {} in {}", command.tool, self.name));
        let place = format!("{}:{}", self.name, command.tool);
        let behaviour =
            script.behaviours.get(&place).or_else(|| script.behaviours.get(&command.tool)).cloned();
        let Some(behaviour) = behaviour else { bail!("the test gives {place} no behaviour") };
        let mut events = VecDeque::new();
        match behaviour {
            Behaviour::Unreachable => bail!("domain `{}` can't be reached", self.name),
            Behaviour::Refuses => {
                events.push_back(Event::Ended(Exit {
                    code: Some(3),
                    stderr: "no permission".into(),
                    ..Exit::default()
                }));
            }
            Behaviour::Mute => {}
            _ => {
                let host = json!({"host": self.name});
                events.push_back(Event::Record(json!({"record": "start", "host": host})));
                events.push_back(Event::Record(json!({"record": "ready"})));
            }
        }
        script.alive += 1;
        drop(script);
        Ok(Box::new(FakeProcess {
            tool: command.tool.clone(),
            behaviour,
            goes: false,
            events,
            script: Rc::clone(&self.script),
        }))
    }
}

struct FakeProcess {
    tool: String,
    behaviour: Behaviour,
    goes: bool,
    events: VecDeque<Event>,
    script: Rc<RefCell<Script>>,
}

/// `body` as a record of that kind.
fn record(kind: &str, body: &Value) -> Event {
    let mut record = body.clone();
    record["record"] = kind.into();
    Event::Record(record)
}

impl Process for FakeProcess {
    fn say(&mut self, line: &str) -> Result<()> {
        self.script.borrow_mut().log.push(format!("{line} {}", self.tool));
        if line == "quiet" {
            let heeds =
                matches!(self.behaviour, Behaviour::Load(_) | Behaviour::Fading(..) | Behaviour::Clings(_));
            if self.goes && heeds {
                self.events.push_back(record("quiet", &json!({})));
            }
            if let (true, Behaviour::EndsEarly(body)) = (self.goes, &self.behaviour) {
                self.events.push_back(record("quiet", &json!({})));
                self.events.push_back(record("summary", body));
                self.events.push_back(Event::Ended(Exit { code: Some(0), ..Exit::default() }));
            }
            return Ok(());
        }
        assert_eq!(line, "go");
        self.goes = true;
        match &self.behaviour {
            Behaviour::Load(body)
            | Behaviour::Fading(body, _)
            | Behaviour::Chatters(body)
            | Behaviour::EndsEarly(body)
            | Behaviour::Clings(body) => {
                self.events.push_back(record("sample", body));
            }
            Behaviour::Probe(body, code) => {
                self.events.push_back(record("summary", body));
                self.events.push_back(Event::Ended(Exit { code: Some(*code), ..Exit::default() }));
            }
            Behaviour::Vanishing(body) => {
                self.events.push_back(record("sample", body));
                self.events.push_back(Event::Ended(Exit {
                    code: None,
                    stderr: "domain gone".into(),
                    ..Exit::default()
                }));
            }
            Behaviour::Dies => {
                self.events.push_back(Event::Ended(Exit {
                    code: None,
                    stderr: "killed".into(),
                    ..Exit::default()
                }));
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self) {
        self.script.borrow_mut().log.push(format!("stop {}", self.tool));
        if let Behaviour::Load(body) | Behaviour::Fading(_, body) = &self.behaviour {
            self.events.push_back(record("summary", body));
            self.events.push_back(Event::Ended(Exit { code: Some(0), ..Exit::default() }));
        }
    }

    fn next(&mut self, deadline: Instant) -> Event {
        self.events.pop_front().unwrap_or_else(|| {
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
            Event::Silent
        })
    }
}

impl Drop for FakeProcess {
    fn drop(&mut self) {
        self.script.borrow_mut().alive -= 1;
    }
}
