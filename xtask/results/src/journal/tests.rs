use serde_json::json;

use super::*;
use crate::fake::{header, trial};

/// What a reader knows of a trial, with characters of more than one byte.
fn real(sequence: u64) -> Trial {
    Trial {
        outcome: Outcome::Completed,
        reason: Some("3 µs ≤ 4 µs — 😀 \"quoted\" \\ and\nbroken".into()),
        summary: Some(
            json!({"record": "summary", "elapsed_s": 1.5, "unit": "µs", "warnings": ["{\"x\":1}"]}),
        ),
        proofs: vec![Proof {
            domain: "a".into(),
            tool: "cpuload".into(),
            key: "duty_percent".into(),
            measured: Some(99.5),
            required: 95.0,
        }],
        ..trial(sequence)
    }
}

/// Writes a journal with every kind of line.
fn write(folder: &Path) -> Vec<u8> {
    let mut journal = Journal::begin(folder, header()).unwrap();
    journal.facts(Facts { domain: "b".into(), host: json!({"cpu_model": "µ-arch"}) }).unwrap();
    journal.trial(real(0)).unwrap();
    journal.resumed(Resumed { started_wall_ns: 9, sequence: 1, boot_id: None }).unwrap();
    journal.trial(real(1)).unwrap();
    fs::read(folder.join(FILE_NAME)).unwrap()
}

#[test]
fn cut_at_every_byte_it_has_exactly_the_whole_lines_before_and_goes_on_there() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write(folder.path());
    assert!(bytes.iter().filter(|byte| **byte >= 0x80).count() > 20, "no character of several bytes");
    let ends: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == b'\n').collect();
    assert_eq!(ends.len(), 5);
    let path = folder.path().join(FILE_NAME);
    for cut in 0..=bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        // A line is whole with its last brace; its end may be lost.
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        let contents = read_if_begun(folder.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error:#}"));
        let Some(contents) = contents else {
            assert_eq!(whole, 0, "cut at {cut}");
            let error = read(folder.path()).unwrap_err().to_string();
            assert!(error.contains("no whole header"), "{error}");
            continue;
        };
        let found = (contents.facts.len(), contents.trials, contents.resumed.len());
        let trials = [real(0), real(1)];
        let expected = match whole {
            1 => (0, vec![], 0),
            2 => (1, vec![], 0),
            3 => (1, trials[..1].to_vec(), 0),
            4 => (1, trials[..1].to_vec(), 1),
            _ => (1, trials.to_vec(), 1),
        };
        assert_eq!(found, expected, "cut at {cut}");
        assert_eq!((&contents.header, &contents.notes[..]), (&header(), &[][..]));
        let contents = read(folder.path()).unwrap();
        drop(Journal::reopen(folder.path(), &contents).unwrap());
        let kept = fs::read(&path).unwrap();
        assert!(kept == bytes[..=ends[whole - 1]], "cut at {cut}: {} bytes are kept", kept.len());
    }
}

