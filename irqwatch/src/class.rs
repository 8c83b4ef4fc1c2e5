//! What kind of interrupt a source is, told by its name and its chip.

use clap::ValueEnum;
use meter::interrupts::Row;
use serde::Serialize;

/// The kind of an interrupt. A row belongs to one; what fits none is `other`, never dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Class {
    /// A device's interrupt line: IO-APIC, GIC, PLIC, XICS
    Device,
    /// A device's message: MSI or MSI-X, interrupt remapping included
    Msi,
    /// A physical interrupt that Xen passes on to this domain
    XenPirq,
    /// Xen event channel of a network interface, frontend or backend
    XenVif,
    /// Xen event channel of a block device, frontend or backend
    XenVbd,
    /// Xen event channel of a virtual CPU's timer
    XenTimer,
    /// Xen event channel between virtual CPUs
    XenIpi,
    /// Xen event channel of the store
    XenStore,
    /// Xen event channel of a console
    XenConsole,
    /// Any other Xen event channel
    XenOther,
    /// Posted interrupts: PIN, PIW, NPI
    Posted,
    /// The hypervisor calls into this kernel: HYP, HRE
    HypervisorCallback,
    /// Timers of the CPUs and of the platform
    Timer,
    /// Between CPUs: rescheduling, function calls, TLB shootdowns, IRQ work
    Ipi,
    /// Not maskable
    Nmi,
    /// Machine checks, thermal events, performance monitoring and their like
    Platform,
    /// Spurious and erroneous ones
    Error,
    /// A soft interrupt
    Softirq,
    /// A row that repeats the sum of others (s390): in no total
    Sum,
    /// None of these
    Other,
}

impl Class {
    /// The class of a row of /proc/interrupts.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        if row.name.bytes().all(|byte| byte.is_ascii_digit()) { of_number(row) } else { of_name(row) }
    }

    /// The name as it is typed and stored, such as `xen_vif`.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Interrupts with a number: the chip's name comes first in the label.
fn of_number(row: &Row) -> Class {
    let device = row.device();
    let chip = &row.label[..row.label.len() - device.len()];
    if chip.starts_with("xen-") || chip.starts_with("Phys-irq") || chip.starts_with("Dynamic-irq") {
        return of_xen(chip, device);
    }
    if chip.contains("MSI") {
        return Class::Msi;
    }
    if device == "IPI" || device.starts_with("IPI") {
        return Class::Ipi;
    }
    let timers = ["timer", "hpet", "twd", "clockevent", "mct_tick"];
    let is_timer = timers.iter().any(|mark| device.contains(mark)) && !device.starts_with("kvm guest");
    if is_timer { Class::Timer } else { Class::Device }
}

/// Event channels, by the kernel's chip (drivers/xen/events) and the driver's name for the channel.
fn of_xen(chip: &str, device: &str) -> Class {
    let begins = |marks: &[&str]| marks.iter().any(|mark| device.starts_with(mark));
    if chip.starts_with("xen-pirq") || chip.starts_with("Phys-irq") {
        Class::XenPirq
    } else if begins(&["timer"]) {
        Class::XenTimer
    } else if chip.contains("-ipi") || begins(&["resched", "callfunc", "spinlock", "irqwork"]) {
        Class::XenIpi
    } else if begins(&["xenbus"]) || device.contains("xenstored") {
        Class::XenStore
    } else if begins(&["hvc", "xencons", "evtchn:xenconsoled"]) {
        Class::XenConsole
    } else if begins(&["blk", "xvd", "vbd", "tap"]) {
        Class::XenVbd
    } else if begins(&["vif", "eth", "en", "xenif"]) || device.ends_with("-tx") || device.ends_with("-rx") {
        Class::XenVif
    } else {
        Class::XenOther
    }
}

