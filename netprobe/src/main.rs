//! The `netprobe` program; everything is in the library.

fn main() -> std::process::ExitCode {
    meter::tool::main::<netprobe::Args>()
}
