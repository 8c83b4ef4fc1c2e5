//! On a kernel that lacks what was asked for: refused by name, exit code 3, and nothing else in its place.

mod lab;

use lab::{
    Lab, Place, RECEIVER,
    seccomp::{Lacks, run},
};

const fn lacks(call: libc::c_long, arguments: &'static [(u32, u32)], error: i32) -> Lacks {
    Lacks { call, arguments, error }
}

const IO_URING: Lacks = lacks(libc::SYS_io_uring_setup, &[], libc::ENOSYS);
const FORBIDDEN_IO_URING: Lacks = lacks(libc::SYS_io_uring_setup, &[], libc::EPERM);
const UDP_SEGMENT: Lacks = lacks(
    libc::SYS_setsockopt,
    &[(1, libc::SOL_UDP as u32), (2, libc::UDP_SEGMENT as u32)],
    libc::ENOPROTOOPT,
);
const UDP_GRO: Lacks =
    lacks(libc::SYS_setsockopt, &[(1, libc::SOL_UDP as u32), (2, libc::UDP_GRO as u32)], libc::ENOPROTOOPT);
const AF_PACKET: Lacks = lacks(libc::SYS_socket, &[(0, libc::AF_PACKET as u32)], libc::EPERM);
const AF_XDP: Lacks = lacks(libc::SYS_socket, &[(0, libc::AF_XDP as u32)], libc::EAFNOSUPPORT);

#[test]
fn what_the_kernel_lacks_is_named_and_nothing_takes_its_place() {
    for (lacks, args, hint) in [
        (IO_URING, "127.0.0.1:9 --method io_uring", "seccomp) of a container or sandbox hides it"),
        (FORBIDDEN_IO_URING, "127.0.0.1:9 --method io_uring", "--method sendmmsg"),
        (UDP_SEGMENT, "127.0.0.1:9 --method gso", "UDP_SEGMENT"),
        (UDP_GRO, "sink --listen 127.0.0.1:0", "--no-gro"),
    ] {
        let Some(refused) = run(&Place::Here, &lacks, &format!("{args} --duration 100ms")) else { return };
        assert_eq!(refused.code, Some(3), "{args}: {refused:?}");
        assert!(refused.stderr.contains(hint), "{args}: {}", refused.stderr);
        assert!(!refused.records.iter().any(|record| record["record"] == "summary"), "{args}: {refused:?}");
    }
}

#[test]
fn raw_methods_are_refused_the_same_way() {
    let Some(lab) = Lab::new() else { return };
    for (lacks, method) in [(AF_PACKET, "packet"), (AF_XDP, "xdp")] {
        let args = format!("{RECEIVER}:5010 --method {method} --datagrams 1");
        let Some(refused) = run(&lab.sender, &lacks, &args) else { return };
        assert_eq!(refused.code, Some(3), "{method}: {refused:?}");
        assert!(refused.stderr.contains(&format!("AF_{}", method.to_uppercase())), "{}", refused.stderr);
    }
}

#[test]
fn the_choice_of_the_tool_is_one_that_works() {
    let args = "127.0.0.1:9 --method auto --size 64 --datagrams 10 --load 1kpps";
    let Some(sent) = run(&Place::Here, &UDP_SEGMENT, args) else { return };
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(sent.records[0]["config"]["method"], "sendmmsg");
    assert!(sent.summary()["notes"].to_string().contains("without UDP_SEGMENT"), "{}", sent.summary());
}

#[test]
fn a_kernel_that_tells_nothing_of_its_interfaces_costs_no_result() {
    const NETLINK: Lacks = lacks(libc::SYS_socket, &[(0, libc::AF_NETLINK as u32)], libc::EACCES);
    let args = "127.0.0.1:9 --method sendmmsg --datagrams 10 --load 1kpps";
    let Some(sent) = run(&Place::Here, &NETLINK, args) else { return };
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert!(sent.summary()["interfaces"].is_null(), "{}", sent.summary());
    assert!(sent.summary()["notes"].to_string().contains("is not known"), "{}", sent.summary());
}
