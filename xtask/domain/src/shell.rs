//! Short commands with a deadline: what prepares and watches domains, never what is measured.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use super::local::enter;

/// How long output may take to arrive after its program has ended.
const DRAIN: Duration = Duration::from_secs(2);

/// A place where POSIX shell scripts run.
pub trait Shell {
    /// Runs `script` there, with `input` as its standard input, for at most `limit`.
    ///
    /// # Errors
    /// When the place can't be reached, or the script has not ended in time. A script that fails is
    /// no error here: its exit code tells.
    fn script(&self, script: &str, input: &[u8], limit: Duration) -> Result<Said>;

    /// What `script` writes to standard output, without the last line's end.
    ///
    /// # Errors
    /// As [`Shell::script`]; and when its exit code is not 0, with what it wrote to standard error.
    fn ask(&self, script: &str, limit: Duration) -> Result<String> {
        let said = self.script(script, &[], limit)?;
        match said.code {
            Some(0) => Ok(said.stdout_text()),
            _ => bail!("`{}` failed: {}", first_line(script), said.complaint()),
        }
    }
}

/// What a short command said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Said {
    /// Its standard output as text, without white space at the end.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Why it failed, in its own words where it has any.
    pub fn complaint(&self) -> String {
        match (String::from_utf8_lossy(&self.stderr).trim(), self.code) {
            ("", Some(code)) => format!("exit code {code}"),
            ("", None) => "ended by a signal".to_owned(),
            (words, _) => words.to_owned(),
        }
    }
}

/// This machine.
pub struct LocalShell;

impl Shell for LocalShell {
    fn script(&self, script: &str, input: &[u8], limit: Duration) -> Result<Said> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(&mut command, input, limit)
    }
}

/// Runs `command` for at most `limit`; then it is killed.
///
/// # Errors
/// When it can't be started, or has not ended in time.
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> Result<Said> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    enter(command, None, &[]);
    let mut child = command.spawn().with_context(|| format!("run `{program}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A program that does not read its input says so by its exit code.
        thread::spawn(move || stdin.write_all(&input).and_then(|()| stdin.flush()));
    }
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait().with_context(|| format!("wait for `{program}`"))? {
            Some(status) => break status,
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(3)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(anyhow!("`{program}` has not ended after {:.0} s", limit.as_secs_f64()));
            }
        }
    };
    let text = |reader: Option<Receiver<Vec<u8>>>| {
        reader.and_then(|reader| reader.recv_timeout(DRAIN).ok()).unwrap_or_default()
    };
    Ok(Said { code: status.code(), stdout: text(stdout), stderr: text(stderr) })
}

/// Reads a stream to its end on a thread of its own.
fn collect(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (teller, told) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = teller.send(bytes);
    });
    told
}

/// `word` such that a POSIX shell takes it as one word and changes nothing in it.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The first line of a script, for messages.
fn first_line(script: &str) -> &str {
    script.trim().lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn a_script_gets_its_input_and_its_failure_has_words() {
        let said = LocalShell.script("cat; exit 0", b"hello", LIMIT).unwrap();
        assert_eq!(said.stdout_text(), "hello");
        let error = LocalShell.ask("echo no such guest >&2\nexit 3", LIMIT).unwrap_err();
        assert_eq!(error.to_string(), "`echo no such guest >&2` failed: no such guest");
    }

    #[test]
    fn what_hangs_is_ended() {
        let began = Instant::now();
        let error = LocalShell.ask("exec sleep 60", Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("has not ended"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_quoted_word_reaches_the_program_unchanged(word in "[^\0]{0,20}") {
            let script = format!("printf %s {}", quote(&word));
            let said = LocalShell.script(&script, &[], LIMIT).unwrap();
            prop_assert_eq!(String::from_utf8(said.stdout).unwrap(), word);
        }
    }
}
