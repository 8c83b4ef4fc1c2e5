//! Switching, healing and restoring on a faked host.

use std::{cell::RefCell, rc::Rc};

use super::{
    fake::{FakePlace, Host},
    *,
};
use plan::Overrides;
use plan::plans_folder;

fn fake() -> (Plan, Xen, Rc<RefCell<Host>>) {
    let host = Rc::new(RefCell::new(Host::default()));
    let (plan, xen) = on(&host);
    host.borrow_mut().log.clear();
    (plan, xen.unwrap(), host)
}

/// The platform on that host.
fn on(host: &Rc<RefCell<Host>>) -> (Plan, Result<Xen>) {
    let plan = plans_folder().join("xen-lab-quick.toml");
    let (plan, _) = plan::load(&plan, &Overrides::default()).unwrap();
    let place = |name: &String| -> Box<dyn Place> {
        Box::new(FakePlace { name: name.clone(), host: Rc::clone(host) })
    };
    let places = plan.domains.keys().map(|name| (name.clone(), place(name))).collect();
    let xen = Xen::with_places(&plan, places);
    (plan, xen)
}

fn attach(plan: &Plan, xen: &mut Xen, name: &str, device: Device) -> Result<BTreeMap<String, String>> {
    xen.attach(&plan.attachments[name], device)
}

fn taken(host: &Rc<RefCell<Host>>) -> Vec<String> {
    std::mem::take(&mut host.borrow_mut().log)
}

#[test]
fn a_disk_goes_from_virtual_to_passthrough_and_home_at_the_end() {
    let (plan, mut xen, host) = fake();
    let words = attach(&plan, &mut xen, "virtual", Device::Disk).unwrap();
    assert_eq!(words["disk"], "/dev/xvdm");
    assert_eq!(taken(&host), ["block-attach B vdev=xvdm,access=rw,script=/lab/block,target=/dev/sda"]);
    let words = attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    assert_eq!(words["disk"], "/dev/sda");
    let expected =
        ["block-detach B xvdm", "pci-assignable-add 0000:00:08.0", "pci-attach B 0000:00:08.0,permissive=1"];
    assert_eq!(taken(&host), expected);
    attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    assert!(taken(&host).is_empty(), "it is there already");
    drop(xen);
    assert_eq!(taken(&host), ["pci-detach B 0000:00:08.0", "pci-assignable-remove -r 0000:00:08.0"]);
    assert_eq!(host.borrow().disk, "Domain-0");
}

#[test]
fn only_one_function_is_passed_through_at_a_time() {
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    attach(&plan, &mut xen, "passthrough", Device::Network).unwrap();
    assert_eq!((host.borrow().disk.as_str(), host.borrow().nic.as_str()), ("Domain-0", "B"));
}

#[test]
fn the_machine_beside_the_host_has_its_own_devices() {
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "native", Device::Disk).unwrap();
    let words = attach(&plan, &mut xen, "native", Device::Network).unwrap();
    assert_eq!((words["peer"].as_str(), words["address.native"].as_str()), ("10.77.1.1", "10.77.0.5"));
    assert!(taken(&host).is_empty());
    assert!(xen.lacks(&plan.attachments["native"], Device::Disk).is_none());
}

#[test]
fn a_guest_that_does_not_answer_is_made_again_and_its_devices_come_home() {
    for state in [None, Some("--p---"), Some("-b----")] {
        let (plan, mut xen, host) = fake();
        attach(&plan, &mut xen, "passthrough", Device::Network).unwrap();
        taken(&host);
        host.borrow_mut().b_state = state;
        host.borrow_mut().b_answers = false;
        if state.is_none() {
            host.borrow_mut().nic = "pciback".into();
        }
        let troubles = xen.troubles();
        match state {
            None => assert_eq!(troubles, ["guest B is gone"]),
            Some("--p---") => assert_eq!(troubles, ["guest B is paused"]),
            _ => assert!(troubles.is_empty(), "{troubles:?}"),
        }
        attach(&plan, &mut xen, "virtual", Device::Network).unwrap();
        let mut expected = vec!["destroy B"; usize::from(state.is_some())];
        expected.extend(["pci-assignable-remove -r 0000:00:07.0", "create -q /lab/b.cfg"]);
        expected.push("network-attach B mac=00:16:3e:69:6f:6d");
        assert_eq!(taken(&host), expected, "{state:?}");
    }
}

