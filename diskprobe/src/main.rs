//! `diskprobe`: see the library's documentation.

fn main() -> std::process::ExitCode {
    meter::tool::main::<diskprobe::Args>()
}