#[test]
fn a_header_cut_at_every_byte_can_begin_again() {
    let folder = tempfile::tempdir().unwrap();
    Journal::begin(folder.path(), header()).unwrap();
    let path = folder.path().join(FILE_NAME);
    let bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 2;
    for cut in [0, 1, 5, last / 2, last] {
        fs::write(&path, &bytes[..cut]).unwrap();
        drop(Journal::begin(folder.path(), header()).unwrap());
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    // Space that was given to the file before its data were there.
    fs::write(&path, [0; 4096]).unwrap();
    drop(Journal::begin(folder.path(), header()).unwrap());
    let error = Journal::begin(folder.path(), header()).err().unwrap().to_string();
    assert!(error.contains("meanwhile"), "{error}");
    fs::write(&path, "my own file").unwrap();
    let error = Journal::begin(folder.path(), header()).err().unwrap().to_string();
    assert!(error.contains("is not a journal"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"my own file");
}

#[test]
fn a_broken_line_that_is_not_the_last_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write(folder.path());
    let path = folder.path().join(FILE_NAME);
    let text = String::from_utf8(bytes.clone()).unwrap();
    let mut not_utf8 = bytes.clone();
    let place = not_utf8.iter().position(|&byte| byte >= 0x80).unwrap();
    not_utf8[place] = b'x';
    for (wrong, line) in [
        (text.replacen("\"line\":\"trial\"", "\"line\":\"tiral\"", 1).into_bytes(), 3),
        (text.replacen("\"line\":\"trial\"", "\"line\":\"trial", 1).into_bytes(), 3),
        (not_utf8, 2),
    ] {
        fs::write(&path, wrong).unwrap();
        let error = format!("{:#}", read(folder.path()).unwrap_err());
        assert!(error.contains(&format!("journal.jsonl:{line}: ")), "{error}");
    }
}

#[test]
fn each_trial_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = String::from_utf8(write(folder.path())).unwrap();
    let path = folder.path().join(FILE_NAME);
    let lines: Vec<&str> = text.lines().collect();
    let with = |more: &str| fs::write(&path, format!("{text}{more}\n")).unwrap();
    let twice: String = lines.iter().map(|line| format!("{line}\n{line}\n")).collect();
    for doubled in [twice, text.repeat(2)] {
        fs::write(&path, doubled).unwrap();
        let contents = read(folder.path()).unwrap();
        assert_eq!(contents.trials, [real(0), real(1)]);
        assert_eq!((contents.resumed.len(), contents.facts.len(), contents.notes.len()), (1, 1, 1));
        assert!(contents.notes[0].contains("count once: number "), "{:?}", contents.notes);
    }
    let line = |trial: Trial| serde_json::to_string(&Line::Trial(Box::new(trial))).unwrap();
    let other_header = Header { seed: 2, ..header() };
    for (more, told) in [
        (line(Trial { wall_s: 9.0, ..real(1) }), "has another result in line 5"),
        (line(Trial { sequence: 7, ..real(0) }), "has another result in line 3"),
        (line(Trial { repetition: 9, ..real(1) }), "trial number 1 comes after number 1"),
        (line(Trial { cell: Cell::new("disk", "native", "none2"), ..real(2) }), "disk/native/none2"),
        (serde_json::to_string(&Line::Header(Box::new(other_header))).unwrap(), "a second header"),
    ] {
        with(&more);
        let error = format!("{:#}", read(folder.path()).unwrap_err());
        assert!(error.contains("journal.jsonl:6: ") && error.contains(told), "{error}");
    }
    with(&line(Trial { attempt: 1, ..real(2) }));
    assert_eq!(read(folder.path()).unwrap().trials.len(), 3);
}

#[test]
fn one_process_writes_at_a_time_and_none_on_top_of_what_it_has_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::begin(folder.path(), header()).unwrap();
    journal.trial(trial(0)).unwrap();
    let before = read(folder.path()).unwrap();
    let error = Journal::reopen(folder.path(), &before).err().unwrap().to_string();
    assert!(error.contains("another `cargo xtask matrix`: let it end"), "{error}");
    journal.trial(trial(1)).unwrap();
    drop(journal);
    let error = Journal::reopen(folder.path(), &before).err().unwrap().to_string();
    assert!(error.contains("meanwhile"), "{error}");

    let mut journal = Journal::reopen(folder.path(), &read(folder.path()).unwrap()).unwrap();
    let resumed = Resumed { started_wall_ns: 9, sequence: 2, boot_id: Some("b".into()) };
    journal.resumed(resumed.clone()).unwrap();
    journal.trial(trial(2)).unwrap();
    let contents = read(folder.path()).unwrap();
    assert_eq!((contents.trials.len(), contents.resumed), (3, vec![resumed]));
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::begin(folder.path(), header()).unwrap();
    let error = journal.trial(Trial { wall_s: f64::NAN, ..trial(0) }).unwrap_err().to_string();
    assert!(error.contains("would not be readable"), "{error}");
    journal.trial(trial(1)).unwrap();
    assert_eq!(read(folder.path()).unwrap().trials, [trial(1)]);
}

#[test]
fn a_second_journal_never_replaces_the_first() {
    let folder = tempfile::tempdir().unwrap();
    Journal::begin(folder.path(), header()).unwrap();
    assert!(Journal::begin(folder.path(), header()).is_err());
}

#[test]
fn a_journal_of_another_version_is_refused_before_its_lines_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    fs::write(&path, "{\"line\":\"header\",\"schema\":1,\"cells\":[\"disk/native/none\"]}\n").unwrap();
    let error = read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("journal version 1, this program reads 2"), "{error}");
}
