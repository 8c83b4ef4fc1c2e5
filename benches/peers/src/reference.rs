//! Reference programs: the plain code that a comparison names, as a few lines of C each.
//!
//! In C, because that is what the comparison promises ("a plain `sendto` loop in C"): nobody has to
//! trust that a loop of ours was written, or built in xtask's own unoptimised profile, to lose. A C
//! compiler is there wherever Rust links; without one these peers are named as missing.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use super::{comparison::Program, workbench::Workbench};

/// What builds them.
pub const COMPILER: Program = Program { name: "cc", package: "gcc" };

/// A program and its source.
#[derive(Clone, Copy)]
pub struct Reference {
    /// Its name.
    pub name: &'static str,
    source: &'static str,
}

/// `send ADDRESS PORT BYTES SECONDS` in a plain sendto(2) loop; `receive PORT` counts until SIGTERM.
pub const DATAGRAMS: Reference =
    Reference { name: "datagrams", source: include_str!("reference/datagrams.c") };
/// `serve PORT` and `run ADDRESS PORT SECONDS`: one byte there and back with blocking read(2) and write(2).
pub const PING_PONG: Reference =
    Reference { name: "ping_pong", source: include_str!("reference/ping_pong.c") };
/// `INTERFACE PORT BYTES`: the kernel's receive timestamps of all such datagrams, until SIGTERM.
pub const TIMESTAMPS: Reference =
    Reference { name: "timestamps", source: include_str!("reference/timestamps.c") };
/// `SECONDS`: the work of `stress -c 1`, counted.
pub const SQUARE_ROOTS: Reference =
    Reference { name: "square_roots", source: include_str!("reference/square_roots.c") };

impl Reference {
    /// Builds it with `cc -O2`, into the folder that goes in the end.
    pub fn compile(&self, workbench: &Workbench) -> Result<PathBuf> {
        let source = workbench.path(&format!("{}.c", self.name));
        let program = workbench.path(self.name);
        fs::write(&source, self.source)?;
        workbench
            .program(COMPILER.name)
            .args(["-O2", "-Wall", "-o"])
            .args([&program, &source])
            .words("-lm")
            .run()
            .with_context(|| format!("compile the reference program {}", self.name))?;
        Ok(program)
    }
}

#[cfg(test)]
mod tests {
    use meter::control::Stop;

    use super::*;

    #[test]
    fn all_of_them_compile_without_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let workbench = Workbench::new(folder.path(), folder.path().into(), Stop::new()).unwrap();
        for reference in [DATAGRAMS, PING_PONG, TIMESTAMPS, SQUARE_ROOTS] {
            reference.compile(&workbench).unwrap();
        }
    }
}
