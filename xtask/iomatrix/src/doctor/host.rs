//! The measured devices, and what only a Xen host must have.

use super::{Finding, LIMIT, Spoils};
use domain::shell::{Shell, quote};
use plan::{Device, Plan};

/// Looks for the disk and reads a block of it as a probe would: past the kernel's cache.
pub fn disk(domain: &str, shell: &dyn Shell, serial: &str, spoils: Spoils) -> Finding {
    let script = format!(
        "for d in /sys/block/*; do cat $d/device/vpd_pg80 $d/device/serial $d/serial 2>/dev/null | tr '\\000' ' ' | \
         grep -qF {} || continue; \
         n=${{d##*/}}; if words=$(timeout 10 dd if=/dev/$n of=/dev/null bs=4096 count=1 iflag=direct 2>&1); \
         then echo \"$n, read with O_DIRECT\"; exit; else echo \"$n is there, but: $words\" >&2; exit 1; fi; done; \
         echo 'no disk has this serial number' >&2; exit 1",
        quote(serial)
    );
    let mend = "`lsblk -o NAME,SERIAL` shows what there is; a guest may have it (`xl pci-list`), or root's \
                rights or the controller's interrupts are missing (`dmesg`)";
    asked(domain, shell, &format!("measured disk {serial}"), &script, mend, spoils)
}

/// Looks for the interface.
pub fn interface(domain: &str, shell: &dyn Shell, mac: &str, spoils: Spoils) -> Finding {
    let script = format!(
        "for d in /sys/class/net/*; do [ -e $d/device ] && grep -qixsF {} $d/address && echo ${{d##*/}} && exit; \
         done; echo 'no interface has this address' >&2; exit 1",
        quote(mac)
    );
    let mend = "`ip -br link` shows what there is; a guest may have it (`xl pci-list`)";
    asked(domain, shell, &format!("measured interface {mac}"), &script, mend, spoils)
}

/// What a script says, or how to mend that it fails.
fn asked(domain: &str, shell: &dyn Shell, what: &str, script: &str, mend: &str, spoils: Spoils) -> Finding {
    match shell.script(script, &[], LIMIT) {
        Ok(said) if said.code == Some(0) => Finding::good(domain, format!("{what}: {}", said.stdout_text())),
        Ok(said) => Finding::bad(domain, format!("{what}: {}", said.complaint()), mend, spoils),
        Err(error) => Finding::bad(domain, format!("{what}: {error:#}"), mend, spoils),
    }
}

/// Toolstack, IOMMU, pciback, CPUs, guests and the devices that they share.
pub fn look_at(plan: &Plan, control: &dyn Shell) -> Vec<Finding> {
    let Some(xen) = plan.platform.xen.as_ref().filter(|_| plan.platform.kind.get_ref() == "xen") else {
        return Vec::new();
    };
    let domain = plan.platform.control.get_ref().as_str();
    let ask = |what: &str, script: &str, mend: &str, spoils: Spoils| {
        asked(domain, control, what, script, mend, spoils)
    };
    let mut findings = vec![
        ask(
            "toolstack",
            "xl info | sed -n 's/^xen_version *: //p' | grep .",
            "run in Domain-0 as root; Debian: apt-get install xen-system-amd64, boot with Xen",
            Spoils::Host,
        ),
        ask(
            "passthrough",
            "xl info | grep -qE '^virt_caps.*(pv|hvm)_directio' && echo 'an IOMMU is in use' || \
             { echo 'xl info shows no pv_directio or hvm_directio' >&2; exit 1; }",
            "switch VT-d or AMD-Vi on in the firmware, and boot Xen with iommu=1",
            Spoils::Passthrough,
        ),
        ask(
            "pciback",
            "modprobe xen-pciback && echo loaded",
            "apt-get install linux-image-amd64",
            Spoils::Passthrough,
        ),
        disk(domain, control, &xen.disk, Spoils::Shared(Device::Disk)),
        interface(domain, control, &xen.nic, Spoils::Shared(Device::Network)),
        ask(
            "physical CPUs",
            &format!(
                "n=$(xl info | sed -n 's/^nr_cpus *: //p'); [ \"$n\" -gt {0} ] && echo \"$n, the plan pins to {0} at most\" \
                 || {{ echo \"$n, and the plan pins to CPU {0}\" >&2; exit 1; }}",
                highest_cpu(plan)
            ),
            "name in the plan's `cpus` those that there are (`xl info`, nr_cpus)",
            Spoils::Host,
        ),
    ];
    for (name, at) in plan.domains.iter().filter_map(|(name, domain)| Some((name, domain.at.as_ref()?))) {
        if let (Some(guest), Some(config)) = (&at.guest, &at.config) {
            let (guest, config) = (quote(guest), quote(config));
            findings.push(ask(
                &format!("guest {guest}"),
                &format!("xl domid {guest} >/dev/null && test -r {config} && echo runs, made from {config}"),
                "start it with `xl create`; its configuration is needed to make it again",
                Spoils::All(name.clone()),
            ));
        }
    }
    findings
}

/// The highest CPU that a domain of the Xen host is pinned to.
fn highest_cpu(plan: &Plan) -> usize {
    let on_host = |name: &String, at: Option<&plan::PlaceSpec>| {
        name == plan.platform.control.get_ref() || at.is_some_and(|at| at.guest.is_some())
    };
    let lists = plan.domains.iter().filter(|(name, domain)| on_host(name, domain.at.as_ref()));
    lists
        .filter_map(|(_, domain)| domain.cpus.parse::<meter::cpulist::CpuList>().ok())
        .flat_map(|list| list.cpus().to_vec())
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::shell::LocalShell;

    #[test]
    fn what_is_not_there_is_named_and_a_serial_is_no_script() {
        let finding = disk("here", &LocalShell, "'; echo no such disk", Spoils::Nothing);
        assert_eq!(finding.what, "measured disk '; echo no such disk: no disk has this serial number");
        let finding = interface("here", &LocalShell, "02:00:00:00:00:00", Spoils::Nothing);
        assert!(finding.what.ends_with("no interface has this address"), "{}", finding.what);
    }
}
