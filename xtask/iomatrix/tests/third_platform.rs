//! A platform that no other file knows: its terms, checks, attachments and doctor are all here, and the whole
//! matrix of the shipped plan runs on it with real tools. If this needs a change elsewhere, a platform does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Parser;
use domain::{Domain, RunContext};
use iomatrix::args::IomatrixArgs;
use plan::{AttachmentSpec, Cell, Device, Plan, Sources};
use platform::{
    Kind, Platform, Registry,
    doctor::{Finding, Survey, examine},
    place::{self, Place},
};
use serde::Deserialize;
use serde_json::Value;

/// All domains are this machine, each with a loopback address of its own; the disk is a file in a folder.
struct Loopback;

/// `[platform.settings]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    folder: PathBuf,
}

/// `at` of a domain.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    host: u8,
}

/// `device` of an attachment: how deep the file is below the folder.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Depth {
    depth: usize,
}

impl Kind for Loopback {
    fn name(&self) -> &'static str {
        "loopback"
    }

    fn check(&self, plan: &Plan, sources: &Sources) -> Result<()> {
        sources.section::<Settings>(&["platform", "settings"])?;
        for name in plan.domains.keys() {
            let path = ["domains", name, "at"];
            if sources.section::<At>(&path)?.host == 0 {
                return Err(sources.error(&["domains", name, "at", "host"], "`host` must be 1 or more"));
            }
        }
        for name in plan.attachments.keys() {
            sources.section::<Depth>(&["attachments", name, "device"])?;
        }
        Ok(())
    }

    fn prepare(&self, plan: &Plan, context: &RunContext, _: &Path) -> Result<Box<dyn Platform>> {
        let Settings { folder } = plan::section(&plan.platform.settings)?;
        let mut places = BTreeMap::new();
        let mut words = BTreeMap::from([("peer".to_owned(), "127.0.9.1".to_owned())]);
        for (name, domain) in &plan.domains {
            let At { host } = plan::section(&domain.at)?;
            places.insert(name.clone(), place::open(None, None, None, context)?);
            words.insert(format!("address.{name}"), format!("127.0.9.{host}"));
        }
        Ok(Box::new(Machine { folder, places, words }))
    }

    fn doctor(&self, plan: &Plan, cells: &[Cell]) -> Result<Vec<Finding>> {
        let survey = Survey::new(plan, cells, BTreeSet::new());
        let shell = place::shell(None, None)?;
        Ok(examine(&survey, plan.platform.control.get_ref(), &*shell, false))
    }
}

/// The platform, ready for trials.
struct Machine {
    folder: PathBuf,
    places: BTreeMap<String, Box<dyn Place>>,
    words: BTreeMap<String, String>,
}

