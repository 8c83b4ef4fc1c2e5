//! Sharing of CPUs; the wires and disks themselves are tested by whole matrices in `tests/matrix.rs`.

use super::*;
use plan::Overrides;
use plan::plans_folder;

#[test]
fn a_machine_with_fewer_cpus_shares_them_and_says_so() {
    let (plan, _) = plan::load(&plans_folder().join("ipsj-2010.toml"), &Overrides::default()).unwrap();
    let mut notes = Vec::new();
    let cpus = share_cpus(&plan, &CpuList::new([0, 1]), &mut notes).unwrap();
    assert_eq!(cpus["b"], [1]);
    assert_eq!(cpus["native"][0], cpus["b"][0], "the probe has one CPU, whatever the attachment");
    assert_ne!(cpus["generator"], cpus["b"], "the outside machine has the other");
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("gives 2"), "{notes:?}");

    notes.clear();
    let cpus = share_cpus(&plan, &CpuList::new([8, 9, 10, 11, 12, 13]), &mut notes).unwrap();
    assert_eq!(cpus["b"], [11], "the plan's numbers count the CPUs that are allowed");
    assert_eq!(notes, [] as [String; 0]);
}
