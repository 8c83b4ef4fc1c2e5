//! Any two texts: each is read or reported line by line, and what grew between them is never more than
//! what was counted, nor more than a counter can wrap by.
#![no_main]

use irqwatch::class::Class;
use libfuzzer_sys::fuzz_target;
use meter::interrupts::{Differ, Table};

/// Begins with the tables of real machines that the tests have, where `FUZZ_SEEDS` names a folder for them.
fn plant() {
    let Some(folder) = std::env::var_os("FUZZ_SEEDS") else { return };
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");
    for file in std::fs::read_dir(fixtures).expect("the tests have fixtures").flatten() {
        let text = std::fs::read(file.path()).expect("a fixture can be read");
        std::fs::write(std::path::Path::new(&folder).join(file.file_name()), text)
            .expect("the folder of seeds can be written to");
    }
}

fuzz_target!(init: plant(), |texts: (&str, &str)| {
    let before = Table::parse(texts.0);
    let mut after = before.clone();
    after.update(texts.1);
    assert_eq!(after, Table::parse(texts.1), "memory that was used before makes no difference");
    let lines = texts.1.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(after.rows.len() + after.unread.len() <= lines.max(texts.1.lines().count()));
    Differ::default().each(&before, &after, |row, grown| {
        assert_eq!(grown.len(), row.counts.len());
        for (grown, count) in grown.iter().zip(&row.counts) {
            assert!(grown <= count || *grown < 1 << 28);
        }
        let _: (Class, &str) = (Class::of(row), row.device());
    });
});
