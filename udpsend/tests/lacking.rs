//! On a kernel that lacks what was asked for: refused by name, exit code 3, and nothing else in its place. The
//! kernel's part is played by a filter of system calls (seccomp(2)) that gives the error of such a kernel.
#![allow(unsafe_code)] // prctl(2) in the child, between fork and exec.

mod lab;

use std::{io, os::unix::process::CommandExt, process::Command};

use lab::{Finished, Lab, Place, RECEIVER};

/// A system call that fails: its number, which arguments it must have (by index), and the error number.
type Lacks = (libc::c_long, &'static [(u32, u32)], i32);

const IO_URING: Lacks = (libc::SYS_io_uring_setup, &[], libc::ENOSYS);
const FORBIDDEN_IO_URING: Lacks = (libc::SYS_io_uring_setup, &[], libc::EPERM);
const UDP_SEGMENT: Lacks =
    (libc::SYS_setsockopt, &[(1, libc::SOL_UDP as u32), (2, libc::UDP_SEGMENT as u32)], libc::ENOPROTOOPT);
const UDP_GRO: Lacks =
    (libc::SYS_setsockopt, &[(1, libc::SOL_UDP as u32), (2, libc::UDP_GRO as u32)], libc::ENOPROTOOPT);
const AF_PACKET: Lacks = (libc::SYS_socket, &[(0, libc::AF_PACKET as u32)], libc::EPERM);
const AF_XDP: Lacks = (libc::SYS_socket, &[(0, libc::AF_XDP as u32)], libc::EAFNOSUPPORT);

/// The filter in the kernel's classic BPF: each comparison that fails jumps to the last statement.
fn filter((call, arguments, error): Lacks) -> Vec<libc::sock_filter> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let load = |offset: u32| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    // `struct seccomp_data`: the number at 0, the arguments from 16 on, 64 bits each; the low half is enough here.
    let low_half = if cfg!(target_endian = "big") { 4 } else { 0 };
    let mut conditions = vec![(0, call as u32)];
    conditions.extend(arguments.iter().map(|&(index, value)| (16 + 8 * index + low_half, value)));
    let mut program = Vec::new();
    for (number, &(offset, value)) in conditions.iter().enumerate() {
        let jump = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value);
        let behind = 2 * (conditions.len() - number - 1) + 1;
        program.extend([load(offset), libc::sock_filter { jf: behind as u8, ..jump }]);
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error as u32));
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    program
}

/// Lets the command run on a kernel that lacks it.
fn without(command: &mut Command, lacks: Lacks) {
    let mut program = filter(lacks);
    let install = move || {
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: no memory is passed but the filter, which lives through the call; nothing here allocates.
        let results = unsafe {
            [
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter),
            ]
        };
        if results == [0, 0] { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes two system calls and nothing else between fork and exec.
    unsafe { command.pre_exec(install) };
}

/// Runs udpsend at a place whose kernel lacks it; `None`, with the reason told, where no filter can be set.
fn run(place: &Place, lacks: Lacks, args: &str) -> Option<Finished> {
    let mut command = place.command(env!("CARGO_BIN_EXE_udpsend"));
    without(&mut command, lacks);
    match command.args(args.split_whitespace()).arg("--json").output() {
        Ok(output) => Some(Finished::of(output)),
        Err(error) => {
            eprintln!("skipped: this kernel has no filters of system calls: {error}");
            None
        }
    }
}

#[test]
fn what_the_kernel_lacks_is_named_and_nothing_takes_its_place() {
    for (lacks, args, hint) in [
        (IO_URING, "127.0.0.1:9 --method io_uring", "seccomp) of a container or sandbox hides it"),
        (FORBIDDEN_IO_URING, "127.0.0.1:9 --method io_uring", "--method sendmmsg"),
        (UDP_SEGMENT, "127.0.0.1:9 --method gso", "UDP_SEGMENT"),
        (UDP_GRO, "sink --listen 127.0.0.1:0", "--no-gro"),
    ] {
        let Some(refused) = run(&Place::Here, lacks, &format!("{args} --duration 100ms")) else { return };
        assert_eq!(refused.code, Some(3), "{args}: {refused:?}");
        assert!(refused.stderr.contains(hint), "{args}: {}", refused.stderr);
        assert!(!refused.records.iter().any(|record| record["record"] == "summary"), "{args}: {refused:?}");
    }
}

#[test]
fn raw_methods_are_refused_the_same_way() {
    let Some(lab) = Lab::new() else { return };
    for (lacks, method) in [(AF_PACKET, "packet"), (AF_XDP, "xdp")] {
        let args = format!("{RECEIVER}:5010 --method {method} --datagrams 1");
        let Some(refused) = run(&lab.sender, lacks, &args) else { return };
        assert_eq!(refused.code, Some(3), "{method}: {refused:?}");
        assert!(refused.stderr.contains(&format!("AF_{}", method.to_uppercase())), "{}", refused.stderr);
    }
}

#[test]
fn the_choice_of_the_tool_is_one_that_works() {
    let args = "127.0.0.1:9 --method auto --size 64 --datagrams 10 --load 1kpps";
    let Some(sent) = run(&Place::Here, UDP_SEGMENT, args) else { return };
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(sent.records[0]["config"]["method"], "sendmmsg");
    assert!(sent.summary()["notes"].to_string().contains("without UDP_SEGMENT"), "{}", sent.summary());
}
