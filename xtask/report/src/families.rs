//! The comparisons of a results folder, family by family: all cells of one probe in one metric.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use plan::{Cell, MetricSpec, ProbeSpec};
use stats::{
    contrast::{Contrast, contrasts, interaction},
    control::{Control, control},
    family::{Comparison, Question, compare_family},
    flags::{Flags, flags},
    series::{self, Run},
};

use crate::input::Input;

/// A cell, in a metric, as compared with another.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The cell that it is compared with.
    pub with: Cell,
    /// What the comparison says.
    pub comparison: Comparison,
    /// Comparisons of the family, of means and of variances.
    pub count: usize,
    /// How far apart two equal things were seen to be, on the scale of ln(run / baseline); missing without a control.
    pub noise_floor: Option<f64>,
}

/// One probe in one metric.
#[derive(Debug, Default)]
pub struct Family {
    /// Cells compared with the baseline.
    pub against_baseline: BTreeMap<Cell, Compared>,
    /// Controls compared with the baseline that they are a second arm of.
    pub controls: BTreeMap<Cell, Control>,
    /// Cells with a load compared with the same attachment without it.
    pub load_effects: BTreeMap<Cell, Compared>,
    /// How much more a load does in a cell than at the baseline.
    pub interactions: BTreeMap<Cell, Contrast>,
    /// What a reader must know of the runs of each cell, and of the first blocks.
    pub flags: Option<Flags>,
    /// The place of each cell in the flags.
    pub places: BTreeMap<Cell, usize>,
}

/// The family of one probe in one metric. What only the first metric of a probe has is in it for `first`.
pub fn family(input: &Input, probe: &str, metric: &MetricSpec, first: bool) -> Family {
    let cells: Vec<&Cell> = input.cells().filter(|cell| cell.probe == probe).collect();
    let runs: BTreeMap<&Cell, Vec<Run>> =
        cells.iter().map(|cell| (*cell, input.series(cell, &metric.name))).collect();
    let is_control = |cell: &Cell| {
        cell.arm.is_some() || input.plan.attachments.get(&cell.attachment).is_some_and(|spec| spec.control)
    };
    let baseline_of = |cell: &Cell| input.compared_with(cell, |other| runs.contains_key(other));
    let controls: BTreeMap<Cell, Control> = cells
        .iter()
        .filter(|cell| is_control(cell))
        .filter_map(|cell| {
            let seed = seed(input, cell, &metric.name, "control");
            Some(((*cell).clone(), control(&runs[cell], &runs[&baseline_of(cell)?], seed)?))
        })
        .collect();
    let floor = |with: &Cell| {
        let same_load = controls.iter().filter(|(control, _)| control.load == with.load);
        let of = |found: &mut dyn Iterator<Item = (&Cell, &Control)>| {
            found.map(|(_, control)| control.noise_floor).reduce(f64::max)
        };
        of(&mut same_load.into_iter()).or_else(|| of(&mut controls.iter()))
    };
    let pairs = |with: &dyn Fn(&Cell) -> Option<Cell>| -> Vec<(Cell, Cell)> {
        let compared = cells.iter().filter(|cell| !is_control(cell));
        compared.filter_map(|cell| Some(((*cell).clone(), with(cell)?))).collect()
    };
    let against_baseline = compare(input, &runs, metric, "baseline", pairs(&baseline_of), floor);
    let mut family = Family { against_baseline, controls, ..Family::default() };
    if first {
        let unloaded = |cell: &Cell| input.unloaded(cell).filter(|other| runs.contains_key(other));
        family.load_effects = compare(input, &runs, metric, "load", pairs(&unloaded), |_| None);
        family.interactions = interactions(input, &runs, metric, &family.load_effects);
        let series: Vec<Vec<Run>> = cells.iter().map(|cell| runs[cell].clone()).collect();
        family.places = cells.iter().map(|cell| (*cell).clone()).zip(0..).collect();
        family.flags = Some(flags(&series, input.header.seed));
    }
    family
}

