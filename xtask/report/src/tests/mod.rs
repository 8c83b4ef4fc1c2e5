//! The report of a made-up results folder.

mod sample;
mod verdicts;

use std::{collections::BTreeMap, fs, path::Path};

use meter::random::Random;
use serde_json::Value;
use tempfile::TempDir;

use plan::Cell;
use results::outcome::Outcome;

use super::{make, summary::Summary, terminal};

/// A sample with its report.
fn made(repetitions: u32) -> (TempDir, super::Report) {
    let folder = tempfile::tempdir().unwrap();
    sample::write(folder.path(), &sample::plan(repetitions));
    let report = make(folder.path()).unwrap();
    (folder, report)
}

/// Every file under `folder`, by its path.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

fn cell<'a>(summary: &'a Summary, name: &str) -> &'a super::summary::CellSummary {
    summary.cells.iter().find(|cell| cell.name == name).unwrap()
}

#[test]
fn made_again_it_is_the_same_byte_for_byte() {
    let (folder, _) = made(6);
    let first = files(folder.path());
    make(folder.path()).unwrap();
    assert_eq!(first, files(folder.path()));
    assert!(first.keys().filter(|path| path.ends_with(".svg")).count() >= 20);
    // A copy elsewhere, as another machine would have it.
    let copy = tempfile::tempdir().unwrap();
    for name in ["plan.toml", "journal.jsonl"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    make(copy.path()).unwrap();
    let mut contents = files(copy.path()).into_values();
    assert!(first.into_values().all(|content| contents.next() == Some(content)));
}

#[test]
fn two_reports_at_once_are_whole_and_the_same() {
    let (folder, _) = made(2);
    let first = files(folder.path());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| drop(make(folder.path()).unwrap()));
        }
    });
    assert_eq!(first, files(folder.path()));
}

#[test]
fn the_machines_are_those_of_the_measured_domains() {
    let folder = tempfile::tempdir().unwrap();
    sample::write(folder.path(), &sample::plan(2));
    make(folder.path()).unwrap();
    let page = || fs::read_to_string(folder.path().join("report/index.html")).unwrap();
    let before = page();
    for part in ["host-of-native", "host-of-b", "The measured domains", "The machine that ran the matrix"] {
        assert!(before.contains(part), "{part}");
    }
    assert!(!before.contains("changed during the matrix"));

    let path = folder.path().join("journal.jsonl");
    let later = r#"{"line":"facts","domain":"b","host":{"host":"host-of-b","kernel":"6.12"}}"#;
    fs::write(&path, fs::read_to_string(&path).unwrap() + later + "\n").unwrap();
    make(folder.path()).unwrap();
    assert!(page().contains("The machine of b changed during the matrix: kernel: 6.11 -"), "no word of it");
}

#[test]
fn known_effects_are_found_again() {
    let (_folder, report) = made(20);
    let flooded = &cell(&report.summary, "disk/virtual/udp@a").metrics["elapsed"];
    let difference = flooded.difference.unwrap();
    let interval = difference.interval.unwrap();
    assert!(interval.low < sample::FLOOD_COSTS_S && sample::FLOOD_COSTS_S < interval.high, "{interval:?}");
    let verdict = flooded.verdict.unwrap();
    assert_eq!(
        (verdict.word, verdict.direction, verdict.meaning),
        ("different", Some("higher"), Some("worse"))
    );
    assert_eq!(flooded.cliffs_delta, Some(1.0));
    let same = &cell(&report.summary, "net-send/passthrough/none").metrics["goodput"];
    assert_eq!(same.verdict.map(|verdict| verdict.word), Some("equivalent"));
    let cost = cell(&report.summary, "disk/passthrough/none").cost_per_interrupt.clone().unwrap();
    assert!((5.0..9.0).contains(&cost.us.unwrap()), "{cost:?}");
}