impl Platform for Machine {
    fn label(&self) -> String {
        "one machine and its loopback".into()
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn domain_cpus(&self) -> BTreeMap<String, String> {
        self.places.keys().map(|name| (name.clone(), "0".to_owned())).collect()
    }

    fn domain(&self, name: &str) -> Result<&dyn Domain> {
        Ok(&**self.places.get(name).context("no such domain")?)
    }

    fn lacks(&self, _: &AttachmentSpec, _: Device) -> Option<String> {
        None
    }

    fn attach(&mut self, attachment: &AttachmentSpec, _: Device) -> Result<BTreeMap<String, String>> {
        let Depth { depth } = plan::section(&attachment.device)?;
        let folder = (0..depth).fold(self.folder.clone(), |folder, _| folder.join("deeper"));
        fs::create_dir_all(&folder)?;
        let disk = folder.join("disk");
        fs::write(&disk, vec![1; 8 << 20])?;
        let mut words = self.words.clone();
        words.insert("disk".into(), disk.display().to_string());
        Ok(words)
    }
}

/// The shipped plan's axes on the made-up platform, as small as it gets; loads need only show that they run.
fn plan(folder: &Path) -> PathBuf {
    let shipped = fs::read_to_string(plan::plans_folder().join("ipsj-2010.toml")).unwrap();
    let mut base = shipped;
    for threshold in ["10.0", "1000.0", "5000.0"] {
        base = base.replace(&format!("at_least = {threshold} "), "at_least = 0.1 ");
    }
    fs::write(folder.join("base.toml"), base).unwrap();
    fs::create_dir_all(folder.join("published")).unwrap();
    let published = "published/ipsj-2010-os113.toml";
    fs::copy(plan::plans_folder().join(published), folder.join(published)).unwrap();
    let mut text = format!(
        "extends = \"base.toml\"\nname = \"loopback\"\ntitle = \"A third platform\"\nrepetitions = 1\n\
         trial_timeout_s = 60\nproof_timeout_s = 30\n[variables]\ntotal = \"4MiB\"\nprecondition = \"1MiB\"\n\
         stream = \"100ms\"\nflood_load = \"2kpps\"\n[platform]\nkind = \"loopback\"\ncontrol = \"dom0\"\n\
         outside = \"generator\"\n[platform.settings]\nfolder = {:?}\n",
        folder.join("disks")
    );
    for (host, name) in (1..).zip(["generator", "native", "dom0", "a", "b"]) {
        text += &format!("[domains.{name}]\ncpus = \"0\"\nat = {{ host = {host} }}\n");
    }
    for (depth, name) in ["native", "dom0", "passthrough", "virtual"].iter().enumerate() {
        text += &format!("[attachments.{name}]\ndevice = {{ depth = {depth} }}\n");
    }
    let path = folder.join("plan.toml");
    fs::write(&path, text).unwrap();
    path
}

fn run(args: &[&str]) -> Result<u8> {
    let args = IomatrixArgs::try_parse_from([&["iomatrix"], args].concat()).unwrap();
    iomatrix::run(args.command, &Registry::new(vec![Box::new(Loopback)]))
}

#[test]
fn a_folder_without_a_journal_begins_again_and_what_failed_is_tried_again() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let overrides = plan::Overrides { only: vec!["disk/*/none".into()], ..plan::Overrides::default() };
    let plan = Registry::new(vec![Box::new(Loopback)]).load(&plan(folder.path()), &overrides).unwrap();
    // As after SIGKILL while the platform was prepared, where `latest` is somebody's own folder.
    let results = folder.path().join("results/killed");
    results::folder::store_plan(&results, &toml::to_string(&plan).unwrap()).unwrap();
    let latest = folder.path().join("results/latest");
    fs::create_dir(&latest).unwrap();
    fs::write(latest.join("own"), "").unwrap();
    let binaries = tools::build().unwrap().folder;
    let resume = |more: &[&str]| {
        let args =
            ["matrix", "--resume", results.to_str().unwrap(), "--binaries", binaries.to_str().unwrap()];
        run(&[&args, more].concat()).unwrap()
    };
    assert_eq!(resume(&[]), 0);
    assert!(results.join("report/index.html").exists() && latest.join("own").exists());
    let read = || results::journal::read(&results).unwrap();
    let trials = read().trials;
    assert_eq!(trials.len(), 4);
    let mut domains: Vec<_> = read().facts.into_iter().map(|facts| facts.domain).collect();
    domains.sort_unstable();
    assert_eq!(domains, ["b", "dom0", "native"]);

    let journal = results.join("journal.jsonl");
    let failed = fs::read_to_string(&journal).unwrap().replacen("\"completed\"", "\"failed\"", 1);
    fs::write(&journal, &failed).unwrap();
    assert_eq!(resume(&[]), 4);
    assert_eq!(fs::read_to_string(&journal).unwrap(), failed);
    assert_eq!(resume(&["--retry-failed"]), 0);
    let trials = read().trials;
    assert_eq!((trials.len(), &trials[4].cell, trials[4].attempt), (5, &trials[0].cell, 1));
    assert_eq!(trials[4].outcome, results::outcome::Outcome::Completed);
    // Nothing of that is told a second time, and nothing is left to do.
    assert_eq!((read().facts.len(), resume(&["--retry-failed"])), (3, 0));
}

#[test]
fn the_whole_matrix_runs_on_a_platform_that_nothing_else_knows() {
    // Where O_DIRECT works, which a temporary file system may refuse.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = plan(folder.path());
    let path = path.to_str().unwrap();
    assert!(matches!(run(&["doctor", "--plan", path]).unwrap(), 0 | 3));

    let wrong = fs::read_to_string(path).unwrap().replace("host = 3", "host = 0");
    let wrong_path = folder.path().join("wrong.toml");
    fs::write(&wrong_path, &wrong).unwrap();
    let line = 1 + wrong[..wrong.find("host = 0").unwrap()].matches('\n').count();
    let error = run(&["matrix", "--plan", wrong_path.to_str().unwrap()]).unwrap_err();
    assert!(error.to_string().contains(&format!("wrong.toml:{line}: ")), "{error}");

    let binaries = tools::build().unwrap().folder;
    let results = folder.path().join("results");
    let [binaries, results_path] = [&binaries, &results].map(|path| path.to_str().unwrap());
    let code = run(&["matrix", "--plan", path, "--results", results_path, "--binaries", binaries]).unwrap();
    let summary: Value =
        serde_json::from_slice(&fs::read(results.join("latest/summary.json")).unwrap()).unwrap();
    let cells = summary["cells"].as_array().unwrap();
    let lacking: Vec<_> =
        cells.iter().filter(|cell| cell["n"] == 0).map(|cell| cell["name"].clone()).collect();
    assert_eq!((code, cells.len(), &lacking[..]), (0, 24, &[][..]));
    assert_eq!(summary["platform"], "one machine and its loopback");
}
