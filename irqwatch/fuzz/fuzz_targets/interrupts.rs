//! Any two texts: each is read or reported line by line, and what grew between them is never more than
//! what was counted, nor more than a counter can wrap by.
#![no_main]

use irqwatch::class::Class;
use libfuzzer_sys::fuzz_target;
use meter::interrupts::{Differ, Table};

fuzz_target!(|texts: (&str, &str)| {
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
