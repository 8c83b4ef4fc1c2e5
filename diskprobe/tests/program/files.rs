//! Runs on real files.

use std::{
    fs,
    io::{Read, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt},
    },
    process::Stdio,
    time::{Duration, Instant},
};

use crate::support::{self, diskprobe, folder, number, run, text};

#[test]
fn a_run_writes_exactly_the_bytes_and_removes_its_file() {
    let folder = folder();
    let path = folder.path().join("x");
    let ran = run(&["write", text(&path), "--total", "1000KiB", "--block-size", "64KiB"]);
    ran.succeeds();
    let summary = ran.summary();
    assert_eq!(summary["bytes"], 1000 * 1024);
    assert_eq!(summary["operations"], 16, "the last block is shorter");
    assert!(number(summary, "in_flight_mean") > 0.5);
    let samples = ran.all("sample");
    assert_eq!(samples.len(), 1);
    for key in
        ["elapsed_s", "bytes", "operations", "completion_latency", "submission_latency", "total_latency"]
    {
        assert_eq!(summary[key], samples[0][key], "{key}");
    }
    assert!(!path.exists());
}

#[test]
fn records_come_in_order_with_the_facts_of_the_target() {
    let folder = folder();
    let ran = run(&["write", text(&folder.path().join("x")), "--total", "1MiB", "--repeat", "3"]);
    let kinds: Vec<_> = ran.records.iter().map(|record| record["record"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["start", "ready", "sample", "sample", "sample", "summary"]);
    let target = &ran.records[0]["config"]["target"];
    assert_eq!(target["kind"], "new file");
    assert!(target["file_system"].is_string());
    assert_eq!(ran.summary()["runs"], 3);
    assert_eq!(ran.summary()["bytes"], 3 << 20);
    assert!(ran.summary()["ring"]["granted"].as_array().is_some_and(|granted| !granted.is_empty()));
}

#[test]
fn an_existing_file_is_not_written_to_without_a_flag() {
    let folder = folder();
    let path = folder.path().join("precious");
    fs::write(&path, "precious").unwrap();
    run(&["write", text(&path), "--total", "1MiB"]).fails(2, "--overwrite");
    assert_eq!(fs::read(&path).unwrap(), b"precious");

    run(&["write", text(&path), "--total", "1MiB", "--overwrite"]).succeeds();
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20, "it stays, because it was there before");
}

#[test]
fn appending_leaves_what_was_there() {
    let folder = folder();
    let path = folder.path().join("x");
    fs::write(&path, [7; 4096]).unwrap();
    run(&["write", text(&path), "--append", "--total", "64KiB", "--block-size", "4KiB", "--repeat", "2"])
        .succeeds();
    let content = fs::read(&path).unwrap();
    assert_eq!(content.len(), 4096 + 2 * 65_536);
    assert_eq!(content[..4096], [7; 4096]);
}

#[test]
fn layouts_give_the_space_that_they_name() {
    let folder = folder();
    let path = folder.path().join("x");
    for layout in ["preallocate", "extend", "fill"] {
        let arguments = ["--total", "1MiB", "--layout", layout, "--repeat", "2", "--keep"];
        run(&[&["write", text(&path)][..], &arguments].concat()).succeeds();
        assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20, "{layout}");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn what_is_written_can_be_read_back_and_a_flipped_bit_is_found() {
    let folder = folder();
    let path = folder.path().join("x");
    let total = ["--total", "4MiB", "--block-size", "16KiB", "--order", "random", "--seed", "5"];
    let ran = run(&[&["write", text(&path), "--verify", "--keep"][..], &total].concat());
    ran.succeeds();
    assert_eq!(ran.summary()["verification"]["bytes"], 4 << 20);
    assert_eq!(ran.summary()["verification"]["wrong_sectors"], 0);
    run(&[&["read", text(&path), "--verify"][..], &total].concat()).succeeds();

    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 1_234_567).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], 1_234_567).unwrap();
    file.sync_all().unwrap();
    let ran = run(&[&["read", text(&path), "--verify"][..], &total].concat());
    ran.fails(1, "byte 1234567").fails(1, "bit 4");
    assert_eq!(ran.summary()["verification"]["wrong_sectors"], 1);
}

#[test]
fn data_does_not_compress() {
    let folder = folder();
    let path = folder.path().join("x");
    run(&["write", text(&path), "--total", "4MiB", "--keep"]).succeeds();
    let mut gzip = std::process::Command::new("gzip");
    gzip.arg("-9c").stdin(fs::File::open(&path).unwrap());
    let Ok(output) = gzip.output() else { return support::skip("gzip is missing") };
    assert!(output.stdout.len() > 4 << 20, "{} bytes", output.stdout.len());
}

