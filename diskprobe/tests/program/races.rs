//! What must never be destroyed: each use of a device that is refused, and what changes between the look
//! at a path and its opening.

use std::{
    fs,
    os::unix::fs::{FileExt, OpenOptionsExt, symlink},
    path::Path,
};

use clap::Parser;
use diskprobe::{Args, inspect, resolve, target::Target};

use crate::{
    places::{FLAG_PARTITIONS, Loop, Mounted, pretend},
    support::{folder, output_of, run, skip, text},
};

const SIZE: u64 = 64 << 20;

/// Looks at `path` as `write --overwrite` does, lets `change` happen, and then opens it: what it says.
#[track_caller]
fn between_look_and_open(path: &str, change: impl FnOnce()) -> String {
    let args = Args::try_parse_from(["diskprobe", "write", path, "--overwrite", "--total", "1MiB"]).unwrap();
    let config = resolve::config(&args).unwrap();
    let seen = inspect::look(&config).unwrap_or_else(|error| panic!("{error}"));
    change();
    match Target::open(&config, &seen) {
        Ok(_) => "opened".into(),
        Err(error) => format!("{} ({})", error.full_text(), error.kind().exit_code()),
    }
}

#[test]
fn a_link_that_is_turned_to_another_device_is_noticed() {
    let (Some(empty), Some(precious)) = (Loop::new(SIZE), Loop::new(SIZE)) else { return };
    let link = empty.folder.path().join("link");
    symlink(&empty.device, &link).unwrap();
    let turn = || {
        fs::remove_file(&link).unwrap();
        symlink(&precious.device, &link).unwrap();
    };
    let said = between_look_and_open(text(&link), turn);
    assert!(said.contains("was replaced meanwhile"), "{said}");
    // Back again, nothing is in the way.
    fs::remove_file(&link).unwrap();
    symlink(&empty.device, &link).unwrap();
    assert_eq!(between_look_and_open(text(&link), || {}), "opened");
}

#[test]
fn a_file_in_whose_place_something_else_was_put_is_noticed() {
    let folder = folder();
    let (path, other) = (folder.path().join("x"), folder.path().join("other"));
    for by_link in [false, true] {
        fs::write(&path, "mine").unwrap();
        fs::write(&other, "precious").unwrap();
        let said = between_look_and_open(text(&path), || {
            fs::remove_file(&path).unwrap();
            if by_link { symlink(&other, &path) } else { fs::rename(&other, &path) }.unwrap();
        });
        assert!(said.contains("was replaced meanwhile"), "{said}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
    }
    let new = folder.path().join("new");
    let said = between_look_and_open(text(&new), || fs::write(&new, "precious").unwrap());
    assert!(said.contains("appeared meanwhile"), "{said}");
    assert_eq!(fs::read(&new).unwrap(), b"precious");
    fs::remove_file(&new).unwrap();
    let said = between_look_and_open(text(&new), || symlink(&other, &new).unwrap());
    assert!(said.contains("appeared meanwhile"), "{said}");
}

#[test]
fn a_file_system_made_after_the_look_is_noticed() {
    let Some(device) = Loop::new(SIZE) else { return };
    let mut made = true;
    let said = between_look_and_open(&device.device, || {
        made = output_of("mkfs.ext4", &["-q", "-F", &device.device]).is_some();
    });
    if !made {
        return skip("mkfs.ext4 is missing");
    }
    assert!(said.contains("ext4 file system") && said.ends_with("(2)"), "{said}");
}

#[test]
fn a_device_mounted_or_claimed_after_the_look_is_noticed() {
    let Some(device) = Loop::new(SIZE) else { return };
    let name = device.device.as_str();
    let mut claim = None;
    let said = between_look_and_open(name, || {
        claim = Some(fs::File::options().read(true).custom_flags(libc::O_EXCL).open(name).unwrap());
    });
    assert!(said.contains("is in use") && said.ends_with("(3)"), "{said}");
    drop(claim);
    let mut mounted = None;
    let said = between_look_and_open(name, || {
        if output_of("mkfs.ext4", &["-q", "-F", name]).is_some() {
            mounted = Mounted::new(device.folder.path(), name, "ext4", "");
        }
    });
    if mounted.is_none() {
        return skip("nothing can be mounted");
    }
    assert!(said.contains("is in use") && said.ends_with("(3)"), "{said}");
}

#[test]
fn a_device_that_is_mounted_where_nobody_sees_it_is_refused() {
    let Some(mut device) = Loop::new(SIZE) else { return };
    let Some(place) = device.mount() else { return };
    fs::write(place.join("precious"), "precious").unwrap();
    // The mount namespace of process 1 does not have that mount; the kernel's claim is everywhere.
    let program = env!("CARGO_BIN_EXE_diskprobe");
    let arguments = ["--mount=/proc/1/ns/mnt", program, "write", &device.device, "--overwrite"];
    let mut outside = std::process::Command::new("nsenter");
    outside.args(arguments).args(["--device", &device.device, "--json"]);
    let Ok(output) = outside.output() else { return skip("nsenter is missing") };
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("nsenter") {
        return skip("another mount namespace can't be entered");
    }
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("is in use"), "{errors}");
    assert_eq!(fs::read(place.join("precious")).unwrap(), b"precious");
}

