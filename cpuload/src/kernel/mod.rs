//! What a busy CPU does: each kernel in its own file, with the effect that it has.
//!
//! Every kernel counts in operations of its own and hides its results from the compiler
//! (`black_box`), so that no work can be left out. The tables that it needs are there, and touched,
//! before the first operation.

mod alloc;
mod branch;
mod cache;
mod disk;
mod float;
mod int;
mod matrix;
mod memory;
mod sqrt;
mod switch;
mod sync;
mod syscall;

use std::{fmt, path::PathBuf};

use meter::{Result, units::Bytes};
use serde::Serialize;

/// What to do while busy, with all that it needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Kernel {
    /// Square roots of pseudo-random integers; an operation is one root.
    Sqrt,
    /// Integer arithmetic; an operation is one step of eight chains.
    Int,
    /// Floating-point arithmetic; an operation is one step of eight chains.
    Float,
    /// Products of 32 × 32 matrices; an operation is one product.
    Matrix,
    /// Copies between two buffers; an operation is 4 KiB copied.
    Memory {
        /// Size of both buffers together, in bytes.
        working_set_bytes: u64,
    },
    /// Changes words of a buffer in random order; an operation is one cache line.
    Cache {
        /// Size of the buffer, in bytes.
        working_set_bytes: u64,
    },
    /// Jumps that can't be foreseen; an operation is one jump.
    Branch,
    /// The cheapest system call; an operation is one call.
    Syscall,
    /// Context switches between two threads of one CPU; an operation is there and back, two switches.
    Switch,
    /// Asks the system to write everything to its disks; an operation is one sync(2).
    Sync,
    /// Allocates memory, touches each page and frees it again; an operation is one page.
    Alloc {
        /// Size of each allocation, in bytes.
        working_set_bytes: u64,
    },
    /// Writes a file, removes it, and begins anew; an operation is 1 MiB written.
    Disk {
        /// Folder of the file.
        folder: PathBuf,
        /// Size of each file, in bytes.
        working_set_bytes: u64,
    },
}

/// Work in operations. Made by [`Kernel::build`] on the thread that will do it, everything allocated
/// and faulted in.
pub trait Work {
    /// How many operations to do between two looks at the clock: some microseconds' worth, where
    /// operations are that short.
    fn slice(&self) -> u64;

    /// Does that many operations.
    ///
    /// # Errors
    /// When the system refuses: a full disk, no memory. Kernels of pure computation never fail.
    fn run(&mut self, operations: u64) -> Result<()>;

    /// CPU clock of a second thread that works for this one, for clock_gettime(2).
    fn helper_clock(&self) -> Option<libc::clockid_t> {
        None
    }
}

impl Kernel {
    /// The work itself.
    ///
    /// # Errors
    /// When what it needs can't be had.
    pub fn build(&self) -> Result<Box<dyn Work>> {
        Ok(match self {
            Self::Sqrt => Box::new(sqrt::Sqrt::new()),
            Self::Int => Box::new(int::Int::new()),
            Self::Float => Box::new(float::Float::new()),
            Self::Matrix => Box::new(matrix::Matrix::new()),
            Self::Memory { working_set_bytes } => Box::new(memory::Memory::new(*working_set_bytes)?),
            Self::Cache { working_set_bytes } => Box::new(cache::Cache::new(*working_set_bytes)?),
            Self::Branch => Box::new(branch::Branch::new()),
            Self::Syscall => Box::new(syscall::Syscall),
            Self::Switch => Box::new(switch::Switch::new()?),
            Self::Sync => Box::new(sync::Sync),
            Self::Alloc { working_set_bytes } => Box::new(alloc::Alloc::new(*working_set_bytes)?),
            Self::Disk { folder, working_set_bytes } => {
                Box::new(disk::Disk::new(folder, *working_set_bytes)?)
            }
        })
    }

    /// Memory that each worker keeps, in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        match self {
            Self::Memory { working_set_bytes }
            | Self::Cache { working_set_bytes }
            | Self::Alloc { working_set_bytes } => *working_set_bytes,
            _ => 0,
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |name: &str, bytes: &u64| format!("{name} ({})", Bytes(*bytes));
        f.pad(&match self {
            Self::Sqrt => "sqrt".to_owned(),
            Self::Int => "int".to_owned(),
            Self::Float => "float".to_owned(),
            Self::Matrix => "matrix".to_owned(),
            Self::Memory { working_set_bytes } => with("memory", working_set_bytes),
            Self::Cache { working_set_bytes } => with("cache", working_set_bytes),
            Self::Branch => "branch".to_owned(),
            Self::Syscall => "syscall".to_owned(),
            Self::Switch => "switch".to_owned(),
            Self::Sync => "sync".to_owned(),
            Self::Alloc { working_set_bytes } => with("alloc", working_set_bytes),
            Self::Disk { folder, working_set_bytes } => {
                format!("disk ({} in {})", Bytes(*working_set_bytes), folder.display())
            }
        })
    }
}

/// A buffer of `bytes` bytes, every page of it written to.
///
/// # Errors
/// When the system has not that much.
fn buffer(bytes: u64) -> Result<Vec<u64>> {
    let words = usize::try_from(bytes / 8).unwrap_or(usize::MAX);
    let mut buffer = Vec::new();
    buffer
        .try_reserve_exact(words)
        .map_err(|_| meter::Error::failed(format!("no memory for a working set of {}", Bytes(bytes))))?;
    // Not zero: a page of zeros may be one and the same page.
    buffer.resize(words, 0x0101_0101_0101_0101);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_does_what_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let small = 1 << 20;
        for kernel in [
            Kernel::Sqrt,
            Kernel::Int,
            Kernel::Float,
            Kernel::Matrix,
            Kernel::Memory { working_set_bytes: small },
            Kernel::Cache { working_set_bytes: small },
            Kernel::Branch,
            Kernel::Syscall,
            Kernel::Switch,
            Kernel::Alloc { working_set_bytes: small },
            Kernel::Disk { folder: folder.path().to_owned(), working_set_bytes: 2 << 20 },
        ] {
            let mut work = kernel.build().unwrap();
            assert!(work.slice() > 0);
            for operations in [1, 5, work.slice().min(20)] {
                work.run(operations).unwrap_or_else(|error| panic!("{kernel}: {error}"));
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
    }
}
