//! `switch`: context switches. Two threads of the same CPU hand a byte to and fro through two pipes,
//! so that each waits for the other. One operation is there and back: two switches, four system calls.
//!
//! The second thread inherits CPU and policy; its CPU time counts as the worker's.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    sync::mpsc,
    thread,
};

use meter::{Error, Result};

use super::Work;
use crate::sys;

/// Some 30 µs.
const SLICE: u64 = 8;

pub(super) struct Switch {
    there: Option<PipeWriter>,
    back: PipeReader,
    partner: Option<thread::JoinHandle<()>>,
    partner_clock: libc::clockid_t,
}

impl Switch {
    pub(super) fn new() -> Result<Self> {
        let failed = |error| Error::system("make a pipe for context switches", error);
        let (mut here, there) = io::pipe().map_err(failed)?;
        let (back, mut again) = io::pipe().map_err(failed)?;
        let (tell_clock, clock) = mpsc::channel();
        let partner = thread::Builder::new()
            .name("switch".into())
            .stack_size(64 << 10)
            .spawn(move || {
                // Whoever listens waits for this and nothing else.
                let _: std::result::Result<(), _> = tell_clock.send(sys::own_cpu_clock());
                let mut byte = [0];
                // Ends when the worker drops its end.
                while here.read_exact(&mut byte).and_then(|()| again.write_all(&byte)).is_ok() {}
            })
            .map_err(|error| Error::system("start the second thread for context switches", error))?;
        let partner_clock =
            clock.recv().map_err(|_| Error::failed("the second thread for context switches is gone"))?;
        Ok(Self { there: Some(there), back, partner: Some(partner), partner_clock })
    }
}

impl Work for Switch {
    fn slice(&self) -> u64 {
        SLICE
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        let Some(there) = &mut self.there else { return Ok(()) };
        let mut byte = [1];
        for _ in 0..operations {
            there
                .write_all(&byte)
                .and_then(|()| self.back.read_exact(&mut byte))
                .map_err(|error| Error::system("hand a byte to the second thread and back", error))?;
        }
        Ok(())
    }

    fn helper_clock(&self) -> Option<libc::clockid_t> {
        Some(self.partner_clock)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.there = None;
        if let Some(partner) = self.partner.take() {
            // It ends by itself; a panic of it would be a defect that its message has told already.
            let _: thread::Result<()> = partner.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_switches_twice() {
        // On one CPU the switches can't be avoided by running both threads at once.
        let cpu = meter::sys::sched_getaffinity().unwrap()[0];
        thread::spawn(move || {
            meter::sys::sched_setaffinity(&[cpu]).unwrap();
            let mut switch = Switch::new().unwrap();
            // Whether it waits or is preempted by the thread that it wakes is the scheduler's choice.
            let switches = || {
                let usage = meter::sys::getrusage(libc::RUSAGE_THREAD);
                usage.ru_nvcsw + usage.ru_nivcsw
            };
            let before = switches();
            switch.run(500).unwrap();
            assert!(switches() - before >= 500, "{} of this thread alone", switches() - before);
        })
        .join()
        .unwrap();
    }
}
