//! What the tests of the coordinator share.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The tools as guests get them, built once for all tests of a program, in a folder of its own.
pub fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(concat!("dist-", env!("CARGO_CRATE_NAME")));
        let output =
            Command::new(env!("CARGO_BIN_EXE_xtask")).args(["dist", "--out"]).arg(&folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder
    })
}