#[test]
fn every_block_that_is_written_is_unlike_every_other() {
    let folder = folder();
    let path = folder.path().join("x");
    let mut seen = std::collections::HashSet::new();
    let mut distinct = |arguments: &[&str]| {
        run(&[&["write", text(&path), "--total", "8MiB", "--overwrite"][..], arguments].concat()).succeeds();
        let content = fs::read(&path).unwrap();
        content.chunks(512).filter(|sector| seen.insert(sector.to_vec())).count()
    };
    fs::write(&path, []).unwrap();
    for engine in ["io_uring", "sync"] {
        // The same seed: what an earlier run wrote is not written again either.
        assert_eq!(distinct(&["--engine", engine]), 8 << 11, "{engine}");
    }
    assert_eq!(distinct(&["--data", "repeated", "--queue-depth", "4"]), 4 * 256, "as many blocks as buffers");
    assert_eq!(
        distinct(&["--verifiable"]),
        (8 << 11) - 4 * 256,
        "repeated data is that of the first offsets"
    );
    assert_eq!(distinct(&["--verifiable"]), 0, "verifiable data follows from its place and the seed");
}

#[test]
fn every_engine_and_mode_does_the_same_work() {
    let folder = folder();
    let path = folder.path().join("x");
    let variants: [&[&str]; 6] = [
        &["--engine", "sync"],
        &["--engine", "sync", "--buffered", "--sync", "fsync"],
        &["--buffered"],
        &["--queue-depth", "1"],
        &["--queue-depth", "64", "--batch", "16"],
        &["--submission-poll"],
    ];
    for variant in variants {
        let common = ["write", text(&path), "--total", "2MiB", "--block-size", "16KiB", "--verify"];
        let ran = run(&[&common, variant].concat());
        ran.succeeds();
        assert_eq!(ran.summary()["bytes"], 2 << 20, "{variant:?}");
        assert_eq!(ran.summary()["sync_s"].is_number(), variant.contains(&"--sync"), "{variant:?}");
    }
}

#[test]
fn several_workers_share_the_blocks() {
    let folder = folder();
    let path = folder.path().join("x");
    let cpus = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    if cpus.trim() == "0" {
        return support::skip("this machine has no second CPU");
    }
    let ran =
        run(&["write", text(&path), "--total", "1MiB", "--block-size", "4KiB", "--verify", "--cpus", "0-1"]);
    ran.succeeds();
    assert_eq!(ran.summary()["operations"], 256);
    assert_eq!(ran.summary()["verification"]["bytes"], 1 << 20);
    run(&["write", text(&path), "--total", "4KiB", "--cpus", "0-1"]).fails(2, "too few");
    run(&["write", text(&path), "--total", "4KiB", "--cpus", "9999"]).fails(3, "CPU 9999");
}

#[test]
fn a_rate_is_kept_and_response_times_count_from_the_intended_start() {
    let folder = folder();
    let path = folder.path().join("x");
    let ran = run(&["write", text(&path), "--total", "400KiB", "--block-size", "4KiB", "--rate", "500/s"]);
    assert!(number(ran.summary(), "elapsed_s") >= 99.0 / 500.0);
    assert_eq!(ran.summary()["response_time"]["count"], 100);
    assert!(number(ran.summary(), "response_time.p50_ns") >= number(ran.summary(), "total_latency.min_ns"));
    let unpaced = run(&["write", text(&path), "--total", "400KiB"]);
    assert!(unpaced.summary()["response_time"].is_null());
}

#[test]
fn a_load_that_is_not_reached_is_not_trusted() {
    let folder = folder();
    let path = folder.path().join("x");
    let ran = run(&["write", text(&path), "--total", "64MiB", "--queue-depth", "1", "--rate", "1000000/s"]);
    ran.fails(4, "the intended load was not reached");
    let stall = number(ran.summary(), "response_time.max_ns") / number(ran.summary(), "total_latency.max_ns");
    assert!(stall > 1.0, "what could not start in time shows as response time");
}

#[test]
fn bounds_that_are_missed_make_the_result_untrusted() {
    let folder = folder();
    let path = folder.path().join("x");
    run(&["write", text(&path), "--total", "1MiB", "--require", "bytes_per_s>=1kB"]).succeeds();
    let ran = run(&["write", text(&path), "--total", "1MiB", "--require", "completion_latency.p50_ns<=1ns"]);
    ran.fails(4, "completion_latency.p50_ns<=1ns");
    assert_eq!(ran.summary()["warnings"].as_array().unwrap().len(), 1);
    run(&["write", text(&path), "--require", "speed>1"]).fails(2, "bytes_per_s");
}

