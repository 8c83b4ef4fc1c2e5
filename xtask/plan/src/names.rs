//! Names: what a plan may call its parts. They become parts of file names, of globs, of words in braces and
//! of keys with dots between them.

/// Most characters of a name.
const LONGEST: usize = 48;

/// What is wrong with a name that may also have the characters in `also`; nothing if it is a good one.
pub(super) fn fault(name: &str, also: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c) || also.contains(c);
    if name.is_empty() {
        return Some("a name has at least one character".into());
    }
    if name.len() > LONGEST {
        return Some(format!("a name has at most {LONGEST} characters, this one has {}", name.len()));
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Some(format!("the name `{}` must begin with a letter or a digit", name.escape_debug()));
    }
    let bad = name.chars().find(|&c| !allowed(c))?;
    let also: String = also.chars().map(|c| format!(", `{c}`")).collect();
    Some(format!(
        "the name `{}` has {bad:?}; names are made of ASCII letters, digits, `-`, `_`{also}",
        name.escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass_and_the_first_bad_character_is_named() {
        for good in ["disk", "net-send", "a", "4k_random", &"x".repeat(LONGEST)] {
            assert_eq!(fault(good, ""), None, "{good}");
        }
        assert_eq!(fault("cpu@dom0+a", "@+"), None);
        for (bad, says) in [
            ("", "at least one"),
            ("di/sk", "has '/'"),
            ("di sk", "has ' '"),
            ("di.sk", "has '.'"),
            ("cpu@a", "has '@'"),
            ("-a", "must begin"),
            ("\u{1b}[2J", "must begin"),
            ("a{b}", "has '{'"),
            ("größe", "has 'ö'"),
        ] {
            assert!(fault(bad, "").unwrap().contains(says), "{bad}: {:?}", fault(bad, ""));
        }
        assert!(fault(&"x".repeat(300), "").unwrap().contains("300"));
    }
}
