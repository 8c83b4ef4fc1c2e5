//! No kernel allocates once it runs, but for the one whose work that is.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use cpuload::kernel::Kernel;

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[allow(unsafe_code)] // An allocator has no safe form.
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn work_does_not_allocate() {
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
    ] {
        let mut work = kernel.build().unwrap();
        let before = ALLOCATIONS.with(Cell::get);
        for _ in 0..50 {
            work.run(work.slice()).unwrap();
        }
        assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "{kernel}");
    }
}
