//! x
pub fn make(_: &std::path::Path) -> anyhow::Result<()> { Ok(()) }
pub fn terminal(_: &(), _: usize) -> String { String::new() }
