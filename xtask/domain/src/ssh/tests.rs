//! Against a real sshd on loopback, with throwaway keys, as whoever runs the tests.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command},
    sync::Arc,
};

use meter::control::Stop;
use serde_json::json;
use tempfile::TempDir;
use tools::Binaries;

use super::*;
use crate::{after, shell::LocalShell};

/// An sshd of a test's own, ended with it.
struct Server {
    folder: TempDir,
    port: u16,
    daemon: Child,
}

impl Server {
    /// Starts one; `None`, after saying why, where it can't be.
    fn start() -> Option<Self> {
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| Path::new(path).exists());
        let Some(program) = program else {
            eprintln!("skipped: no sshd here; install openssh-server");
            return None;
        };
        // Root's sshd wants the folder that its service makes at boot.
        let _ = fs::create_dir("/run/sshd");
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)])
                .status()
                .unwrap();
            assert!(made.success());
        }
        fs::create_dir(path("cache")).unwrap();
        fs::create_dir(path("tools")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin yes\nSetEnv XDG_CACHE_HOME={}\n",
            path("host"),
            path("user.pub"),
            path("cache")
        );
        fs::write(path("sshd_config"), server).unwrap();
        let host_key = fs::read_to_string(path("host.pub")).unwrap();
        fs::write(path("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        let client = format!(
            "Host guest stranger\n HostName 127.0.0.1\n Port {port}\n IdentityFile {}\n IdentitiesOnly yes\n\
             Host guest\n UserKnownHostsFile {}\nHost stranger\n UserKnownHostsFile /dev/null\n",
            path("user"),
            path("known_hosts")
        );
        fs::write(path("ssh_config"), client).unwrap();
        let mut command = Command::new(program);
        command.args(["-D", "-e", "-f", &path("sshd_config")]).stderr(Stdio::null());
        enter(&mut command, None, &[]);
        let daemon = command.spawn().unwrap();
        let deadline = after(60.0);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "sshd does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self { folder, port, daemon })
    }

    /// The domain behind `host`, with a tool `cpuload` that is this shell script.
    fn domain(&self, host: &str, script: &str) -> SshDomain {
        let tools = self.folder.path().join("tools");
        let tool = tools.join("cpuload");
        fs::write(&tool, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        SshDomain::new(self.target(host), self.context())
    }

    /// A run with the tools that are in this server's folder now.
    fn context(&self) -> RunContext {
        let tools = self.folder.path().join("tools");
        let names: Vec<String> = fs::read_dir(&tools)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let binaries = Arc::new(Binaries::find_some(&tools, &names).unwrap());
        RunContext { binaries, stop: Stop::new() }
    }

    fn target(&self, host: &str) -> Target {
        Target { host: host.into(), config: Some(self.folder.path().join("ssh_config")) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn cpuload(args: &[&str]) -> ToolCommand {
    ToolCommand { tool: "cpuload".into(), args: args.iter().map(|&arg| arg.to_owned()).collect() }
}

#[test]
fn records_come_out_lines_go_in_and_the_exit_code_is_the_tools() {
    let Some(server) = Server::start() else { return };
    let script =
        "read line; printf '{\"record\":\"%s\",\"args\":\"%s\"}\\n' \"$line\" \"$*\"; echo words >&2; exit 3";
    let domain = server.domain("guest", script);
    let mut process = domain.start(&cpuload(&["a b", "it's"])).unwrap();
    process.say("ready").unwrap();
    let expected = json!({"record": "ready", "args": "a b it's --json --controlled"});
    assert_eq!(process.next(after(60.0)), Event::Record(expected));
    let exit = Exit { code: Some(3), stderr: "words".into(), ..Exit::default() };
    assert_eq!(process.next(after(60.0)), Event::Ended(exit));
}

#[test]
fn a_dropped_link_is_an_end_without_code_and_the_next_start_opens_another() {
    let Some(server) = Server::start() else { return };
    let domain = server.domain("guest", "echo '{\"record\":\"ready\"}'; cat >/dev/null");
    let mut process = domain.start(&cpuload(&[])).unwrap();
    assert_eq!(process.next(after(60.0)), Event::Record(json!({"record": "ready"})));
    domain.disconnect();
    let Event::Ended(exit) = process.next(after(60.0)) else { panic!("no end") };
    assert_eq!(exit.code, None, "{exit}");
    assert!(exit.to_string().contains("guest"), "{exit}");
    domain.ensure_alive().unwrap();
    let mut process = domain.start(&cpuload(&[])).unwrap();
    assert_eq!(process.next(after(60.0)), Event::Record(json!({"record": "ready"})));
}

#[test]
fn a_tool_dies_with_its_controller() {
    let Some(server) = Server::start() else { return };
    let domain =
        server.domain("guest", "echo \"{\\\"record\\\":\\\"ready\\\",\\\"pid\\\":$$}\"; cat >/dev/null");
    let mut process = domain.start(&cpuload(&[])).unwrap();
    let Event::Record(record) = process.next(after(60.0)) else { panic!("no record") };
    let id = record["pid"].as_u64().unwrap();
    assert!(Path::new(&format!("/proc/{id}")).exists());
    domain.disconnect();
    let deadline = after(60.0);
    while Path::new(&format!("/proc/{id}")).exists() {
        assert!(Instant::now() < deadline, "the tool lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_tool_behind_a_link_that_went_silent_is_ended_by_the_next_one() {
    let Some(server) = Server::start() else { return };
    // No script: the test of what runs is the path of its program.
    fs::copy("/bin/sleep", server.folder.path().join("tools/sleep")).unwrap();
    let domain = server.domain("guest", "");
    domain.connect().unwrap();
    let path = domain.push("sleep").unwrap();
    // The connection's daemon is gone, the tool never notices: as when packets stop to arrive.
    let mut orphan = Command::new(&path).arg("60").spawn().unwrap();
    let mut unrelated = Command::new("sleep").arg("60").spawn().unwrap();
    domain.state.borrow_mut().link.as_mut().unwrap().break_off();
    domain.ensure_alive().unwrap();
    assert_eq!(orphan.wait().unwrap().code(), None, "ended by a signal");
    assert!(unrelated.try_wait().unwrap().is_none(), "what is not ours lives on");
    unrelated.kill().unwrap();
    unrelated.wait().unwrap();
}

#[test]
fn a_binary_is_pushed_once_and_a_damaged_one_again() {
    let Some(server) = Server::start() else { return };
    let started = || {
        let domain = server.domain("guest", "echo '{\"record\":\"ready\"}'");
        let mut process = domain.start(&cpuload(&[])).unwrap();
        assert_eq!(process.next(after(60.0)), Event::Record(json!({"record": "ready"})));
        let path = domain.push("cpuload").unwrap();
        (path.clone(), fs::metadata(path).unwrap().modified().unwrap())
    };
    let (path, first) = started();
    assert_eq!(started().1, first, "it was there already");
    fs::write(&path, "damaged").unwrap();
    started();
    assert!(fs::read_to_string(&path).unwrap().starts_with("#!/bin/sh"));
}

#[test]
fn a_binary_that_is_exchanged_during_the_run_is_not_started() {
    let Some(server) = Server::start() else { return };
    let domain = server.domain("guest", "echo '{\"record\":\"ready\"}'");
    let mut process = domain.start(&cpuload(&[])).unwrap();
    assert_eq!(process.next(after(60.0)), Event::Record(json!({"record": "ready"})));
    let path = domain.push("cpuload").unwrap();
    // On this machine, where it came from, it may change as it likes.
    fs::write(server.folder.path().join("tools/cpuload"), "#!/bin/sh\necho exchanged\n").unwrap();
    let mut process = domain.start(&cpuload(&[])).unwrap();
    assert_eq!(process.next(after(60.0)), Event::Record(json!({"record": "ready"})));
    fs::write(&path, "#!/bin/sh\necho exchanged\n").unwrap();
    let mut process = domain.start(&cpuload(&[])).unwrap();
    let Event::Ended(exit) = process.next(after(60.0)) else { panic!("it was started") };
    assert_eq!(exit.code, Some(1), "{exit}");
    assert!(exit.stderr.contains("is not the cpuload that was sent there"), "{exit}");
}

#[test]
fn an_unknown_host_key_is_refused_and_a_closed_port_is_named() {
    let Some(server) = Server::start() else { return };
    let error = server.domain("stranger", "true").connect().unwrap_err();
    assert!(error.to_string().contains("Host key verification failed"), "{error:#}");
    let target = server.target("guest");
    let mut server = server;
    let _ = server.daemon.kill();
    let _ = server.daemon.wait();
    let error = SshDomain::new(target, server.context()).connect().unwrap_err();
    assert!(error.to_string().contains("Connection refused"), "{error:#}");
}

/// The bytes that went over this test's connection, both ways, as the kernel counts them (TCP_INFO).
fn bytes_on_the_wire(port: u16) -> Option<[u64; 2]> {
    let text = LocalShell.ask(&format!("ss -tinH 'dport = :{port}'"), ANSWER).unwrap_or_default();
    let count = |key: &str| text.split_whitespace().find_map(|word| word.strip_prefix(key)?.parse().ok());
    let bytes = count("bytes_sent:").zip(count("bytes_received:")).map(|(sent, received)| [sent, received]);
    if bytes.is_none() {
        eprintln!("skipped: `ss` of iproute2 tells no bytes here: {text}");
    }
    bytes
}

/// Reads records until one of that kind.
fn until(process: &mut dyn Process, wanted: &str) -> serde_json::Value {
    loop {
        match process.next(after(60.0)) {
            Event::Record(record) if crate::kind(&record) == wanted => return record,
            Event::Record(_) => {}
            event => panic!("no {wanted}: {event:?}"),
        }
    }
}

#[test]
fn nothing_is_on_the_wire_while_a_probe_measures() {
    let Some(server) = Server::start() else { return };
    let domain = SshDomain::new(
        server.target("guest"),
        RunContext { binaries: Arc::new(tools::build().unwrap()), stop: Stop::new() },
    );
    let mut load =
        domain.start(&cpuload(&["--duty", "5", "--duration", "60s", "--interval", "10ms"])).unwrap();
    until(&mut *load, "ready");
    load.say("go").unwrap();
    until(&mut *load, "sample");
    let Some(before) = bytes_on_the_wire(server.port) else { return };
    std::thread::sleep(Duration::from_millis(200));
    assert_ne!(bytes_on_the_wire(server.port), Some(before), "a load that talks is seen");
    load.say("quiet").unwrap();
    until(&mut *load, "quiet");

    let mut probe =
        domain.start(&cpuload(&["--duty", "5", "--duration", "5s", "--interval", "10ms"])).unwrap();
    until(&mut *probe, "ready");
    probe.say("quiet").unwrap();
    probe.say("go").unwrap();
    // The order itself goes over the wire.
    std::thread::sleep(Duration::from_secs(1));
    let before = bytes_on_the_wire(server.port);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(bytes_on_the_wire(server.port), before, "something was sent while the probe measured");
    let Event::Record(summary) = probe.next(after(60.0)) else { panic!("no summary") };
    assert_eq!(crate::kind(&summary), "summary", "{summary}");
    load.close();
    let Event::Record(summary) = load.next(after(60.0)) else { panic!("no summary") };
    assert!(summary["elapsed_s"].as_f64().unwrap() > 1.0, "all of its run is in the summary: {summary}");
}

#[test]
fn a_hanging_command_ends_at_its_limit() {
    let Some(server) = Server::start() else { return };
    let link = Link::open(server.target("guest")).unwrap();
    let error = link.ask("exec sleep 60", Duration::from_millis(300)).unwrap_err();
    assert!(format!("{error:#}").contains("has not ended"), "{error:#}");
    assert_eq!(link.ask("echo still here", ANSWER).unwrap(), "still here");
}
