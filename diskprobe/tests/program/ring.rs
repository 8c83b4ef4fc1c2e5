//! The ring against pread and pwrite: the same random operations must leave the same bytes.

use std::{fs::File, os::unix::fs::FileExt};

use diskprobe::{
    engine::{Completion, Engine, Operation, Request, Slot},
    ring::{ReadWrite, Ring},
    setup::RingOptions,
    sync::Sync,
};
use meter::random::Random;

use crate::support::folder;

const BLOCK: u32 = 16_384;
const SIZE: u64 = 4 << 20;
const OPERATIONS: u32 = 4_000;

fn new_file(folder: &tempfile::TempDir) -> File {
    let path = folder.path().join("ring");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(SIZE).unwrap();
    file
}

/// Random reads and writes of random length and place, as many in flight as there are slots but never two
/// on the same bytes; what is read must be what pwrite left in the model.
fn exercise(mut engine: impl Engine, file: &File, seed: u64) {
    let mut random = Random::new(seed);
    let mut model = vec![0; SIZE as usize];
    let mut busy: Vec<Option<Request>> = vec![None; usize::from(engine.slots())];
    let mut free: Vec<usize> = (0..busy.len()).collect();
    let mut completions = Vec::<Completion>::new();
    let mut started = 0;
    while started < OPERATIONS || free.len() < busy.len() {
        while started < OPERATIONS && !free.is_empty() {
            let request = Request {
                operation: if random.below(2) == 0 { Operation::Write } else { Operation::Read },
                offset: random.below(SIZE / 512 - u64::from(BLOCK) / 512) * 512,
                length: (random.below(u64::from(BLOCK) / 512) as u32 + 1) * 512,
            };
            let overlaps = |other: &Request| {
                request.offset < other.offset + u64::from(other.length)
                    && other.offset < request.offset + u64::from(request.length)
            };
            if busy.iter().flatten().any(overlaps) {
                break;
            }
            let index = free.pop().unwrap();
            let slot = slot(index);
            if request.operation == Operation::Write {
                let block = &mut engine.block_mut(slot)[..request.length as usize];
                block.iter_mut().for_each(|byte| *byte = random.next_u64() as u8);
                let range = request.offset as usize..request.offset as usize + block.len();
                model[range].copy_from_slice(block);
            }
            engine.queue(slot, request);
            busy[index] = Some(request);
            started += 1;
        }
        engine.submit().unwrap();
        engine.wait(1, None).unwrap();
        engine.reap(&mut completions);
        for completion in completions.drain(..) {
            let request = completion.request;
            assert_eq!((completion.bytes, completion.fault), (request.length, None));
            let index = busy.iter().position(|busy| *busy == Some(request)).unwrap();
            if request.operation == Operation::Read {
                let from = request.offset as usize;
                let wanted = &model[from..from + request.length as usize];
                assert!(&engine.block(completion.slot)[..wanted.len()] == wanted, "{request:?}");
            }
            busy[index] = None;
            free.push(index);
        }
    }
    drop(engine);
    let mut content = vec![0; SIZE as usize];
    file.read_exact_at(&mut content, 0).unwrap();
    assert!(content == model, "the file differs from the model");
}

fn slot(index: usize) -> Slot {
    Slot::new(u16::try_from(index).unwrap())
}

#[test]
fn thousands_of_operations_give_the_same_bytes_as_pwrite() {
    let folder = folder();
    for seed in 0..3 {
        let file = new_file(&folder);
        let Ok(ring) = Ring::new(&file, ReadWrite, 1 << (seed * 2), BLOCK, &RingOptions::default()) else {
            return crate::support::skip("this kernel has no io_uring");
        };
        exercise(ring, &file, seed);
    }
    let file = new_file(&folder);
    exercise(Sync::new(&file, BLOCK).unwrap(), &file, 9);
}

#[test]
#[should_panic(expected = "is in flight")]
fn the_block_of_an_operation_in_flight_can_not_be_borrowed() {
    let folder = folder();
    let file = new_file(&folder);
    let mut ring = Ring::new(&file, ReadWrite, 2, BLOCK, &RingOptions::default()).unwrap();
    ring.queue(slot(0), Request { operation: Operation::Read, offset: 0, length: BLOCK });
    ring.block(slot(0));
}

#[test]
fn a_look_without_waiting_finds_what_has_ended() {
    let folder = folder();
    let file = new_file(&folder);
    let mut ring = Ring::new(&file, ReadWrite, 1, BLOCK, &RingOptions::default()).unwrap();
    ring.queue(slot(0), Request { operation: Operation::Read, offset: 0, length: BLOCK });
    ring.submit().unwrap();
    let mut completions = Vec::new();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while completions.is_empty() && std::time::Instant::now() < end {
        ring.wait(0, None).unwrap();
        ring.reap(&mut completions);
    }
    assert_eq!(completions.len(), 1);
}

#[test]
fn an_operation_behind_the_end_says_so() {
    let folder = folder();
    let file = new_file(&folder);
    let mut ring = Ring::new(&file, ReadWrite, 1, BLOCK, &RingOptions::default()).unwrap();
    ring.queue(slot(0), Request { operation: Operation::Read, offset: SIZE - 512, length: BLOCK });
    let mut completions = Vec::new();
    while completions.is_empty() {
        ring.submit().unwrap();
        ring.wait(1, None).unwrap();
        ring.reap(&mut completions);
    }
    assert_eq!((completions[0].bytes, completions[0].short_transfers), (512, 1));
    assert_eq!(completions[0].fault, Some(diskprobe::engine::Fault::EndOfTarget));
}
