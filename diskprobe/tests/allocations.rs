//! The measuring loop allocates nothing.
#![allow(unsafe_code)] // A global allocator that counts.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs::File,
};

use diskprobe::{
    blocks::{Blocks, Region},
    data::{Data, Filler},
    engine::{Engine, Operation},
    recording,
    ring::{ReadWrite, Ring},
    setup::RingOptions,
    sync::Sync,
    work::{Check, CommonBegin, Work},
    worker::Worker,
};
use meter::{control::Stop, pacer::Schedule, wait::Waiter};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes on to the system's allocator unchanged; only a thread's own counter is touched.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's layout, as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const REGION: Region = Region { offset: 0, length: 4 << 20 };
const BLOCK: u32 = 4096;

/// What one pass over the region allocates.
fn allocations(engine: impl Engine, operation: Operation, rate: Option<u64>) -> u64 {
    let filler = Filler { data: Data::Random, seed: 3, verifiable: true };
    let mut worker = Worker::new(engine, filler, Waiter { margin_ns: 0 }, Stop::new());
    let (mut recorders, _collector) = recording::recorders(1, rate.is_some(), Some(1_000_000));
    let recorder = &mut recorders[0];
    let mut work = Work {
        operation,
        blocks: Blocks::random(REGION, BLOCK, REGION.length, 1),
        begin: CommonBegin::default(),
        duration_ns: u64::MAX,
        schedule: rate.map(|rate| Schedule::fixed(rate, 1_000_000_000)),
        lead_ns: 0,
        batch: None,
        check: (operation == Operation::Read).then_some(Check { seed: 3 }),
    };
    let before = ALLOCATIONS.get();
    let tally = worker.perform(&mut work, recorder).unwrap();
    let allocated = ALLOCATIONS.get() - before;
    assert_eq!((tally.bytes, tally.wrong_sectors, tally.failure), (REGION.length, 0, None));
    allocated
}

#[test]
fn the_measuring_loop_allocates_nothing() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = File::options().read(true).write(true).create_new(true).open(folder.path().join("x")).unwrap();
    for rate in [None, Some(50_000)] {
        for operation in [Operation::Write, Operation::Read] {
            assert_eq!(
                allocations(Sync::new(&file, BLOCK).unwrap(), operation, rate),
                0,
                "sync {operation:?}"
            );
            match Ring::new(&file, ReadWrite, 16, BLOCK, &RingOptions::default()) {
                Ok(ring) => assert_eq!(allocations(ring, operation, rate), 0, "ring {operation:?}"),
                Err(error) => eprintln!("skipped: {error}"),
            }
        }
    }
}
