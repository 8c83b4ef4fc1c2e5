//! The network interface of a connection, and the interrupts that are its own.

use std::{fs, net::IpAddr, path::Path};

use meter::interrupts::{Row, Sources, Table};

use crate::sys;

/// Where interrupts of the connection with the local address `local` are counted: the interrupt lines
/// of its interface, or the network's softirqs where the interface has none (loopback, veth, bridges). Where
/// the kernel's table of interrupts is hidden nothing else stands in for the lines of a device.
#[must_use]
pub fn interrupt_sources(local: Option<IpAddr>) -> Sources {
    let name = local.and_then(|address| sys::interface_with(address.to_canonical()).ok().flatten());
    let device = name.and_then(|name| {
        let device = fs::canonicalize(Path::new("/sys/class/net").join(&name).join("device")).ok()?;
        Some((name, device))
    });
    let lines = match device {
        None => Ok(Vec::new()),
        Some((name, device)) => Table::interrupts()
            .map_err(|error| error.full_text())
            .and_then(|table| lines(&name, &device, &table)),
    };
    match lines {
        Ok(lines) if lines.is_empty() => Sources::Softirqs(vec!["NET_RX".into(), "NET_TX".into()]),
        Ok(lines) => Sources::Interrupts(lines),
        Err(reason) => Sources::Unknown(reason),
    }
}

/// Numbers of the interrupt lines of interface `name`: the message-signalled ones of its device, or
/// the rows of /proc/interrupts that carry the interface's or its device's name. The reason where the table is
/// empty.
fn lines(name: &str, device: &Path, table: &Table) -> Result<Vec<String>, String> {
    if table.rows.is_empty() {
        return Err(format!("/proc/interrupts has no rows: a container masks it, for example ({name})"));
    }
    let device_name = device.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let xen_event_channels = xen_event_channels(&device_name);
    let named: Vec<String> = table
        .rows
        .iter()
        .filter(|row| {
            let names = [Some(name), Some(&device_name), xen_event_channels.as_deref()];
            names.into_iter().flatten().any(|name| is_named(row, name))
        })
        .map(|row| row.name.clone())
        .collect();
    if !named.is_empty() {
        return Ok(named);
    }
    // A PCI device lists its own; of those, some may not be in use.
    let own: Vec<String> = fs::read_dir(device.join("msi_irqs"))
        .map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    Ok(table.rows.iter().map(|row| row.name.clone()).filter(|row| own.contains(row)).collect())
}

/// What Xen's front end calls the event channels of the device `vif-1`: `vif1-q0-tx`, `vif1-q0-rx`, whatever
/// its interface is called (the kernel's drivers/net/xen-netfront.c).
fn xen_event_channels(device_name: &str) -> Option<String> {
    device_name.strip_prefix("vif-").map(|handle| format!("vif{handle}"))
}

/// Whether a device of the row is `name`, alone or with a queue behind it, such as `eth0-rx-1` or
/// `virtio1-input.0`.
fn is_named(row: &Row, name: &str) -> bool {
    row.device().split(", ").any(|device| {
        device
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ':', '@', '.']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_counted_by_softirqs() {
        let sources = interrupt_sources(Some("127.0.0.1".parse().unwrap()));
        assert_eq!(sources, Sources::Softirqs(vec!["NET_RX".into(), "NET_TX".into()]));
    }

    #[test]
    fn a_hidden_table_leaves_a_device_without_a_count() {
        let device = Path::new("/sys/devices/pci0000:00/0000:00:03.0/virtio1");
        let table = Table::parse(
            " CPU0\n 40: 1 PCI-MSIX 1-edge virtio1-input.0\n 41: 1 PCI-MSIX 2-edge virtio2-req.0\n",
        );
        assert_eq!(lines("eth0", device, &table), Ok(vec!["40".into()]));
        assert_eq!(lines("eth0", Path::new("/sys/devices/none"), &table), Ok(Vec::new()), "softirqs count");
        assert!(lines("eth0", device, &Table::parse("")).unwrap_err().contains("/proc/interrupts"));
    }

    #[test]
    fn a_queue_belongs_to_its_interface_and_another_number_does_not() {
        let table = Table::parse(
            "  CPU0\n 40: 1 PCI-MSI 1-edge eth1-rx-0\n 41: 1 PCI-MSI 2-edge eth10-rx-0\n 42: 1 xen-dyn -event eth1\n",
        );
        let named: Vec<bool> = table.rows.iter().map(|row| is_named(row, "eth1")).collect();
        assert_eq!(named, [true, false, true]);
    }

    #[test]
    fn in_a_guest_of_xen_the_event_channels_belong_to_their_virtual_interface() {
        let table = Table::parse(
            "  CPU0\n 60: 5 xen-dyn-lateeoi -event vif1-q0-tx\n 61: 7 xen-dyn-lateeoi -event vif1-q0-rx\n \
             62: 1 xen-dyn-lateeoi -event vif10-q0-tx\n 63: 9 xen-pirq -pcifront-msi-x eth1-rx-0\n",
        );
        let channels = xen_event_channels("vif-1").unwrap();
        let named: Vec<bool> = table.rows.iter().map(|row| is_named(row, &channels)).collect();
        assert_eq!(named, [true, true, false, false]);
        assert_eq!(xen_event_channels("0000:00:07.0"), None);
    }
}