#[test]
fn a_device_that_is_swap_is_refused_even_when_named_twice() {
    let Some(device) = Loop::new(SIZE) else { return };
    let name = device.device.as_str();
    // Swapping on it would concern the whole machine; the tool reads this table.
    let table = format!("Filename Type Size Used Priority\n{name} partition 65532 0 -2\n");
    if !pretend(device.folder.path(), "/proc/swaps", &table) {
        return;
    }
    for flags in [&["--overwrite"][..], &["--overwrite", "--device", name]] {
        run(&[&["write", name][..], flags].concat()).fails(3, "is swap");
    }
}

#[test]
fn a_device_that_is_held_by_another_is_refused_even_when_named_twice() {
    let Some(device) = Loop::new(SIZE) else { return };
    let name = device.device.strip_prefix("/dev/").unwrap();
    if !pretend(device.folder.path(), &format!("/sys/block/{name}/holders"), "dm-7") {
        return skip("mounting needs root");
    }
    let held = run(&["write", &device.device, "--overwrite", "--device", &device.device]);
    held.fails(3, "is held by dm-7");
}

#[test]
fn partitions_are_named_and_a_mounted_one_protects_its_disk() {
    let Some(device) = Loop::with(SIZE, 512, FLAG_PARTITIONS) else { return };
    let name = device.device.as_str();
    // One entry of a table: type 0x83, from sector 2048 on, 32 MiB long.
    let mut table = [0_u8; 512];
    table[446 + 4] = 0x83;
    table[446 + 8..446 + 12].copy_from_slice(&2048_u32.to_le_bytes());
    table[446 + 12..446 + 16].copy_from_slice(&65_536_u32.to_le_bytes());
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    fs::File::options().write(true).open(name).unwrap().write_all_at(&table, 0).unwrap();
    output_of("blockdev", &["--rereadpt", name]);
    let partition = format!("{name}p1");
    if !Path::new(&partition).exists() {
        return skip("this kernel has no partitions on loop devices");
    }
    let short = partition.strip_prefix("/dev/").unwrap();
    run(&["write", name, "--overwrite"]).fails(2, &format!("the partitions {short}"));
    if output_of("mkfs.ext4", &["-q", "-F", &partition]).is_none() {
        return skip("mkfs.ext4 is missing");
    }
    run(&["write", &partition, "--overwrite"]).fails(2, "ext4");
    let Some(_mounted) = Mounted::new(device.folder.path(), &partition, "ext4", "") else { return };
    run(&["write", name, "--overwrite", "--device", name]).fails(3, "is mounted on");
    run(&["write", &partition, "--overwrite", "--device", &partition]).fails(3, "is mounted on");
}