#[test]
fn intervals_and_their_log_hold_every_operation() {
    let folder = folder();
    let (path, log) = (folder.path().join("x"), folder.path().join("log"));
    let arguments = ["--duration", "1s", "--interval", "50ms", "--block-size", "4KiB", "--span", "1MiB"];
    let more = ["--rate", "2000/s", "--hlog", text(&log)];
    let ran = run(&[&["write", text(&path)][..], &arguments, &more].concat());
    let (intervals, runs): (Vec<_>, Vec<_>) =
        ran.all("sample").into_iter().partition(|sample| sample["interval"].is_number());
    assert!(intervals.len() >= 2, "{} intervals", intervals.len());
    let sum = |key: &str| intervals.iter().map(|sample| number(sample, key)).sum::<f64>();
    assert_eq!(sum("operations"), number(runs[0], "operations"));
    assert_eq!(sum("bytes"), number(runs[0], "bytes"));
    // An interval in which nothing ended has no latencies.
    let counted =
        intervals.iter().filter_map(|sample| sample["total_latency"]["count"].as_f64()).sum::<f64>();
    assert_eq!(counted, number(runs[0], "total_latency.count"));
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("Tag=response_time") && text.contains("StartTime"), "{text}");
}

#[test]
fn precondition_and_settling_stay_outside_the_measurement() {
    let folder = folder();
    let path = folder.path().join("x");
    let started = Instant::now();
    let arguments = ["--total", "1MiB", "--repeat", "2", "--settle", "200ms", "--precondition", "16MiB"];
    let ran = run(&[&["write", text(&path)][..], &arguments].concat());
    ran.succeeds();
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(ran.summary()["bytes"], 2 << 20);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_file_without_a_name_is_measured_with_unrelated_data_on_its_own_file_system() {
    let folder = folder();
    let file = tempfile::tempfile_in(folder.path()).unwrap();
    file.set_len(1 << 20).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let arguments = ["--device", &path, "--overwrite", "--keep", "--total", "1MiB", "--precondition", "1MiB"];
    let ran = run(&[&["write", &path][..], &arguments].concat());
    ran.succeeds();
    assert_eq!(ran.summary()["bytes"], 1 << 20);
    assert_eq!(file.metadata().unwrap().len(), 1 << 20);
}

#[test]
fn a_warm_up_lasts_as_long_as_it_was_asked_to_and_leaves_nothing_in_the_figures() {
    let folder = folder();
    let path = folder.path().join("x");
    let started = Instant::now();
    let ran = run(&["write", text(&path), "--total", "1MiB", "--warmup", "400ms", "--verify"]);
    ran.succeeds();
    assert!(started.elapsed() >= Duration::from_millis(400), "more than one pass over a small region");
    assert_eq!((&ran.summary()["bytes"], &ran.summary()["operations"]), (&(1 << 20).into(), &8.into()));
}

#[test]
fn reading_needs_a_file_or_the_wish_to_create_one() {
    let folder = folder();
    let path = folder.path().join("x");
    run(&["read", text(&path)]).fails(2, "--create");
    let ran = run(&["read", text(&path), "--create", "--total", "1MiB", "--verify"]);
    ran.succeeds();
    assert_eq!(ran.summary()["verification"]["bytes"], 1 << 20);
    assert!(!path.exists());

    fs::write(&path, vec![0; 100_000]).unwrap();
    let ran = run(&["read", text(&path), "--block-size", "4KiB"]);
    ran.succeeds();
    assert!(number(ran.summary(), "bytes") >= 98_304.0, "all of a smaller file");
    run(&["read", text(&path), "--total", "1MiB"]).fails(2, "fewer than --total");
    run(&["read", text(&path), "--total", "1MiB", "--span", "64KiB"]).succeeds();
    assert_eq!(fs::metadata(&path).unwrap().len(), 100_000);
}

#[test]
fn a_sparse_file_of_5_tb_is_no_problem() {
    let folder = folder();
    let path = folder.path().join("x");
    if fs::File::create(&path).unwrap().set_len(5_000_000_000_256).is_err() {
        return support::skip("this machine has no file system here that takes files of 5 TB");
    }
    let arguments = ["--order", "random", "--span", "4TiB", "--total", "1MiB", "--block-size", "4KiB"];
    let ran = run(&[&["read", text(&path), "--allow-holes"][..], &arguments].concat());
    ran.succeeds();
    assert_eq!(number(ran.summary(), "holes_bytes"), (4_u64 << 40) as f64);
    run(&["read", text(&path), "--offset", "4TiB", "--total", "1MiB"]).fails(4, "1048576 are holes");
    assert!(fs::metadata(&path).unwrap().blocks() < 1000);
}

#[test]
fn wrong_paths_and_sizes_are_errors_before_anything_starts() {
    let folder = folder();
    let path = folder.path().join("x");
    let missing = folder.path().join("missing/x");
    run(&["write", text(&missing)]).fails(2, "missing");
    run(&["write", text(folder.path())]).fails(2, "a folder");
    run(&["write", text(&folder.path().join("new/"))]).fails(2, "a folder");
    std::os::unix::fs::symlink(&missing, folder.path().join("dangling")).unwrap();
    run(&["write", text(&folder.path().join("dangling"))]).fails(2, "a link to nothing");
    for (name, next) in [("one", "other"), ("other", "one")] {
        std::os::unix::fs::symlink(next, folder.path().join(name)).unwrap();
    }
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    let circle = format!("({} → {} → {})", one.display(), other.display(), one.display());
    run(&["write", text(&one)]).fails(2, "leads in a circle").fails(2, &circle);
    run(&["read", text(&one.join("x"))]).fails(2, &circle);
    run(&["write", text(&path), "--total", "1MiB", "--hlog", text(&path)]).fails(2, "is what is measured");
    let (precious, link) = (folder.path().join("precious"), folder.path().join("link"));
    fs::write(&precious, vec![7; 4096]).unwrap();
    std::os::unix::fs::symlink(&precious, &link).unwrap();
    run(&["read", text(&precious), "--hlog", text(&link)]).fails(2, "is what is measured");
    run(&["read", text(&precious.join("x"))]).fails(2, "through something that is no folder");
    run(&["read", text(&folder.path().join("x".repeat(300)))]).fails(2, "name too long");
    assert_eq!(fs::read(&precious).unwrap(), [7; 4096]);
    run(&["write", text(&path), "--total", "1MiB", "--submission-poll=9999"]).fails(3, "CPU 9999");
    run(&["write", "/dev/null"]).fails(2, "a character device, neither a file nor a block device");
    run(&["write", "/dev/null", "--engine", "nvme"]).fails(3, "not an NVMe generic device");
    run(&["write", "/dev/does-not-exist"]).fails(3, "there is no device");
    run(&["write", text(&path), "--block-size", "1000B"]).fails(2, "multiple of 512");
    run(&["write", text(&path), "--total", "1MiB", "--hlog", text(&missing)]).fails(1, "missing");
    assert!(!path.exists());
}

#[test]
fn io_poll_without_poll_queues_is_an_error() {
    let folder = folder();
    let path = folder.path().join("x");
    let ran = run(&["write", text(&path), "--total", "1MiB", "--io-poll"]);
    if ran.code != 0 {
        ran.fails(3, "poll queues");
    }
}

#[test]
fn a_dry_run_touches_nothing() {
    let folder = folder();
    let path = folder.path().join("x");
    let ran = run(&["write", text(&path), "--dry-run", "--keep"]);
    ran.succeeds();
    assert_eq!(ran.records.len(), 1);
    assert!(!path.exists());
}

#[test]
fn a_controller_starts_and_stops_it() {
    let folder = folder();
    let path = folder.path().join("x");
    let arguments = ["write", text(&path), "--duration", "60s", "--span", "1MiB", "--json", "--controlled"];
    let mut child = diskprobe(&arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    input.write_all(b"go\n").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let stopped = Instant::now();
    drop(input);
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(stopped.elapsed() < Duration::from_secs(5));
    let last = output.lines().last().unwrap();
    assert!(last.contains("\"summary\"") && last.contains("stopped before its end"), "{last}");
    assert!(!path.exists());
}

#[test]
fn a_controller_that_leaves_before_go_gets_a_summary_of_nothing() {
    let folder = folder();
    let path = folder.path().join("x");
    let output =
        diskprobe(&["write", text(&path), "--json", "--controlled"]).stdin(Stdio::null()).output().unwrap();
    let ran = support::Ran::of(&output);
    ran.succeeds();
    assert_eq!(ran.summary()["runs"], 0);
    assert_eq!(ran.summary()["bytes"], 0);
}

#[test]
fn a_steady_state_ends_the_repetition_or_is_missed() {
    let folder = folder();
    let path = folder.path().join("x");
    // A rate makes every round alike.
    let arguments = ["--total", "400KiB", "--block-size", "4KiB", "--rate", "2000/s", "--steady-state"];
    let ran = run(&[&["write", text(&path)][..], &arguments].concat());
    let state = &ran.summary()["steady_state"];
    if ran.code == 0 {
        assert_eq!(state["reached"], true);
        assert!(number(state, "rounds") >= 5.0);
    }
    let ran = run(&["write", text(&path), "--total", "400KiB", "--steady-state", "--repeat", "2"]);
    ran.fails(4, "no steady state within 2 rounds");
}
