//! `cpuload`: CPU load of an exact size. See the library for what it does.

fn main() -> std::process::ExitCode {
    meter::tool::main::<cpuload::Args>()
}
