//! Small files of sysfs and /proc, of which any may be hidden or masked.

use std::{fs, path::Path};

/// What the file says, without the line's end; `None` where it can't be read or is empty. A container masks a
/// file by an empty one: that is no value.
#[must_use]
pub fn read_line(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(read_line("/dev/null"), None);
        assert_eq!(read_line("/proc/no such file"), None);
        assert_eq!(read_line("/proc/sys/kernel/ostype").as_deref(), Some("Linux"));
    }
}
