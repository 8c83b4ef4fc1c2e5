//! One slice of each of cpuload's kernels of pure computation and of system calls.

use cpuload::kernel::Kernel;
use criterion::{Criterion, Throughput};

pub fn benchmarks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kernels");
    let kernels = [
        Kernel::Sqrt,
        Kernel::Int,
        Kernel::Float,
        Kernel::Matrix,
        Kernel::Memory { working_set_bytes: 64 << 20 },
        Kernel::Cache { working_set_bytes: 64 << 20 },
        Kernel::Branch,
        Kernel::Syscall,
        Kernel::Switch,
    ];
    for kernel in kernels {
        let mut work = kernel.build().expect("the kernel is built");
        let operations = work.slice();
        group.throughput(Throughput::Elements(operations));
        group.bench_function(kernel.to_string(), |bencher| bencher.iter(|| work.run(operations)));
    }
    group.finish();
}
