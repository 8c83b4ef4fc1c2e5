//! `cargo xtask matrix --resume DIR`: what an interrupted matrix has left to do, and whether this is still
//! the machine on which it began.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context, Result};
use plan::{Cell, Overrides, Plan};
use platform::Registry;
use results::{
    facts,
    folder::PLAN,
    journal::{self, Contents, Header},
};

/// Plan and journal of an interrupted matrix; no journal where it was ended before it had one, which needs nothing
/// but the plan to begin again.
///
/// # Errors
/// When `folder` has no plan, and when it was changed after the journal began: its trials would not be of one matrix.
pub fn pick_up(folder: &Path, registry: &Registry) -> Result<(Plan, Option<Contents>)> {
    let contents = journal::read_if_begun(folder)?;
    let path = folder.join(PLAN);
    let text = match (fs::read_to_string(&path), &contents) {
        (Err(error), None) if error.kind() == ErrorKind::NotFound => {
            return Err(refusal(format!(
                "{} has neither {PLAN} nor a journal: no matrix began in it; begin one with --plan",
                folder.display()
            )));
        }
        (text, _) => text.with_context(|| format!("read {}", path.display()))?,
    };
    let Some(contents) = contents else {
        // No digest tells whether it was changed: it is checked as any plan is.
        let plan =
            registry.load(&path, &Overrides::default()).map_err(|error| refusal(format!("{error:#}")))?;
        return Ok((plan, None));
    };
    if tools::sha256(text.as_bytes()) != contents.header.plan_sha256 {
        return Err(refusal(format!(
            "{} was changed after the matrix began; begin a new one with --plan",
            path.display()
        )));
    }
    let plan = toml::from_str(&text).with_context(|| format!("read the plan {}", path.display()))?;
    Ok((plan, Some(contents)))
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
    for (name, before, after) in facts::differences(&began.host, &now.host) {
        compare(&name, &before, &after);
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
        journal::Journal::begin(folder.path(), header()).unwrap();
        fs::write(folder.path().join("plan.toml"), "name = \"other\"\n").unwrap();
        let error = pick_up(folder.path(), &platform::built_in()).unwrap_err().to_string();
        assert!(error.contains("was changed"), "{error}");
    }

    #[test]
    fn without_a_journal_the_plan_is_enough_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let registry = platform::built_in();
        let error = pick_up(folder.path(), &registry).unwrap_err().to_string();
        assert!(error.contains("no matrix began in it"), "{error}");

        let overrides =
            Overrides { repetitions: Some(7), only: vec!["disk/*".into()], ..Overrides::default() };
        for shipped in ["quick.toml", "ipsj-2010.toml", "aa.toml"] {
            let plan = registry.load(&plan::plans_folder().join(shipped), &overrides).unwrap();
            let text = toml::to_string(&plan).unwrap();
            results::folder::store_plan(folder.path(), &text).unwrap();
            let (again, earlier) = pick_up(folder.path(), &registry).unwrap();
            assert!(earlier.is_none());
            assert_eq!(toml::to_string(&again).unwrap(), text);
        }
        // A header that is torn is none.
        fs::write(folder.path().join(journal::FILE_NAME), "{\"line\":\"head").unwrap();
        let (plan, earlier) = pick_up(folder.path(), &registry).unwrap();
        assert!(earlier.is_none() && plan.repetitions == 7);

        let path = folder.path().join(PLAN);
        let wrong = fs::read_to_string(&path).unwrap().replace("tool = \"diskprobe\"", "tool = \"fio\"");
        fs::write(&path, wrong).unwrap();
        let error = pick_up(folder.path(), &registry).unwrap_err();
        assert!(error.to_string().contains("fio"), "{error}");
        assert_eq!(error.downcast_ref::<meter::Error>().unwrap().kind().exit_code(), 2);
    }
}