/// Compares each first cell of `pairs` with the second.
fn compare(
    input: &Input,
    runs: &BTreeMap<&Cell, Vec<Run>>,
    metric: &MetricSpec,
    purpose: &str,
    pairs: Vec<(Cell, Cell)>,
    floor: impl Fn(&Cell) -> Option<f64>,
) -> BTreeMap<Cell, Compared> {
    let question = |(cell, with): &(Cell, Cell)| Question {
        runs: &runs[cell],
        baseline: &runs[with],
        margin: metric.margin_percent / 100.0,
        noise_floor: floor(with).unwrap_or(0.0),
        seed: seed(input, cell, &metric.name, purpose),
    };
    let questions: Vec<Question> = pairs.iter().map(question).collect();
    let family = compare_family(&questions);
    let count = family.count;
    pairs
        .into_iter()
        .zip(family.comparisons)
        .filter_map(|((cell, with), comparison)| {
            let noise_floor = floor(&with);
            Some((cell, Compared { with, comparison: comparison?, count, noise_floor }))
        })
        .collect()
}

/// The interaction of load and attachment, for the loaded cells whose baseline has the same load and none.
fn interactions(
    input: &Input,
    runs: &BTreeMap<&Cell, Vec<Run>>,
    metric: &MetricSpec,
    load_effects: &BTreeMap<Cell, Compared>,
) -> BTreeMap<Cell, Contrast> {
    let effect = |cell: &Cell| {
        let unloaded = &load_effects.get(cell)?.with;
        Some(series::load_effect(&runs[cell], &runs[unloaded]))
    };
    let (cells, series): (Vec<&Cell>, Vec<Vec<Run>>) = load_effects
        .keys()
        .filter_map(|cell| {
            let baseline = input.compared_with(cell, |other| runs.contains_key(other))?;
            (baseline.load == cell.load).then_some(())?;
            Some((cell, interaction(&effect(cell)?, &effect(&baseline)?)))
        })
        .unzip();
    let found = contrasts(&series, metric.margin_percent / 100.0, input.header.seed);
    cells.into_iter().zip(found).filter_map(|(cell, contrast)| Some((cell.clone(), contrast?))).collect()
}

/// All families of a folder, by probe and metric.
pub fn all<'a>(
    input: &Input,
    probes: &BTreeMap<&'a String, &'a ProbeSpec>,
) -> BTreeMap<(&'a str, &'a str), Family> {
    let metrics = |(name, spec): (&&'a String, &&'a ProbeSpec)| {
        let (name, spec): (&'a String, &'a ProbeSpec) = (name, spec);
        spec.metrics
            .iter()
            .enumerate()
            .map(move |(place, metric)| (name, metric, place == 0))
            .collect::<Vec<_>>()
    };
    let wanted: Vec<(&'a String, &'a MetricSpec, bool)> = probes.iter().flat_map(metrics).collect();
    let found = in_parallel(&wanted, |(name, metric, first)| family(input, name, metric, *first));
    let names = wanted.into_iter().map(|(name, metric, _)| (name.as_str(), metric.name.as_str()));
    names.zip(found).collect()
}

/// What `of` gives for each of `items`, in their order, on all CPUs.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return found };
            found.push((place, of(item)));
        }
    };
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cpus.min(items.len())).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker has no reason to panic"))
            .collect()
    });
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, result)| result).collect()
}

/// The seed of the draws for one number: its own, so that a cell more or less changes no other.
pub fn seed(input: &Input, cell: &Cell, metric: &str, purpose: &str) -> u64 {
    // FNV-1a (Fowler, Noll and Vo), 64 bits.
    let name = cell.name();
    let bytes = [&name, metric, purpose].into_iter().flat_map(|word| word.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    input.header.seed ^ hash
}
