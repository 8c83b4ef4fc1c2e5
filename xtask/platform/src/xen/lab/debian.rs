//! Debian's packages as a folder: made once by debootstrap, from where this machine's apt gets its own.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use meter::stderr::print_status;

use domain::shell::{LocalShell, Shell, run};
use lab::folder::Folder;

/// What Domain-0 and the guests are made of.
const PACKAGES: &str = "linux-image-amd64,xen-system-amd64,dropbear-bin,iproute2,kmod,busybox-static";
/// Programs of this machine, and the packages that have them.
const PROGRAMS: [(&str, &str); 9] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("debootstrap", "debootstrap"),
    ("mkfs.ext4", "e2fsprogs"),
    ("xz", "xz-utils"),
    ("gzip", "gzip"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("ip", "iproute2"),
    ("chroot", "coreutils"),
];
/// Longest that a short step may take.
const SHORT: Duration = Duration::from_secs(120);
/// Longest that getting and unpacking the packages may take.
const LONG: Duration = Duration::from_secs(1800);

/// Refuses to begin what this machine can't finish, and says how to mend it.
pub fn check_machine() -> Result<()> {
    let lacking = |(program, _): &&(&str, &str)| {
        let look = format!("PATH=$PATH:/usr/sbin:/sbin; command -v {program}");
        LocalShell.ask(&look, SHORT).is_err()
    };
    let mut packages: Vec<&str> = PROGRAMS.iter().filter(lacking).map(|&(_, package)| package).collect();
    packages.dedup();
    if !packages.is_empty() {
        let packages = packages.join(" ");
        return Err(meter::Error::unavailable(format!(
            "the lab needs programs that are missing: apt-get install --no-install-recommends {packages}"
        ))
        .into());
    }
    let user = fs::metadata("/proc/self").context("look at /proc/self")?.uid();
    if user != 0 || !Path::new("/dev/net/tun").exists() {
        return Err(meter::Error::unavailable(
            "the lab makes images with chroot and wires with /dev/net/tun: run it as root, with the tun module loaded",
        )
        .into());
    }
    Ok(())
}

/// The folder with Debian in it, made if it is not there.
pub fn ensure_root(folder: &Folder) -> Result<PathBuf> {
    let root = folder.path("rootfs");
    if root.exists() {
        return Ok(root);
    }
    let (mirror, suite) = mirror()?;
    print_status(format_args!("lab: Debian {suite} from {mirror}, some minutes"));
    let (part, cache) = (folder.path("rootfs.part"), folder.path("packages"));
    if part.exists() {
        fs::remove_dir_all(&part).context("remove an unfinished rootfs.part")?;
    }
    fs::create_dir_all(&cache)?;
    let mut command = Command::new("debootstrap");
    command
        .arg(format!("--cache-dir={}", cache.display()))
        .args(["--variant=minbase", &format!("--include={PACKAGES}"), &suite])
        .arg(&part)
        .arg(&mirror)
        // The lab makes the initial file systems that it boots itself.
        .env("INITRD", "No");
    let said = run(&mut command, &[], LONG)?;
    fs::write(folder.path("debootstrap.log"), &said.stdout)?;
    if said.code != Some(0) {
        let last = said.stdout_text().lines().last().unwrap_or_default().to_owned();
        bail!("debootstrap: {} {last}; all of it is in {}", said.complaint(), folder.text("debootstrap.log"));
    }
    fs::rename(&part, &root).context("rename rootfs.part")?;
    Ok(root)
}

/// Where apt gets the packages of this machine's own Debian, and which one that is.
fn mirror() -> Result<(String, String)> {
    let script = ". /etc/os-release; [ \"$ID\" = debian ] || { echo \"this is $PRETTY_NAME\" >&2; exit 1; }\n\
                  apt-get indextargets --format '$(SITE) $(CODENAME) $(COMPONENT)' 'Created-By: Packages'";
    let targets =
        LocalShell.ask(script, SHORT).context("the lab is made from Debian's packages, through apt")?;
    let main = targets.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (site, suite, component) = (words.next()?, words.next()?, words.next()?);
        (component == "main" && !suite.contains('-')).then(|| (site.to_owned(), suite.to_owned()))
    });
    main.context("apt knows no Debian mirror; see /etc/apt/sources.list.d")
}

/// What `script` says inside of `root`.
pub fn inside(root: &Path, script: &str) -> Result<String> {
    let mut command = Command::new("chroot");
    command.arg(root).args(["/bin/sh", "-c", script]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let said = run(&mut command, &[], SHORT)?;
    ensure!(said.code == Some(0), "`{script}` in {}: {}", root.display(), said.complaint());
    Ok(said.stdout_text())
}

/// `bytes`, unpacked by one of the compressors.
pub fn unpack(program: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let said = run(Command::new(program).args(["-d", "-c"]), bytes, SHORT)?;
    ensure!(!said.stdout.is_empty(), "{program}: {}", said.complaint());
    Ok(said.stdout)
}

/// The kernel's modules named `wanted` with what they need, in the order of loading: paths below `root`.
pub fn modules(root: &Path, kernel: &str, wanted: &[&str]) -> Result<Vec<String>> {
    let folder = format!("lib/modules/{kernel}");
    let text = fs::read_to_string(root.join(&folder).join("modules.dep")).context("read modules.dep")?;
    let named = |path: &str, name: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        file.split('.').next().unwrap_or(file).replace('-', "_") == name.replace('-', "_")
    };
    let mut paths: Vec<String> = Vec::new();
    for name in wanted {
        // What is built into the kernel is not in the list, and needs no loading.
        let Some((path, needed)) =
            text.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| named(path, name))
        else {
            continue;
        };
        for path in needed.split_whitespace().rev().chain([path]) {
            let path = format!("{folder}/{path}");
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    Ok(paths)
}