#[test]
fn a_guest_that_can_not_be_made_again_is_taken_out_and_the_rest_goes_on() {
    let (plan, mut xen, host) = fake();
    host.borrow_mut().b_state = None;
    host.borrow_mut().broken = Some("xl create");
    let error = attach(&plan, &mut xen, "virtual", Device::Disk).unwrap_err();
    assert!(format!("{error:#}").contains("libxl: error"), "{error:#}");
    let reason = xen.lacks(&plan.attachments["virtual"], Device::Network).unwrap();
    assert!(reason.contains("lost"), "{reason}");
    attach(&plan, &mut xen, "native", Device::Disk).unwrap();
    attach(&plan, &mut xen, "dom0", Device::Disk).unwrap();
}

#[test]
fn at_the_start_a_missing_guest_is_made_and_one_that_refuses_us_is_left_alone() {
    let host = Rc::new(RefCell::new(Host { b_state: None, ..Host::default() }));
    on(&host).1.unwrap();
    assert_eq!(taken(&host), ["create -q /lab/b.cfg"]);
    let host = Rc::new(RefCell::new(Host { b_answers: false, ..Host::default() }));
    let error = on(&host).1.err().unwrap();
    assert!(format!("{error:#}").contains("domain `b` can't be used"), "{error:#}");
    assert!(taken(&host).is_empty(), "a guest that runs is not destroyed for want of a key");
}

#[test]
fn a_second_matrix_on_the_same_host_is_refused_and_told_who_runs_the_first() {
    let (_, first, host) = fake();
    let error = format!("{:#}", on(&host).1.err().unwrap());
    let who = format!("another matrix runs on this Xen host: process {} on ", std::process::id());
    assert!(error.contains(&who), "{error}");
    assert!(taken(&host).is_empty());
    drop(first);
    on(&host).1.unwrap();
}

#[test]
fn the_parts_of_a_switch_have_their_times_and_what_stays_where_it_is_has_none() {
    let (plan, mut xen, _host) = fake();
    attach(&plan, &mut xen, "virtual", Device::Disk).unwrap();
    assert_eq!(xen.attach_parts().into_keys().collect::<Vec<_>>(), ["appear", "check", "switch"]);
    attach(&plan, &mut xen, "virtual", Device::Disk).unwrap();
    assert_eq!(xen.attach_parts().into_keys().collect::<Vec<_>>(), ["appear", "check"]);
}

#[test]
fn the_toolstack_alone_is_asked_whether_a_guest_still_runs() {
    let (_, xen, host) = fake();
    host.borrow_mut().b_answers = false;
    assert_eq!(xen.halted("b").unwrap(), None, "it does not answer, but it runs");
    host.borrow_mut().b_state = Some("--p---");
    assert_eq!(xen.halted("b").unwrap().unwrap(), "guest B is paused");
    host.borrow_mut().b_state = None;
    assert_eq!(xen.halted("b").unwrap().unwrap(), "guest B is gone");
    assert_eq!(xen.halted("native").unwrap(), None, "nobody stands beside it");
}

#[test]
fn a_control_domain_that_stays_away_is_the_end_and_one_that_comes_back_is_not() {
    let (plan, mut xen, host) = fake();
    host.borrow_mut().control_fails = 1;
    attach(&plan, &mut xen, "dom0", Device::Disk).unwrap();
    assert_eq!(xen.lost(), None);
    host.borrow_mut().control_fails = u32::MAX;
    let error = format!("{:#}", attach(&plan, &mut xen, "dom0", Device::Disk).unwrap_err());
    assert!(error.contains("the control domain `dom0` does not answer"), "{error}");
    assert!(xen.lost().unwrap().contains("does not answer"), "{:?}", xen.lost());
}

#[test]
fn a_device_that_does_not_come_back_fails_the_switch_with_its_name() {
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    // The toolstack says that all went well; no kernel has the disk any more.
    host.borrow_mut().stays_away = true;
    let error = attach(&plan, &mut xen, "dom0", Device::Disk).unwrap_err();
    assert!(
        format!("{error:#}").contains("no disk with the serial number IOMATRIX-XEN appeared"),
        "{error:#}"
    );
    host.borrow_mut().stays_away = false;
    attach(&plan, &mut xen, "dom0", Device::Disk).unwrap();
}

#[test]
fn a_disk_that_comes_back_without_interrupts_is_found_again_before_anything_builds_on_it() {
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    host.borrow_mut().without_interrupts = true;
    attach(&plan, &mut xen, "virtual", Device::Disk).unwrap();
    assert!(!host.borrow().without_interrupts);
    let creations = taken(&host).iter().filter(|line| line.starts_with("create")).count();
    assert_eq!(creations, 0, "the guest needed not be made again");
}

