//! The shipped plans, and plans that are wrong.

use std::{fs, path::PathBuf};

use super::*;
use crate::plans_folder;

fn shipped(name: &str) -> Plan {
    load(&plans_folder().join(name), &Overrides::default()).unwrap()
}

/// The shipped plan with `from` replaced by `to`, loaded; its error.
fn error_after(from: &str, to: &str) -> String {
    let text = fs::read_to_string(plans_folder().join("ipsj-2010.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    let folder = tempfile::tempdir().unwrap();
    let published = plans_folder().join("published/ipsj-2010-os113.toml");
    let path: PathBuf = folder.path().join("plan.toml");
    let text = text.replace("published/ipsj-2010-os113.toml", published.to_str().unwrap());
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    format!("{:#}", load(&path, &Overrides::default()).unwrap_err())
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
        ("kind = \"namespaces\"", "kind = \"vmware\"", "no platform is named `vmware`"),
        ("loads = [\"none\"]", "loads = [\"nune\"]", "no load is named `nune`"),
        ("cpus = \"1,0\"", "cpus = \"zero\"", "not a CPU number"),
        ("disk = \"loop\"", "disk = \"lop\"", "unknown variant"),
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
fn places_of_a_xen_plan_that_are_none_are_refused_before_anything_runs() {
    let text = fs::read_to_string(plans_folder().join("xen-lab-quick.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["ipsj-2010.toml", "published/ipsj-2010-os113.toml"] {
        fs::create_dir_all(folder.path().join("published")).unwrap();
        fs::copy(plans_folder().join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("wrong.toml");
    for (from, to, complaint) in [
        ("ssh = \"xen-lab-b\"", "ssh = \"-oProxyCommand=touch /tmp/x\"", "`ssh` is `-oProxyCommand"),
        ("guest = \"B\"", "guest = \"--help\"", "`guest` is `--help`"),
        ("config = \"/lab/b.cfg\"", "config = \"b.cfg\"", "it must be an absolute path"),
        ("peer = \"10.77.1.1/24\"", "peer = \"10.77.1.1; reboot\"", "`peer` is"),
        ("address = \"10.77.0.1\"", "address = \"generator\"", "it must be an IP address"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replace(from, to)).unwrap();
        let error = format!("{:#}", load(&path, &Overrides::default()).unwrap_err());
        assert!(error.contains(complaint) && error.contains("wrong.toml"), "{error}");
    }
    let start = text.find("[platform.xen]").unwrap();
    let end = text.find("# The same machine").unwrap();
    fs::write(&path, format!("{}{}", &text[..start], &text[end..])).unwrap();
    let error = format!("{:#}", load(&path, &Overrides::default()).unwrap_err());
    assert!(error.contains("needs [platform.xen]"), "{error}");
}