#[test]
fn missing_numbers_are_null_and_counted() {
    let (folder, report) = made(12);
    let summary: Value =
        serde_json::from_slice(&fs::read(folder.path().join("summary.json")).unwrap()).unwrap();
    let cells = summary["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 24);
    for name in [sample::WITHOUT_TRIALS, sample::SKIPPED] {
        let cell = cells.iter().find(|cell| cell["name"] == name).unwrap();
        let metrics = cell["metrics"].as_object().unwrap();
        assert_eq!(cell["n"], 0);
        assert!(metrics.values().all(|metric| metric["mean"].is_null() && metric["min"].is_null()));
    }
    let of = |name: &str| cell(&report.summary, name);
    assert_eq!(of(sample::WITHOUT_TRIALS).lacks(), "12 not run");
    assert_eq!(of(sample::SKIPPED).lacks(), "12 skipped");
    let repeated = of("disk/virtual/udp@a");
    assert_eq!((repeated.n, repeated.outcomes.of(Outcome::Invalid), repeated.not_run), (12, 2, 0));
    assert_eq!(of("net-send/virtual/udp@a").outcomes.of(Outcome::TimedOut), 1);
    assert_eq!(of("disk/dom0/none").published_id.as_deref(), Some("disk-2"));
    assert_eq!(of("net-send/virtual/udp@a").compared_with, Some(Cell::new("net-send", "native", "udp@a")));
    assert_eq!(of("disk/virtual/udp@a").compared_with, Some(Cell::new("disk", "native", "none")));
    assert_eq!(of("disk/native/none").compared_with, None);
}

#[test]
fn the_summary_is_what_its_schema_says() {
    let (folder, _) = made(6);
    let summary = serde_json::from_slice(&fs::read(folder.path().join("summary.json")).unwrap()).unwrap();
    let (_, schema) = super::schemas().remove(0);
    let validator = jsonschema::validator_for(schema.as_value()).unwrap();
    let errors: Vec<String> = validator.iter_errors(&summary).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn few_runs_give_no_interval_and_no_verdict() {
    let (folder, report) = made(3);
    for metric in report.summary.cells.iter().flat_map(|cell| cell.metrics.values()) {
        assert_eq!((metric.mean_interval, metric.verdict, metric.percentiles.p95), (None, None, None));
    }
    let page = fs::read_to_string(folder.path().join("report/index.html")).unwrap();
    assert!(page.contains("too few blocks"));
}

#[test]
fn the_page_needs_nothing_else_and_takes_no_text_for_markup() {
    let (folder, _) = made(6);
    for (path, content) in files(&folder.path().join("report")) {
        let text = String::from_utf8(content).unwrap();
        let outside = text.replace("http://www.w3.org/2000/svg", "");
        for forbidden in ["http:", "https:", "<script", "src=", "@import", "url(", "<link"] {
            assert!(!outside.contains(forbidden), "{path} has {forbidden}");
        }
        assert!(!text.contains("NaN") && !text.contains("inf\""), "{path}");
        if path.ends_with(".svg") {
            assert!(text.contains("no hypervisor &lt;sample &amp; test&gt;"), "{path} lacks the platform");
            assert!(text.contains("<title") && text.contains("<desc") && text.contains("<style>"), "{path}");
        }
        if !path.ends_with(".md") {
            check_balance(&path, &text);
        }
    }
    let page = fs::read_to_string(folder.path().join("report/index.html")).unwrap();
    assert!(page.contains("&lt;script&gt;alert("));
    assert_eq!(page.matches("<svg").count(), page.matches("<title id=").count());
}

/// Every element that is opened is closed, in the right order.
fn check_balance(path: &str, text: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in text.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap();
        let name = tag.split([' ', '\n', '/']).find(|word| !word.is_empty()).unwrap_or_default();
        match tag.as_bytes()[0] {
            b'!' | b'?' => {}
            b'/' => assert_eq!(open.pop(), Some(name), "{path}"),
            _ if tag.ends_with('/') || ["meta", "br", "col"].contains(&name) => {}
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "{path}: {open:?}");
}

#[test]
fn the_page_tells_where_the_time_went_and_when_the_host_was_asked() {
    let (folder, report) = made(6);
    let page = fs::read_to_string(folder.path().join("report/index.html")).unwrap();
    let completed = report.summary.outcomes.completed();
    let row = format!("<td class=\"n\">{completed}</td><td class=\"n\">0.125</td><td class=\"n\">0.125</td>");
    assert!(page.contains(&row), "{row}");
    assert!(page.contains("attach.switch") && !page.contains("attach.appear"));
    assert!(page.contains("In 1 completed trial the probe took several times longer"));
}

#[test]
fn runs_csv_has_a_line_for_every_trial() {
    let (folder, report) = made(6);
    let text = fs::read_to_string(folder.path().join("runs.csv")).unwrap();
    // No field of the sample holds a line break.
    assert_eq!(text.lines().count(), 1 + report.input.trials.len());
    let head = text.lines().next().unwrap();
    let metrics =
        "elapsed_s,throughput_bytes_per_s,written_bytes,latency_p50_ns,latency_p99_ns,latency_max_ns";
    assert!(head.ends_with(&format!("{metrics},interrupts,goodput_bps,received_bytes")), "{head}");
    let skipped = text.lines().find(|line| line.contains(sample::SKIPPED)).unwrap();
    assert!(skipped.ends_with(",,,,,,,,,,"), "{skipped}");
}

#[test]
fn the_terminal_lists_every_cell_within_its_width() {
    let (_folder, report) = made(6);
    let text = terminal(&report, 150);
    for cell in &report.summary.cells {
        assert!(text.contains(&cell.name), "{}", cell.name);
    }
    assert!(text.contains("6 skipped") && text.contains(sample::PLATFORM));
    let rows =
        text.lines().filter(|line| line.contains("/native/") || line.contains('@') || line.contains("/none"));
    assert!(rows.clone().all(|line| line.chars().count() <= 150), "{text}");
    assert!(rows.count() == 24);
}

#[test]
fn a_folder_that_is_none_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = format!("{:#}", make(folder.path()).err().unwrap());
    assert!(error.contains("plan.toml") && error.contains("results folder"), "{error}");
    sample::write(folder.path(), &sample::plan(2));
    let plan = fs::read_to_string(folder.path().join("plan.toml")).unwrap();
    fs::write(folder.path().join("plan.toml"), plan.replace("[probes.disk", "[probes.floppy")).unwrap();
    let error = format!("{:#}", make(folder.path()).err().unwrap());
    assert!(error.contains("no probe \"disk\""), "{error}");
}

#[test]
fn a_plan_changed_afterwards_is_noted() {
    let (folder, _) = made(2);
    let path = folder.path().join("plan.toml");
    fs::write(&path, format!("# edited\n{}", fs::read_to_string(&path).unwrap())).unwrap();
    let report = make(folder.path()).unwrap();
    assert!(report.summary.notes.last().unwrap().contains("changed after"));
}

#[test]
fn wild_numbers_break_nothing() {
    let folder = tempfile::tempdir().unwrap();
    sample::write(folder.path(), &sample::plan(6));
    let path = folder.path().join("journal.jsonl");
    let journal = fs::read_to_string(&path).unwrap();
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let wild = [0.0, -1.0, 1.0, 1e-300, 1e300, -1e300, 1e12, 5e-324];
        let mut lines: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for value in
            lines.iter_mut().filter_map(|line| line["metrics"].as_object_mut()).flat_map(|m| m.values_mut())
        {
            if seed < 2 || random.below(20) == 0 {
                *value = wild[random.below(wild.len() as u64) as usize].into();
            }
        }
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, text).unwrap();
        let report = make(folder.path()).unwrap();
        assert!(terminal(&report, 120).contains("trials completed"));
        for (path, content) in files(&folder.path().join("report")) {
            let text = String::from_utf8(content).unwrap();
            assert!(!text.contains("NaN") && !text.contains("inf\""), "{path}, seed {seed}");
        }
    }
}

/// Leaves a report to look at in the folder that `SAMPLE_REPORT` names.
#[test]
fn a_sample_to_look_at() {
    let Some(folder) = std::env::var_os("SAMPLE_REPORT") else { return };
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).unwrap();
    let _ = fs::remove_file(folder.join("journal.jsonl"));
    sample::write(folder, &sample::plan(50));
    make(folder).unwrap();
}
