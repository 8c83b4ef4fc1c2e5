//! Facts of the places where tools ran, as the tools themselves gave them.

use std::{collections::BTreeMap, mem};

use serde_json::{Map, Value};

use crate::journal::{Contents, Facts};

/// Facts that may change from one start to the next without making it another machine.
const MOVING: [&str; 2] = ["clock_read_ns", "memory_bytes"];

/// What is not the same in two sets of facts, each as its name, what it was and what it is.
pub fn differences(before: &Value, after: &Value) -> Vec<(String, String, String)> {
    let none = Map::new();
    let [before, after] = [before, after].map(|facts| facts.as_object().unwrap_or(&none));
    let lasting = before.keys().filter(|name| !MOVING.contains(&name.as_str()));
    let both = lasting.map(|name| (name.clone(), shown(before.get(name)), shown(after.get(name))));
    both.filter(|(_, before, after)| before != after).collect()
}

fn shown(fact: Option<&Value>) -> String {
    match fact {
        None | Some(Value::Null) => "unknown".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The facts of each domain as they were last seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    last: BTreeMap<String, Value>,
    /// What the journal does not have yet.
    new: Vec<Facts>,
}

impl Seen {
    /// Those that a journal has.
    pub fn of(contents: &Contents) -> Self {
        let last = contents.facts.iter().map(|facts| (facts.domain.clone(), facts.host.clone())).collect();
        Self { last, new: Vec::new() }
    }

    /// A tool that started in `domain` gave these. They are new where the domain had none, and where one changed
    /// that makes it another machine.
    pub fn see(&mut self, domain: &str, host: &Value) {
        let known = self.last.get(domain).is_some_and(|last| differences(last, host).is_empty());
        if known || !host.is_object() {
            return;
        }
        self.last.insert(domain.to_owned(), host.clone());
        self.new.push(Facts { domain: domain.to_owned(), host: host.clone() });
    }

    /// What was new since this was asked last.
    pub fn take_new(&mut self) -> Vec<Facts> {
        mem::take(&mut self.new)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_are_new_once_and_again_when_they_make_another_machine() {
        let mut seen = Seen::default();
        let host = |kernel: &str, read: u64| json!({"kernel": kernel, "clock_read_ns": read});
        seen.see("a", &host("6.1", 30));
        seen.see("a", &host("6.1", 31));
        seen.see("b", &host("6.1", 30));
        seen.see("b", &Value::Null);
        let domains = |new: Vec<Facts>| new.into_iter().map(|facts| facts.domain).collect::<Vec<_>>();
        assert_eq!(domains(seen.take_new()), ["a", "b"]);
        seen.see("a", &host("6.12", 30));
        let new = seen.take_new();
        assert_eq!(new, [Facts { domain: "a".into(), host: host("6.12", 30) }]);
        let change = ("kernel".to_owned(), "6.1".to_owned(), "6.12".to_owned());
        assert_eq!(differences(&host("6.1", 30), &new[0].host), [change]);
        // Not to know a fact is the same in both ways of saying it.
        assert_eq!(differences(&json!({"governor": null}), &json!({})), []);
    }
}
