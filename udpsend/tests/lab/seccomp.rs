//! A kernel that lacks something, played by a filter of system calls (seccomp(2)).
#![allow(unsafe_code)] // prctl(2) in the child, between fork and exec.

use std::{io, os::unix::process::CommandExt, process::Command};

use super::{Finished, Place};

/// A system call that fails.
#[derive(Clone, Copy, Debug)]
pub struct Lacks {
    /// Its number.
    pub call: libc::c_long,
    /// Which arguments it must have, by index.
    pub arguments: &'static [(u32, u32)],
    /// The error number that it gives.
    pub error: i32,
}

/// The filter in the kernel's classic BPF: each comparison that fails jumps to the last statement.
fn filter(&Lacks { call, arguments, error }: &Lacks) -> Vec<libc::sock_filter> {
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
fn without(command: &mut Command, lacks: &Lacks) {
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
pub fn run(place: &Place, lacks: &Lacks, args: &str) -> Option<Finished> {
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
