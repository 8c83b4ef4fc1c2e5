//! `irqwatch`: who raised interrupts, where, how many. See the library for what it does.

fn main() -> std::process::ExitCode {
    meter::tool::main::<irqwatch::Args>()
}
