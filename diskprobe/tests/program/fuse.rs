//! A file system of one file that fails as told: a FUSE server that speaks to /dev/fuse itself
//! (linux/fuse.h), in the test's own process and mount namespace.

use std::{
    fs,
    io::{self, Read, Write},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use crate::{
    places::Mounted,
    support::{folder, is_root, skip},
};

/// How the file misbehaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Transfers that touch this byte fail with that error number.
    pub fail: Option<(u64, i32)>,
    /// Transfers of more bytes than this are cut to as many.
    pub longest: Option<u32>,
    /// How long every transfer takes.
    pub transfer: Duration,
    /// How long making data durable takes.
    pub sync: Duration,
}

/// What test and server share.
#[derive(Debug, Default)]
pub struct Told {
    /// Size of the file.
    pub size: AtomicU64,
    /// Bytes of writes that were confirmed.
    pub written: AtomicU64,
    /// Bytes of reads that were answered.
    pub read: AtomicU64,
    /// Requests to make data durable that have begun.
    pub syncs: AtomicU64,
    content: Mutex<Vec<u8>>,
}

/// The mounted file system; it goes with this value, or with the process.
pub struct FaultyFile {
    // The mount goes first, which ends the server.
    mounted: Mounted,
    pub told: Arc<Told>,
    _folder: tempfile::TempDir,
}

impl FaultyFile {
    /// A file of `size` zeros; `None`, with the reason told, where there is no FUSE.
    pub fn new(size: u64, faults: Faults) -> Option<Self> {
        if !is_root() {
            skip("mounting needs root");
            return None;
        }
        let Ok(connection) = fs::File::options().read(true).write(true).open("/dev/fuse") else {
            skip("this kernel has no FUSE");
            return None;
        };
        let folder = folder();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", connection.as_raw_fd());
        let mounted = Mounted::new(folder.path(), "faulty", "fuse", &options)?;
        let told =
            Arc::new(Told { size: size.into(), content: vec![0; size as usize].into(), ..Told::default() });
        let server = Server { faults, told: Arc::clone(&told), connection };
        thread::spawn(move || server.serve());
        Some(Self { mounted, told, _folder: folder })
    }

    pub fn path(&self) -> String {
        self.mounted.place.join("x").to_str().unwrap().to_owned()
    }

    /// Ends the connection under whoever uses the file, as when a device is pulled out.
    pub fn pull_out(&self) {
        self.mounted.abort();
    }
}

const ROOT: u64 = 1;
const FILE: u64 = 2;
/// Sizes of `fuse_in_header` and `fuse_write_in`.
const HEADER: usize = 40;
const WRITE_IN: usize = 40;
/// Longest transfer of one request, of 256 pages.
const MAX_WRITE: u32 = 1 << 20;

struct Server {
    faults: Faults,
    told: Arc<Told>,
    connection: fs::File,
}

/// The answer's body, or an error number.
type Answer = Result<Vec<u8>, i32>;