#[test]
fn what_ran_out_of_memory_is_told_once() {
    let (_, mut xen, host) = fake();
    assert!(xen.troubles().is_empty());
    let first = "[ 12.3] Out of memory: Killed process 99 (cpuload)\n";
    host.borrow_mut().out_of_memory = first.into();
    assert!(xen.troubles()[0].ends_with("Killed process 99 (cpuload)"));
    assert!(xen.troubles().is_empty());
    let later = "[ 12.4] Memory cgroup out of memory: Killed process 100 (dd)\n[ 12.5] Out of memory: Killed process 7 (sh)";
    host.borrow_mut().out_of_memory = format!("{first}{later}");
    let troubles = xen.troubles();
    assert!(troubles.len() == 2 && troubles[0].ends_with("100 (dd)") && troubles[1].ends_with("7 (sh)"));
}

#[test]
fn everything_is_put_back_also_when_the_connection_was_just_cut_or_the_guest_is_gone() {
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    taken(&host);
    host.borrow_mut().control_fails = 2;
    drop(xen);
    assert_eq!(host.borrow().disk, "Domain-0");
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    host.borrow_mut().xl("destroy B").unwrap();
    drop(xen);
    assert_eq!(host.borrow().disk, "Domain-0");
}

#[test]
fn devices_of_others_stay_where_they_are() {
    // B has a function of its own, and pciback holds one that is none of ours.
    let host = Rc::new(RefCell::new(Host { nic: "pciback".into(), ..Host::default() }));
    drop(on(&host).1.unwrap());
    assert_eq!(host.borrow().nic, "pciback", "it is given back to whom it was taken from");
}

#[test]
fn a_switch_that_fails_is_told_and_the_next_one_begins_from_a_known_state() {
    let (plan, mut xen, host) = fake();
    host.borrow_mut().broken = Some("xl pci-attach");
    let error = attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap_err();
    assert!(format!("{error:#}").contains("libxl: error"), "{error:#}");
    assert_eq!(host.borrow().disk, "pciback");
    assert_eq!(
        taken(&host).iter().filter(|line| line.starts_with("pci-assignable-add")).count(),
        2,
        "tried twice"
    );
    host.borrow_mut().broken = None;
    let words = attach(&plan, &mut xen, "dom0", Device::Disk).unwrap();
    assert_eq!(words["disk"], "/dev/sda");
}

#[test]
fn places_of_a_xen_plan_that_are_none_are_refused_before_anything_runs() {
    let text = std::fs::read_to_string(plans_folder().join("xen-lab-quick.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["ipsj-2010.toml", "published/ipsj-2010-os113.toml"] {
        std::fs::create_dir_all(folder.path().join("published")).unwrap();
        std::fs::copy(plans_folder().join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("wrong.toml");
    for (from, to, complaint) in [
        ("ssh = \"xen-lab-b\"", "ssh = \"-oProxyCommand=touch /tmp/x\"", "`ssh` is `-oProxyCommand"),
        ("guest = \"B\"", "guest = \"--help\"", "`guest` is `--help`"),
        ("config = \"/lab/b.cfg\"", "config = \"b.cfg\"", "it must be an absolute path"),
        ("nic = \"52:54:00:00:00:03\"", "nic = \"\"", "`nic` is ``; it must be a MAC"),
        ("disk = \"IOMATRIX-XEN\"", "disk = \"\"", "`disk` is ``"),
        ("network = \"virtual\"", "network = \"native\"", "`b` is a guest"),
        (
            "device = { disk = \"native\", network = \"native\" }\n\n[attachments.passthrough]",
            "device = { disk = \"virtual\", network = \"native\" }\n\n[attachments.passthrough]",
            "is no guest of Xen",
        ),
        ("disk = \"virtual\"", "disk = \"loop\"", "unknown variant `loop`"),
        ("peer = \"10.77.1.1/24\"", "peer = \"10.77.1.1; reboot\"", "`peer` is"),
        ("address = \"10.77.0.1\"", "address = \"generator\"", "it must be an IP address"),
    ] {
        let line = 1 + text[..text.find(from).expect(from)].matches('\n').count();
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let error =
            format!("{:#}", crate::built_in().load(&path, &Overrides::default()).map(drop).unwrap_err());
        assert!(error.contains(complaint) && error.contains(&format!("wrong.toml:{line}: ")), "{error}");
    }
    let start = text.find("[platform.settings]").unwrap();
    let end = text.find("# The same machine").unwrap();
    std::fs::write(&path, format!("{}{}", &text[..start], &text[end..])).unwrap();
    let error = format!("{:#}", crate::built_in().load(&path, &Overrides::default()).map(drop).unwrap_err());
    assert!(error.contains("needs [platform.settings]"), "{error}");
}
