//! Lines of a journal for tests.

use std::collections::BTreeMap;

use serde_json::Value;

use plan::Cell;

use crate::{
    journal::{Header, SCHEMA_VERSION, Trial},
    outcome::Outcome,
};

/// A header of one cell.
pub fn header() -> Header {
    Header {
        schema: SCHEMA_VERSION,
        version: "0".into(),
        plan_sha256: String::new(),
        seed: 1,
        started_wall_ns: 0,
        boot_id: None,
        platform: "test".into(),
        host: Value::Null,
        domain_cpus: BTreeMap::new(),
        notes: Vec::new(),
        tools_sha256: BTreeMap::new(),
        cells: vec![Cell::new("disk", "native", "none")],
        trials: 1,
    }
}

/// A trial of that cell that timed out, the repetition of its number.
pub fn trial(sequence: u64) -> Trial {
    Trial {
        sequence,
        cell: Cell::new("disk", "native", "none"),
        repetition: sequence as u32,
        attempt: 0,
        outcome: Outcome::TimedOut,
        stage: Some("probe".into()),
        reason: None,
        started_wall_ns: 5,
        wall_s: 0.25,
        probe_s: 0.125,
        stages_s: BTreeMap::from([("attach".to_owned(), 0.0625)]),
        looked_at_s: Vec::new(),
        metrics: BTreeMap::from([("elapsed".to_owned(), 0.1)]),
        interrupt_sources: Vec::new(),
        proofs: Vec::new(),
        observed: BTreeMap::new(),
        summary: None,
    }
}