/// Rows with a name: the architecture's own.
fn of_name(row: &Row) -> Class {
    match row.name.as_str() {
        "PIN" | "PIW" | "NPI" => Class::Posted,
        "HYP" | "HRE" => Class::HypervisorCallback,
        "LOC" | "BCT" | "HVS" | "CLK" | "TMR" | "TAL" => Class::Timer,
        "RES" | "CAL" | "TLB" | "IWI" | "DBL" | "EXC" | "EMS" => Class::Ipi,
        "NMI" | "WDG" => Class::Nmi,
        "PMI" | "TRM" | "THR" | "DFR" | "MCE" | "MCP" | "HMI" | "CMS" | "CMC" | "RST" => Class::Platform,
        "ERR" | "Err" | "MIS" | "SPU" | "RTR" | "BAD" => Class::Error,
        "EXT" | "I/O" | "AIO" if row.label.is_empty() => Class::Sum,
        name if name.starts_with("IPI") => Class::Ipi,
        _ if ["[I/O]", "[EXT]", "[AIO]"].iter().any(|part| row.label.starts_with(part)) => Class::Device,
        _ if row.label.contains("imer") => Class::Timer,
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, label: &str) -> Class {
        Class::of(&Row { name: name.to_owned(), counts: vec![0], label: label.to_owned() })
    }

    #[test]
    fn devices_and_messages() {
        assert_eq!(class("9", "IO-APIC   9-fasteoi   acpi"), Class::Device);
        assert_eq!(class("36", "PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0"), Class::Msi);
        assert_eq!(class("41", "ITS-MSI 524289 Edge      nvme0q1"), Class::Msi);
        assert_eq!(class("56", "Altera PCIe MSI 524288 Edge      nvme0q0"), Class::Msi);
        assert_eq!(class("8", "SiFive PLIC   6 Edge      eth0"), Class::Device);
    }

    #[test]
    fn the_kinds_of_event_channels() {
        assert_eq!(class("54", "xen-dyn    -event     vif3.0-q0-tx"), Class::XenVif);
        assert_eq!(class("56", "xen-dyn    -event     eth0"), Class::XenVif);
        assert_eq!(class("55", "xen-dyn    -event     blkif"), Class::XenVbd);
        assert_eq!(class("70", "xen-dyn-lateeoi    -event     blkif-backend"), Class::XenVbd);
        assert_eq!(class("48", "xen-percpu    -virq      timer0"), Class::XenTimer);
        assert_eq!(class("49", "xen-percpu    -ipi       resched0"), Class::XenIpi);
        assert_eq!(class("110", "xen-percpu-ipi       callfuncsingle7"), Class::XenIpi);
        assert_eq!(class("35", "xen-dyn     Edge    -virq      hvc_console"), Class::XenConsole);
        assert_eq!(class("43", "xen-dyn-lateeoi     Edge    -event     evtchn:xenstored"), Class::XenStore);
        assert_eq!(class("51", "xen-percpu    -virq      debug0"), Class::XenOther);
        assert_eq!(class("37", "xen-pirq    -msi       ahci[0000:00:03.0]"), Class::XenPirq);
    }

    #[test]
    fn the_architectures_own_rows() {
        assert_eq!(class("LOC", "Local timer interrupts"), Class::Timer);
        assert_eq!(class("11", "GICv3  27 Level     arch_timer"), Class::Timer);
        assert_eq!(class("12", "GICv2  27 Level     kvm guest vtimer"), Class::Device);
        assert_eq!(class("IPI1", "Function call interrupts"), Class::Ipi);
        assert_eq!(class("16", "XICS   2 Edge      IPI"), Class::Ipi);
        assert_eq!(class("PIN", "Posted-interrupt notification event"), Class::Posted);
        assert_eq!(class("HYP", "Hypervisor callback interrupts"), Class::HypervisorCallback);
        assert_eq!(class("EXT", ""), Class::Sum);
        assert_eq!(class("DAS", "[I/O] DASD"), Class::Device);
        assert_eq!(class("XYZ", "something new"), Class::Other);
    }
}
