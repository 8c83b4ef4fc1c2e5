//! A trace buffer of one's own (tracefs instances, Documentation/trace/ftrace.rst).

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use meter::{Error, Result};

use super::{
    page::{self, Layout},
    pairs::{Kind, Pairs},
};

/// Begin of the names of our instances; the process's number follows.
const INSTANCE: &str = "irqwatch-";
/// Pairs of events: the folder, the common part of the names, the field with the number, the kind.
const EVENTS: &[(&str, &str, &str, Kind)] = &[
    ("irq", "irq_handler", "irq", Kind::Interrupt),
    ("irq", "softirq", "vec", Kind::Softirq),
    ("irq_vectors", "local_timer", "vector", Kind::Vector("local_timer")),
    ("irq_vectors", "reschedule", "vector", Kind::Vector("reschedule")),
    ("irq_vectors", "call_function", "vector", Kind::Vector("call_function")),
    ("irq_vectors", "call_function_single", "vector", Kind::Vector("call_function_single")),
    ("irq_vectors", "irq_work", "vector", Kind::Vector("irq_work")),
    ("irq_vectors", "x86_platform_ipi", "vector", Kind::Vector("x86_platform_ipi")),
];
/// These every kernel with tracing has; the others are one architecture's.
const REQUIRED: usize = 2;

/// One kind of event as the kernel numbers it.
struct Event {
    id: u16,
    number_at: usize,
    kind: Kind,
    enters: bool,
}

/// The instance; removed when dropped.
pub(super) struct Tracer {
    instance: PathBuf,
    layout: Layout,
    events: Vec<Event>,
    pipes: Vec<File>,
    page: Vec<u8>,
}

impl Tracer {
    /// Makes an instance with these events on but nothing recorded yet.
    pub(super) fn open(tracefs: &Path, buffer_bytes: u64) -> Result<Self> {
        let instances = tracefs.join("instances");
        if !instances.is_dir() {
            return Err(Error::unavailable(format!(
                "no tracefs at {}; as root: mount -t tracefs nodev /sys/kernel/tracing, or pass --tracefs",
                tracefs.display()
            )));
        }
        remove_leftovers(&instances);
        let header = read_once(&tracefs.join("events/header_page"))?;
        let layout = Layout::parse(&header).ok_or_else(|| {
            Error::unavailable(format!("this kernel's trace pages have an unknown form: {header:?}"))
        })?;
        let instance = instances.join(format!("{INSTANCE}{}", std::process::id()));
        fs::create_dir(&instance)
            .map_err(|error| Error::system(format!("make {}", instance.display()), error))?;
        // From here on the instance is removed whatever happens.
        let mut tracer =
            Self { instance, layout, events: Vec::new(), pipes: Vec::new(), page: vec![0; layout.size] };
        tracer.write("tracing_on", "0")?;
        tracer.write("trace_clock", "mono")?;
        tracer.write("buffer_size_kb", &buffer_bytes.div_ceil(1024).to_string())?;
        for (index, &(folder, name, field, kind)) in EVENTS.iter().enumerate() {
            for (suffix, enters) in [("entry", true), ("exit", false)] {
                let event = format!("events/{folder}/{name}_{suffix}");
                if index >= REQUIRED && !tracer.instance.join(&event).is_dir() {
                    continue;
                }
                let format = read(&tracer.instance.join(&event).join("format"))?;
                let (id, number_at) = parse_format(&format, field).ok_or_else(|| {
                    Error::unavailable(format!("the tracepoint {event} has an unknown form"))
                })?;
                tracer.write(&format!("{event}/enable"), "1")?;
                tracer.events.push(Event { id, number_at, kind, enters });
            }
        }
        tracer.pipes = open_pipes(&tracer.instance)?;
        Ok(tracer)
    }

    /// How many CPUs have a buffer.
    pub(super) fn cpus(&self) -> usize {
        self.pipes.len()
    }

