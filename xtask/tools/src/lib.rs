//! The tools' binaries: static, stripped, built for guests.

mod binary;
pub mod interface;

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
pub use binary::Binary;
use sha2::{Digest, Sha256};

/// The tools that plans can name.
pub const NAMES: [&str; 5] = ["cpuload", "diskprobe", "irqwatch", "netprobe", "udpsend"];

/// Root of the workspace that this program was built from.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}

/// The tools' binaries as they were read from one folder.
pub struct Binaries {
    /// Where they were read. What is there may change; what is started and sent does not.
    pub folder: PathBuf,
    /// By name.
    tools: BTreeMap<String, Binary>,
}

impl Binaries {
    /// The binaries that are in `folder` now.
    ///
    /// # Errors
    /// Names the first that is missing.
    pub fn find(folder: &Path) -> Result<Self> {
        Self::find_some(folder, &NAMES)
    }

    /// Those of the binaries in `folder` that have these names.
    ///
    /// # Errors
    /// Names the first that is missing.
    pub fn find_some(folder: &Path, names: &[&str]) -> Result<Self> {
        let folder =
            folder.canonicalize().with_context(|| format!("find the tools in {}", folder.display()))?;
        let read = |name: &&str| Ok(((*name).to_owned(), Binary::read(&folder.join(name))?));
        Ok(Self { tools: names.iter().map(read).collect::<Result<_>>()?, folder })
    }

    /// The binary of a tool.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn get(&self, name: &str) -> Result<&Binary> {
        self.tools.get(name).with_context(|| format!("there is no binary of `{name}`"))
    }

    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Binary)> {
        self.tools.iter().map(|(name, binary)| (name.as_str(), binary))
    }

    /// SHA-256 of each, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> BTreeMap<String, String> {
        self.iter().map(|(name, binary)| (name.to_owned(), binary.sha256().to_owned())).collect()
    }
}

/// Builds every tool as one static, stripped binary that runs on any Linux of this architecture.
///
/// `-C target-feature=+crt-static` on the gnu target works wherever Rust is installed. The target is
/// named explicitly, so that procedural macros, which can't be static, are not meant. Without
/// relocations and unwind tables a binary is smaller by a tenth and starts sooner.
pub fn build() -> Result<Binaries> {
    let target = host_target()?;
    let script = workspace().join("xtask/guest.ld");
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Crelocation-model=static".to_owned(),
        "-Clink-arg=-Wl,--no-eh-frame-hdr".to_owned(),
        // Functions marked `#[inline]`, as the hot ones are, keep their own, higher threshold.
        "-Cllvm-args=-inline-threshold=25".to_owned(),
        format!("-Clink-arg=-Wl,-T,{}", script.display()),
    ];
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace())
        .args(["build", "--quiet", "--profile", "guest", "--target", &target])
        .args(NAMES.iter().flat_map(|name| ["--package", name]))
        // Flags of the user's own environment would make other binaries than ours.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let status = command.status().context("run cargo to build the tools")?;
    if !status.success() {
        bail!("building the tools failed ({status}); the compiler's words are above");
    }
    let target_folder =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let target_folder =
        if target_folder.is_relative() { workspace().join(target_folder) } else { target_folder };
    Binaries::find(&target_folder.join(target).join("guest"))
}

/// The target triple of the compiler's own host.
fn host_target() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let target = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(target.context("rustc does not say its host")?.to_owned())
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
