//! UDP load generator and sink: paced floods of real packets, and what of them arrived.
//!
//! `udpsend HOST:PORT` sends, `udpsend sink` receives. Everything of interest is in the library.

fn main() -> std::process::ExitCode {
    meter::tool::main::<udpsend::Args>()
}
