//! An sshd of a test's own on loopback, with throwaway keys.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The server, ended when dropped. Its host is `guest` in its configuration file for clients.
pub struct Server {
    folder: tempfile::TempDir,
    daemon: Child,
}

impl Server {
    /// Starts one; `None`, after saying why, where it can't be.
    pub fn start() -> Option<Self> {
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| Path::new(path).exists());
        let Some(program) = program else {
            eprintln!("skipped: no sshd here; install openssh-server");
            return None;
        };
        // Root's sshd wants the folder that its service makes at boot.
        let _ = fs::create_dir("/run/sshd");
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)])
                .status()
                .unwrap();
            assert!(made.success());
        }
        fs::create_dir(path("cache")).unwrap();
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
            "Host guest\n HostName 127.0.0.1\n Port {port}\n IdentityFile {}\n IdentitiesOnly yes\n \
             UserKnownHostsFile {}\n",
            path("user"),
            path("known_hosts")
        );
        fs::write(path("ssh_config"), client).unwrap();
        let mut command = Command::new(program);
        command.args(["-D", "-e", "-f", &path("sshd_config")]).stderr(Stdio::null());
        let mut server = Self { daemon: command.spawn().unwrap(), folder };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline && server.daemon.try_wait().unwrap().is_none(), "no sshd");
            thread::sleep(Duration::from_millis(10));
        }
        Some(server)
    }

    /// The configuration file by which `ssh` reaches it.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("ssh_config")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