impl Server {
    fn serve(mut self) {
        let mut request = vec![0; MAX_WRITE as usize + 4096];
        loop {
            let length = match self.connection.read(&mut request) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Unmounted or aborted.
                Err(_) => return,
            };
            let (header, body) = request[..length].split_at(HEADER);
            let (opcode, unique, node) = (u32_at(header, 4), u64_at(header, 8), u64_at(header, 16));
            let Some(answer) = self.answer(opcode, node, body) else { continue };
            let (error, body) = match answer {
                Ok(body) => (0, body),
                Err(errno) => (-errno, Vec::new()),
            };
            let mut reply = Vec::with_capacity(16 + body.len());
            reply.extend(((16 + body.len()) as u32).to_ne_bytes());
            reply.extend(error.to_ne_bytes());
            reply.extend(unique.to_ne_bytes());
            reply.extend(body);
            // Whoever asked may be gone meanwhile.
            let _: io::Result<()> = self.connection.write_all(&reply);
        }
    }

    /// `None` for requests that have no answer.
    fn answer(&self, opcode: u32, node: u64, body: &[u8]) -> Option<Answer> {
        Some(match opcode {
            1 => self.lookup(body),
            3 => Ok([&words(&[0, 0])[..], &self.attributes(node)].concat()),
            4 => Ok(self.set_attributes(node, body)),
            14 | 27 => Ok(vec![0; 16]),
            15 => self.read(body),
            16 => self.write(body),
            17 => Ok(vec![0; 80]),
            20 => {
                self.told.syncs.fetch_add(1, SeqCst);
                thread::sleep(self.faults.sync);
                Ok(Vec::new())
            }
            18 | 25 | 29 | 34 => Ok(Vec::new()),
            26 => Ok(init()),
            // FORGET, INTERRUPT, DESTROY, BATCH_FORGET.
            2 | 36 | 38 | 42 => return None,
            _ => Err(libc::ENOSYS),
        })
    }

    fn lookup(&self, name: &[u8]) -> Answer {
        if name != b"x\0" {
            return Err(libc::ENOENT);
        }
        // Node, generation, how long name and attributes hold: not at all.
        Ok([&words(&[FILE, 0, 0, 0, 0])[..], &self.attributes(FILE)].concat())
    }

    fn attributes(&self, node: u64) -> Vec<u8> {
        let (mode, size) = match node {
            ROOT => (libc::S_IFDIR | 0o755, 0),
            _ => (libc::S_IFREG | 0o644, self.told.size.load(SeqCst)),
        };
        let mut bytes = words(&[node, size, size.div_ceil(512), 0, 0, 0]);
        // Nanoseconds of three times, mode, links, owner, group, device, block size, flags.
        for word in [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes
    }

    fn set_attributes(&self, node: u64, body: &[u8]) -> Vec<u8> {
        const SIZE: u32 = 8;
        if u32_at(body, 0) & SIZE != 0 {
            self.told.size.store(u64_at(body, 16), SeqCst);
        }
        [&words(&[0, 0])[..], &self.attributes(node)].concat()
    }

    /// How much of a transfer is done.
    fn transfer(&self, offset: u64, length: u32) -> Result<std::ops::Range<usize>, i32> {
        thread::sleep(self.faults.transfer);
        let end = offset + u64::from(self.faults.longest.unwrap_or(length).min(length));
        match self.faults.fail {
            Some((bad, errno)) if (offset..end).contains(&bad) => Err(errno),
            _ => Ok(offset as usize..end as usize),
        }
    }

    fn read(&self, body: &[u8]) -> Answer {
        let range = self.transfer(u64_at(body, 8), u32_at(body, 16))?;
        let end = range.end.min(self.told.size.load(SeqCst) as usize);
        let content = self.told.content.lock().unwrap();
        let bytes = content.get(range.start..end).unwrap_or_default().to_vec();
        self.told.read.fetch_add(bytes.len() as u64, SeqCst);
        Ok(bytes)
    }

    fn write(&self, body: &[u8]) -> Answer {
        let range = self.transfer(u64_at(body, 8), u32_at(body, 16))?;
        let bytes = &body[WRITE_IN..WRITE_IN + range.len()];
        let mut content = self.told.content.lock().unwrap();
        if content.len() < range.end {
            content.resize(range.end, 0);
        }
        content[range.clone()].copy_from_slice(bytes);
        self.told.size.fetch_max(range.end as u64, SeqCst);
        self.told.written.fetch_add(bytes.len() as u64, SeqCst);
        Ok([(bytes.len() as u32).to_ne_bytes(), [0; 4]].concat())
    }
}

/// The answer to INIT: version 7.31, pages by the number of them.
fn init() -> Vec<u8> {
    const BIG_WRITES_AND_MAX_PAGES: u32 = 1 << 5 | 1 << 22;
    let mut bytes = Vec::new();
    for word in [7, 31, 0, BIG_WRITES_AND_MAX_PAGES, 12 | 9 << 16, MAX_WRITE, 1, 256] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.resize(64, 0);
    bytes
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}
