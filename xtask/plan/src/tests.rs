//! The shipped plans, and plans that are wrong.

use std::{fs, path::PathBuf};

use super::*;
use crate::plans_folder;

fn shipped(name: &str) -> Plan {
    load(&plans_folder().join(name), &Overrides::default()).unwrap().0
}

/// The shipped plan with `from` replaced by `to`, loaded; its error.
fn error_after(from: &str, to: &str) -> String {
    error_after_times(from, to, 1)
}

fn error_after_times(from: &str, to: &str, times: usize) -> String {
    let text = fs::read_to_string(plans_folder().join("ipsj-2010.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    let folder = tempfile::tempdir().unwrap();
    let published = plans_folder().join("published/ipsj-2010-os113.toml");
    let path: PathBuf = folder.path().join("plan.toml");
    let text = text.replace("published/ipsj-2010-os113.toml", published.to_str().unwrap());
    fs::write(&path, text.replacen(from, to, times)).unwrap();
    format!("{:#}", load(&path, &Overrides::default()).map(drop).unwrap_err())
}

#[test]
fn the_reports_plan_has_its_24_cells_and_all_of_them_have_published_ids() {
    let plan = shipped("ipsj-2010.toml");
    let cells = expand(&plan).unwrap();
    assert_eq!(cells.len(), 24);
    assert_eq!((plan.repetitions, plan.seed), (50, 2010));
    let mut ids: Vec<&str> =
        cells.iter().map(|cell| plan.published_cell(cell).expect("published").id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 24);
}

#[test]
fn the_quick_plan_has_the_same_cells_and_smaller_numbers() {
    let (full, quick) = (shipped("ipsj-2010.toml"), shipped("quick.toml"));
    assert_eq!(expand(&full).unwrap(), expand(&quick).unwrap());
    assert!(quick.repetitions < full.repetitions);
    assert_ne!(quick.variables["total"], full.variables["total"]);
}

#[test]
fn a_resolved_plan_needs_no_other_file() {
    let plan = shipped("quick.toml");
    let text = toml::to_string(&plan).unwrap();
    let again: Plan = toml::from_str(&text).unwrap();
    assert_eq!(toml::to_string(&again).unwrap(), text);
    assert_eq!(again.published.unwrap().cell.len(), 24);
}

#[test]
fn globs_choose_cells_by_name() {
    let mut plan = shipped("quick.toml");
    plan.selection.only = vec!["disk/*".into()];
    plan.selection.skip = vec!["*/udp@a".into()];
    let cells = expand(&plan).unwrap();
    assert_eq!(cells.len(), 10);
    plan.selection.only = vec!["nothing/*".into()];
    assert!(expand(&plan).unwrap_err().to_string().contains("disk/virtual/udp@a"));
}

#[test]
fn a_typing_error_is_named_with_file_and_line() {
    let unknown_key = error_after("repetitions = 50", "repetitons = 50");
    assert!(unknown_key.contains("plan.toml:6: "), "{unknown_key}");
    assert!(unknown_key.contains("repetitons"), "{unknown_key}");
    let unknown_domain = error_after("domain = \"dom0\"", "domain = \"domO\"");
    assert!(unknown_domain.contains("no domain is named `domO`"), "{unknown_domain}");
    assert!(unknown_domain.contains("plan.toml:"), "{unknown_domain}");
    let unknown_word = error_after("--block-size\", \"{block}\"", "--block-size\", \"{blok}\"");
    assert!(unknown_word.contains("{blok}"), "{unknown_word}");
    for (from, to, expected) in [
        ("tool = \"diskprobe\"", "tool = \"dd\"", "no tool is named `dd`"),
        ("loads = [\"none\"]", "loads = [\"nune\"]", "no load is named `nune`"),
        ("cpus = \"1,0\"", "cpus = \"zero\"", "not a CPU number"),
        ("repetitions = 50", "repetitions = 0", "at least 1"),
        ("cost = { elapsed = \"elapsed\"", "cost = { elapsed = \"time\"", "needs the metric `time`"),
    ] {
        let error = error_after(from, to);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn words_in_braces_are_replaced_and_unknown_ones_named() {
    let words = BTreeMap::from([("disk".to_owned(), "/dev/x".to_owned())]);
    assert_eq!(substitute("a {disk} b {disk}", &words).unwrap(), "a /dev/x b /dev/x");
    assert!(substitute("{dsk}", &words).unwrap_err().contains("known are disk"));
    assert!(substitute("{disk", &words).is_err());
}

#[test]
fn names_that_would_collide_or_lose_a_report_are_refused_with_their_line() {
    let text = fs::read_to_string(plans_folder().join("ipsj-2010.toml")).unwrap();
    let line_of = |part: &str| 1 + text[..text.find(part).unwrap()].matches('\n').count();
    for (from, to, says) in [
        ("probes.disk", "probes.\"di/sk\"", "has '/'"),
        ("probes.disk", "probes.\"di sk\"", "has ' '"),
        ("probes.disk", "probes.\"di.sk\"", "has '.'"),
        ("[attachments.virtual]", "[attachments.\"vir/tual\"]", "has '/'"),
        ("[attachments.virtual]", "[attachments.Native]", "upper and lower case"),
        ("[loads.none]", "[loads.\"\"]", "at least one character"),
        ("[domains.a]", "[domains.\"{a}\"]", "must begin with"),
        ("block = \"128KiB\"", "\"bl{ck\" = \"128KiB\"", "has '{'"),
    ] {
        let error = error_after_times(from, to, usize::MAX);
        let place = format!("plan.toml:{}: ", line_of(from));
        let other = format!("plan.toml:{}: ", line_of("[attachments.native]"));
        assert!(error.contains(&place) || to.contains("Native") && error.contains(&other), "{place} {error}");
        assert!(error.contains(says), "{error}");
    }
    let long = format!("probes.{}", "x".repeat(300));
    assert!(error_after_times("probes.disk", &long, usize::MAX).contains("at most 48 characters"));
}

#[test]
fn an_error_is_in_the_file_that_says_it() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ipsj-2010.toml", "published/ipsj-2010-os113.toml"] {
        fs::create_dir_all(folder.path().join("published")).unwrap();
        fs::copy(plans_folder().join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("own.toml");
    let head = "extends = \"ipsj-2010.toml\"\nname = \"own\"\ntitle = \"t\"\n";
    let refused = |text: &str| {
        fs::write(&path, format!("{head}{text}")).unwrap();
        format!("{:#}", load(&path, &Overrides::default()).map(drop).unwrap_err())
    };
    let error = refused("[domains.a]\ncpus = \"zero\"\n");
    assert!(error.contains("own.toml:5: ") && !error.contains("ipsj-2010.toml:"), "{error}");
    let error = refused("[domains.c]\ncpus = \"1\"\n");
    assert!(error.contains("own.toml:4: ") && error.contains("no domain `c`"), "{error}");
    let error = refused("[variables]\nblok = \"1\"\n");
    assert!(error.contains("own.toml:5: ") && error.contains("no variable `blok`"), "{error}");
    let error = refused("trial_timeout_s = 0.0\n");
    assert!(error.contains("own.toml:4: "), "{error}");
    let error = refused("[platform]\nkind = \"namespaces\"\ncontrol = \"dom1\"\noutside = \"generator\"\n");
    assert!(error.contains("own.toml:6: "), "{error}");
    let base = fs::read_to_string(plans_folder().join("ipsj-2010.toml")).unwrap();
    fs::write(folder.path().join("ipsj-2010.toml"), base.replace("cpus = \"4\"", "cpus = \"four\"")).unwrap();
    let line = 1 + base[..base.find("cpus = \"4\"").unwrap()].matches('\n').count();
    let error = refused("[domains.a]\ncpus = \"1\"\n");
    assert!(error.contains("own.toml") && error.contains(&format!("ipsj-2010.toml:{line}: ")), "{error}");
}

#[test]
fn a_platforms_part_is_read_with_the_line_of_what_is_wrong_in_it() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Device {
        #[expect(dead_code, reason = "only whether it can be read matters")]
        disk: u32,
    }
    let (plan, sources) = load(&plans_folder().join("ipsj-2010.toml"), &Overrides::default()).unwrap();
    let text = fs::read_to_string(plans_folder().join("ipsj-2010.toml")).unwrap();
    let start = text.find("[attachments.dom0]").unwrap();
    let line = 1 + text[..start + text[start..].find("device").unwrap()].matches('\n').count();
    let error = sources.section::<Device>(&["attachments", "dom0", "device"]).unwrap_err().to_string();
    assert!(error.contains(&format!("ipsj-2010.toml:{line}: ")), "{error}");
    let error = sources.section::<Device>(&["domains", "a", "at"]).unwrap_err().to_string();
    assert!(error.contains("missing field `disk`") && error.contains("ipsj-2010.toml:"), "{error}");
    assert!(section::<Device>(&plan.attachments["dom0"].device).is_err());
}

#[test]
fn a_control_is_the_baseline_once_more_and_margins_are_numbers() {
    let control = |measured: &str| {
        format!(
            "[attachments.again]\nmeasured = \"{measured}\"\ndevice = {{ disk = \"direct\", network = \"direct\" }}\ncontrol = true\n\
             stands_in = {{ dom0 = \"native\", a = \"native\", b = \"native\" }}\n\n[attachments.dom0]"
        )
    };
    let error = error_after("[attachments.dom0]", &control("dom0"));
    assert!(error.contains("the control `again` must be the baseline once more"), "{error}");
    let error = error_after("better = \"less\"", "better = \"less\"\nmargin_percent = -1.0");
    assert!(error.contains("`margin_percent` of `elapsed` is -1; it must be 0 to 1000"), "{error}");
    let plan = shipped("aa.toml");
    assert!(plan.attachments["native-again"].control && !plan.attachments["native-again"].baseline);
}

#[test]
fn what_would_change_a_number_or_break_a_trial_is_refused_with_its_line() {
    let text = fs::read_to_string(plans_folder().join("ipsj-2010.toml")).unwrap();
    let keys = "stands_in = { dom0 = \"native\", a = \"native\", b = \"native\" }";
    let proof = "proof = [{ key = \"offered_pps\", at_least = 5000.0 }]";
    let listen = "args = [\"serve\", \"--listen\", \"{peer}:12865\", \"--no-token\"]";
    let proved = format!("{listen}\nproof = [{{ key = \"elapsed_s\", at_least = 1.0 }}]");
    for (from, to, line, says) in [
        (
            keys,
            "stands_in = { dom = \"native\", a = \"native\", b = \"native\" }",
            0,
            "no domain is named `dom`",
        ),
        (keys, "stands_in = { a = \"b\", b = \"a\" }", 0, "can't have a stand-in itself"),
        (keys, "stands_in = { native = \"a\", a = \"a\" }", 0, "nothing can stand in"),
        (keys, "stands_in = { dom0 = \"native\", b = \"native\" }", 0, "which domain carries it"),
        ("baseline = true", "baseline = false", -3, "no attachment is the `baseline`"),
        ("outside = \"generator\"", "outside = \"dom0\"", 0, "can't be both"),
        ("measured = \"dom0\"", "measured = \"generator\"", 0, "can't be measured"),
        ("name = \"throughput\"", "name = \"elapsed\"", 0, "two metrics have the name `elapsed`"),
        ("key = \"bytes_per_s\"", "key = \"elapsed_s\"", 0, "two metrics have the key"),
        ("key = \"bytes_per_s\"", "key = \"bytes_per_sec\"", 0, "no number `bytes_per_sec`"),
        ("key = \"bytes_per_s\"", "key = \"total_latency\"", 0, "no number `total_latency`"),
        ("unit = \"ns\"", "unit = \"us\"", 0, "is `ns`, not `us`"),
        ("unit = \"bits/s\"", "unit = \"bytes/s\"", 0, "is `bits/s`"),
        ("better = \"less\"", "better = \"more\"", 0, "can't be better"),
        (proof, "proof = []", 0, "has no `proof`"),
        (proof, "proof = [{ key = \"offered_ppz\", at_least = 5000.0 }]", 0, "no number `offered_ppz`"),
        (proof, "proof = [{ key = \"offered_pps\", at_least = nan }]", 0, "a number above 0"),
        (proof, "proof = [{ key = \"offered_pps\", at_least = inf }]", 0, "a number above 0"),
        (proof, "proof = [{ key = \"offered_pps\", at_least = 0.0 }]", 0, "a number above 0"),
        (listen, &proved, 1, "only a load has a `proof`"),
        ("block = \"128KiB\"", "disk = \"128KiB\"", 0, "a word that the platform gives"),
        ("block = \"128KiB\"", "peer = \"128KiB\"", 0, "a word that the platform gives"),
        ("block = \"128KiB\"", "block = \"{total}\"", 0, "has a brace"),
        ("block = \"128KiB\"", "block = \"128KiB\"\nblok = \"1\"", 1, "nothing uses"),
        ("trial_timeout_s = 600", "trial_timeout_s = nan", 0, "at most 604800 seconds"),
        ("trial_timeout_s = 600", "trial_timeout_s = 1e300", 0, "at most 604800 seconds"),
        ("trial_timeout_s = 600", "trial_timeout_s = inf", 0, "at most 604800 seconds"),
        ("repetitions = 50", "repetitions = 4294967295", 0, "at most are 1000000"),
        ("work = \"written\"", "work = \"throughput\"", 0, "no amount of work"),
        ("loads = [\"none\"]", "loads = []", 0, "no cell"),
        ("loads = [\"none\"]", "loads = [\"none\", \"none\"]", 0, "is here twice"),
        ("device = \"disk\"\nargs", "device = \"network\"\nargs", 0, "`{peer}`"),
        ("[\"write\", \"{disk}\"", "[\"wriet\", \"{disk}\"", 0, "refuses its arguments"),
        ("\"--size\", \"{flood_size}\"", "\"--sise\", \"{flood_size}\"", 0, "refuses its arguments"),
    ] {
        let at = text.find(from).unwrap_or_else(|| panic!("{from}"));
        let line = 1 + i64::try_from(text[..at].matches('\n').count()).unwrap() + line;
        let error = error_after(from, to);
        assert!(error.contains(says), "{to}: {error}");
        let near = error.contains(&format!("plan.toml:{line}: "));
        assert!(
            near || to == "baseline = false" && error.contains("plan.toml:"),
            "{to}, line {line}: {error}"
        );
    }
    let line = 1 + text[..text.find("args = [\"write\"").unwrap()].matches('\n').count();
    let error = error_after("total = \"1048576000B\"", "total = \"8388608TiB\"");
    assert!(
        error.contains(&format!("plan.toml:{line}: ")) && error.contains("more than any disk"),
        "{error}"
    );
}