    /// Begins or ends recording.
    pub(super) fn switch(&self, on: bool) -> Result<()> {
        self.write("tracing_on", if on { "1" } else { "0" })
    }

    /// Empties the buffers into `pairs`.
    pub(super) fn drain(&mut self, pairs: &mut Pairs) -> Result<()> {
        for (cpu, pipe) in self.pipes.iter_mut().enumerate() {
            loop {
                let length = match pipe.read(&mut self.page) {
                    Ok(0) => break,
                    Ok(length) => length,
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                        break;
                    }
                    Err(error) => return Err(Error::system(format!("read the trace of CPU {cpu}"), error)),
                };
                let mut seen = Vec::with_capacity(256);
                let lost = page::events(&self.page[..length], self.layout, |event| seen.push(event));
                if lost {
                    pairs.lose(cpu);
                }
                for event in seen {
                    take(&self.events, pairs, cpu, event);
                }
            }
        }
        Ok(())
    }

    fn write(&self, name: &str, value: &str) -> Result<()> {
        let path = self.instance.join(name);
        fs::write(&path, value)
            .map_err(|error| Error::system(format!("write {value} to {}", path.display()), error))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.pipes.clear();
        // A later run removes it if this fails.
        let _: std::io::Result<()> = fs::remove_dir(&self.instance);
    }
}

fn take(events: &[Event], pairs: &mut Pairs, cpu: usize, event: page::Event<'_>) {
    let Some(id) = event.data.get(..2).and_then(|id| id.try_into().ok()).map(u16::from_ne_bytes) else {
        return;
    };
    let Some(known) = events.iter().find(|known| known.id == id) else { return };
    let Some(number) = page::word(event.data, known.number_at) else { return };
    if known.enters {
        pairs.enter(cpu, known.kind, number, event.time_ns);
    } else {
        pairs.exit(cpu, known.kind, number, event.time_ns);
    }
}

/// The number of an event and where its field lies, from its `format` file.
fn parse_format(text: &str, field: &str) -> Option<(u16, usize)> {
    let id = text.lines().find_map(|line| line.strip_prefix("ID:"))?.trim().parse().ok()?;
    let end = format!(" {field};");
    let line = text.lines().find(|line| line.contains("field:") && line.contains(&end))?;
    let offset = line.split("offset:").nth(1)?.split(';').next()?.trim().parse().ok()?;
    Some((id, offset))
}

fn open_pipes(instance: &Path) -> Result<Vec<File>> {
    let mut pipes = Vec::new();
    loop {
        let path = instance.join(format!("per_cpu/cpu{}/trace_pipe_raw", pipes.len()));
        match File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path) {
            Ok(pipe) => pipes.push(pipe),
            Err(error) if error.kind() == ErrorKind::NotFound && !pipes.is_empty() => return Ok(pipes),
            Err(error) => return Err(Error::system(format!("open {}", path.display()), error)),
        }
    }
}

/// Removes instances of runs that were killed.
fn remove_leftovers(instances: &Path) {
    let Ok(entries) = fs::read_dir(instances) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(INSTANCE))
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Still in use, or not ours to remove: its owner will say so.
            let _: std::io::Result<()> = fs::remove_dir(entry.path());
        }
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Error::system(path.display().to_string(), error))
}

/// Reads a file that the kernel gives whole to the first read, however short, and never again.
fn read_once(path: &Path) -> Result<String> {
    let mut bytes = [0; 4096];
    let length = File::open(path)
        .and_then(|mut file| file.read(&mut bytes))
        .map_err(|error| Error::system(path.display().to_string(), error))?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_number_and_field_are_found() {
        let text = "name: irq_handler_entry\nID: 225\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\tfield:int irq;\toffset:8;\tsize:4;\tsigned:1;\n";
        assert_eq!(parse_format(text, "irq"), Some((225, 8)));
        assert_eq!(parse_format(text, "vec"), None);
    }
}
