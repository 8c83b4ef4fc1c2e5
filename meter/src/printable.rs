//! Text for a terminal: names of devices, of processes and of what a peer said may hold anything.

use std::borrow::Cow;

/// `text` with every control character but line feeds and tabs as an escape that shows it, such as `\u{1b}`: no
/// name that the kernel or a peer gives can move the cursor or change the terminal.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_control(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_all_else_is_as_it_was() {
        assert_eq!(printable("eth0\x1b[2J\u{9b}31m\r"), "eth0\\u{1b}[2J\\u{9b}31m\\u{d}");
        assert_eq!(printable("µs\tone\ntwo"), "µs\tone\ntwo");
    }
}
