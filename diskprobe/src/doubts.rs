//! What is known about a target before the first run and makes its result mean something else than it seems to.

use crate::{
    config::{Config, EngineKind, Mode},
    direct,
    target::Target,
    workload::Workload,
};

/// Remarks for the summary.
#[derive(Debug, Default)]
pub struct Doubts {
    /// Worth knowing.
    pub notes: Vec<String>,
    /// Reasons not to trust the result.
    pub warnings: Vec<String>,
    /// Bytes of what a run reads that come without the disk; `None` where nobody tells.
    pub holes_bytes: Option<u64>,
}

impl Doubts {
    /// Looks at the opened target. Changes nothing.
    #[must_use]
    pub fn about(config: &Config, workload: &Workload, target: &Target, file_system: Option<&str>) -> Self {
        let mut doubts = Self::default();
        match &config.mode {
            Mode::Read(read) => doubts.look_for_holes(config, workload, target, read.allow_holes),
            Mode::Write(_) if config.direct && direct::has_checksums(target.file(), file_system) => {
                doubts.notes.push(
                    "btrfs keeps checksums of this file: many kernels (from 6.14 on, and older ones that were corrected) write it through the page cache despite O_DIRECT; chattr +C on an empty file or its folder avoids that".into(),
                );
            }
            Mode::Write(_) => {}
        }
        doubts
    }

    fn look_for_holes(&mut self, config: &Config, workload: &Workload, target: &Target, allowed: bool) {
        if matches!(config.engine, EngineKind::Nvme(_)) {
            return;
        }
        let path = config.path.display();
        let extents = match target.extents(&workload.parts(config)) {
            Ok(Some(extents)) => extents,
            Ok(None) => return,
            Err(error) => {
                return self.notes.push(format!("whether {path} has holes can't be told: {error}"));
            }
        };
        self.holes_bytes = Some(extents.unread());
        if extents.unread() == 0 {
            return;
        }
        let all = extents.data + extents.unread();
        let text = format!(
            "of the {all} bytes that a run reads of {path} {} are holes and {} are reserved but were never written: these come as zeros without the disk",
            extents.holes, extents.unwritten
        );
        if allowed {
            self.notes.push(text);
        } else {
            self.warnings.push(format!("{text}; write them first, or pass --allow-holes"));
        }
    }
}
