//! `cargo xtask matrix --resume DIR`: what an interrupted matrix has left to do, and whether this is still
//! the machine on which it began.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use plan::{Cell, Plan};
use results::journal::{self, Contents, Header};

/// Facts of the machine that may change from one start to the next without making it another machine.
const MOVING_FACTS: [&str; 2] = ["clock_read_ns", "memory_bytes"];

/// Plan and journal of an interrupted matrix.
///
/// # Errors
/// When `folder` has none, and when its plan was changed since: its trials would not be of one matrix.
pub fn pick_up(folder: &Path) -> Result<(Plan, Contents)> {
    let contents = journal::read(folder)?;
    let path = folder.join("plan.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    if tools::sha256(text.as_bytes()) != contents.header.plan_sha256 {
        return Err(refusal(format!(
            "{} was changed after the matrix began; begin a new one with --plan",
            path.display()
        )));
    }
    let plan = toml::from_str(&text).with_context(|| format!("read the plan {}", path.display()))?;
    Ok((plan, contents))
}

/// Refuses to go on where machine, tools or cells are not those of the beginning.
pub fn check_same(began: &Header, now: &Header) -> Result<()> {
    let different = differences(began, now);
    if different.is_empty() {
        return Ok(());
    }
    Err(refusal(format!(
        "this is not what the matrix began with, and its trials would not be comparable: {}; put that back, or begin a new matrix",
        different.join("; ")
    )))
}

fn refusal(text: String) -> anyhow::Error {
    meter::Error::bad_arguments(text).into()
}

/// What is not the same, each as `name: before -> now`.
fn differences(began: &Header, now: &Header) -> Vec<String> {
    let mut different = Vec::new();
    let mut compare = |name: &str, began: &str, now: &str| {
        if began != now {
            different.push(format!("{name}: {began} -> {now}"));
        }
    };
    compare("iomatrix", &began.version, &now.version);
    compare("platform", &began.platform, &now.platform);
    let facts = |header: &Header| header.host.as_object().cloned().unwrap_or_default();
    let (before, after) = (facts(began), facts(now));
    for name in before.keys().filter(|name| !MOVING_FACTS.contains(&name.as_str())) {
        compare(name, &shown(before.get(name)), &shown(after.get(name)));
    }
    for (domain, cpus) in &began.domain_cpus {
        let cpus_now = now.domain_cpus.get(domain).map_or("none", String::as_str);
        compare(&format!("CPUs of {domain}"), cpus, cpus_now);
    }
    for (tool, digest) in &began.tools_sha256 {
        let digest_now = now.tools_sha256.get(tool).map_or("none", String::as_str);
        compare(&format!("SHA-256 of {tool}"), start_of(digest), start_of(digest_now));
    }
    let cells = |header: &Header| header.cells.iter().map(Cell::name).collect::<Vec<_>>().join(" ");
    compare("cells", &cells(began), &cells(now));
    different
}

fn shown(fact: Option<&Value>) -> String {
    match fact {
        None | Some(Value::Null) => "unknown".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Enough of a digest to tell two apart.
fn start_of(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use results::fake::header;

    #[test]
    fn another_kernel_or_tool_is_named_and_a_faster_clock_is_not() {
        let began = Header {
            host: json!({"kernel": "6.1", "clock_read_ns": 30, "governor": null}),
            tools_sha256: [("udpsend".to_owned(), "0123456789abcdef".to_owned())].into(),
            ..header()
        };
        let mut now = began.clone();
        now.host["clock_read_ns"] = json!(31);
        assert!(check_same(&began, &now).is_ok());
        now.host["kernel"] = json!("6.12");
        now.host["governor"] = json!("performance");
        now.tools_sha256.insert("udpsend".into(), "fedcba98765432100".into());
        let error = check_same(&began, &now).unwrap_err();
        assert_eq!(error.downcast_ref::<meter::Error>().unwrap().kind().exit_code(), 2);
        let text = error.to_string();
        for part in
            ["kernel: 6.1 -> 6.12", "governor: unknown -> performance", "0123456789ab -> fedcba987654"]
        {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_changed_plan_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        journal::Journal::create(folder.path(), header()).unwrap();
        fs::write(folder.path().join("plan.toml"), "name = \"other\"\n").unwrap();
        let error = pick_up(folder.path()).unwrap_err().to_string();
        assert!(error.contains("was changed"), "{error}");
    }
}
