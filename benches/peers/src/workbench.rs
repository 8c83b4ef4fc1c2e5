//! Where comparisons work: binaries, a folder of their own, two CPUs, and the wish to stop.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use meter::{control::Stop, cpulist::CpuList};

use super::{process::Job, reference::Reference};

/// This machine lacks what a comparison needs: it is skipped with this reason, which is not a failure.
#[derive(Debug)]
pub struct Lacking(pub String);

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lacking {}

/// What all comparisons share. Its folder and everything in it go when it is dropped.
pub struct Workbench {
    binaries: PathBuf,
    folder: PathBuf,
    stop: Stop,
    /// CPU of whoever works alone, and of the sending end.
    pub near_cpu: usize,
    /// CPU of the receiving end.
    pub far_cpu: usize,
    jobs: Cell<u32>,
    disk_file: OnceCell<PathBuf>,
    benchmarks: OnceCell<PathBuf>,
    references: RefCell<BTreeMap<&'static str, PathBuf>>,
}

impl Workbench {
    /// A workbench with a new folder inside `folder`, for tools in `binaries`.
    pub fn new(folder: &Path, binaries: PathBuf, stop: Stop) -> Result<Self> {
        let allowed = CpuList::allowed()?;
        let (Some(&near_cpu), Some(&far_cpu)) = (allowed.cpus().first(), allowed.cpus().last()) else {
            bail!("this process may run on no CPU");
        };
        let folder = folder.join(format!("peers-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self {
            binaries,
            folder: folder.canonicalize()?,
            stop,
            near_cpu,
            far_cpu,
            jobs: Cell::new(0),
            disk_file: OnceCell::new(),
            benchmarks: OnceCell::new(),
            references: RefCell::default(),
        })
    }

    /// A path in the folder that goes in the end.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where one of our tools is.
    pub fn binary(&self, tool: &str) -> PathBuf {
        self.binaries.join(tool)
    }

    /// One of our tools, writing records, on the near CPU; `verb` is its subcommand, if it needs one.
    pub fn tool(&self, tool: &str, verb: &str) -> Job {
        self.job(self.binary(tool)).words(verb).words("--json")
    }

    /// A program of others, on the near CPU.
    pub fn program(&self, name: &str) -> Job {
        self.job(name.into())
    }

    /// A reference program of ours, built at its first use, on the near CPU.
    pub fn reference(&self, reference: Reference) -> Result<Job> {
        let known = self.references.borrow().get(reference.name).cloned();
        let path = match known {
            Some(path) => path,
            None => {
                let path = reference.compile(self)?;
                self.references.borrow_mut().insert(reference.name, path.clone());
                path
            }
        };
        Ok(self.job(path))
    }

    fn job(&self, program: PathBuf) -> Job {
        self.jobs.set(self.jobs.get() + 1);
        Job::new(program, self.path(&format!("job-{}", self.jobs.get())), self.stop.clone())
            .on_cpus(&[self.near_cpu])
    }

    /// The file that disk comparisons read and overwrite, made by `create` at its first use.
    pub fn disk_file(&self, create: impl FnOnce(&Path) -> Result<()>) -> Result<&Path> {
        if let Some(path) = self.disk_file.get() {
            return Ok(path);
        }
        let path = self.path("disk.img");
        create(&path)?;
        Ok(self.disk_file.get_or_init(|| path))
    }

    /// The program of the benchmarks, built by `build` at its first use.
    pub fn benchmarks(&self, build: impl FnOnce() -> Result<PathBuf>) -> Result<&Path> {
        if let Some(path) = self.benchmarks.get() {
            return Ok(path);
        }
        let path = build()?;
        Ok(self.benchmarks.get_or_init(|| path))
    }

    /// Sleeps.
    pub fn rest(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while !self.stop.is_raised() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(Duration::from_millis(50)));
        }
        bail!("interrupted")
    }
}

impl Drop for Workbench {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("warning: {} can't be removed: {error}", self.folder.display());
        }
    }
}
