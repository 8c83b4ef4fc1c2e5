//! irqwatch against plain code, the procfs crate, cyclictest and oslat.

use super::comparison::Comparison;

/// All comparisons of this group.
pub fn comparisons() -> Vec<Comparison> {
    Vec::new()
}
