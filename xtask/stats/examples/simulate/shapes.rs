//! Made-up experiments: what runs of a cell look like, and what happens to a machine meanwhile.

use meter::random::Random;
use stats::series::Run;

/// What the runs of every cell look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Normal, CV 1 %.
    Normal,
    /// Lognormal with σ = 0.5.
    Lognormal,
    /// Two levels 5 % apart, as likely as each other; noise 1 %.
    Bimodal,
    /// Two levels 5 % apart, one in 5 % of the runs; noise 1 %.
    BimodalRare,
    /// Noise 1 %, and in 4 % of the runs a stall of Pareto's distribution (5 % at least, index 1.5).
    Stalls,
    /// Each run depends on the one before it in time, of whatever cell (ρ = 0.9); CV 1 %.
    AutocorrelatedInTime,
    /// Each run depends on its cell's run of the block before (ρ = 0.5); CV 1 %.
    AutocorrelatedInCell,
    /// CV 1 %, and the machine slows down by 10 % from beginning to end.
    Drift,
    /// CV 1 %, rounded to whole percent.
    Ties,
    /// No run differs from another.
    Constant,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Normal,
        Self::Lognormal,
        Self::Bimodal,
        Self::BimodalRare,
        Self::Stalls,
        Self::AutocorrelatedInTime,
        Self::AutocorrelatedInCell,
        Self::Drift,
        Self::Ties,
        Self::Constant,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal, CV 1 %",
            Self::Lognormal => "lognormal, σ 0.5",
            Self::Bimodal => "bimodal, 5 % apart",
            Self::BimodalRare => "bimodal, 5 % of the runs",
            Self::Stalls => "stalls: 1 % noise, 4 % Pareto",
            Self::AutocorrelatedInTime => "autocorrelated in time, ρ 0.9",
            Self::AutocorrelatedInCell => "autocorrelated in each cell, ρ 0.5",
            Self::Drift => "drift of 10 %",
            Self::Ties => "ties: rounded to 1 %",
            Self::Constant => "constant",
        }
    }
}

/// A made-up experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// What runs look like.
    pub shape: Shape,
    /// Factor to the noise of shapes with a CV of 1 %.
    pub noise: f64,
    /// For each cell, its true mean over the baseline's.
    pub ratios: Vec<f64>,
    /// For each cell, a factor to its deviations from its mean.
    pub spreads: Vec<f64>,
    /// For each cell, how much it drifts from beginning to end by itself, as a share.
    pub drifts: Vec<f64>,
    /// Blocks in all.
    pub blocks: u32,
    /// Boots (or hosts), which share the blocks evenly.
    pub boots: u32,
    /// Standard deviation of what a boot does to each cell by itself, as a share.
    pub boot_effect: f64,
    /// Share of trials that don't complete.
    pub missing: f64,
    /// How much the first block of each boot is slower, as a share.
    pub cold: f64,
}

impl Experiment {
    /// `cells` equal cells.
    pub fn equal(shape: Shape, cells: usize, blocks: u32) -> Self {
        Self {
            shape,
            noise: 1.0,
            ratios: vec![1.0; cells],
            spreads: vec![1.0; cells],
            drifts: vec![0.0; cells],
            blocks,
            boots: 1,
            boot_effect: 0.0,
            missing: 0.0,
            cold: 0.0,
        }
    }

    /// The runs of each cell.
    pub fn run(&self, random: &mut Random) -> Vec<Vec<Run>> {
        let cells = self.ratios.len();
        let mut runs = vec![Vec::with_capacity(self.blocks as usize); cells];
        let mut order: Vec<usize> = (0..cells).collect();
        let (mut machine, mut own) = (normal(random), vec![0.0; cells]);
        own.fill_with(|| normal(random));
        let mut of_boot = vec![0.0; cells];
        let (mut boot, mut first) = (u32::MAX, false);
        for block in 0..self.blocks {
            let now = block * self.boots / self.blocks;
            if now != boot {
                (boot, first) = (now, true);
                of_boot.fill_with(|| self.boot_effect * normal(random));
            }
            random.shuffle(&mut order);
            for (place, &cell) in order.iter().enumerate() {
                let progress = (f64::from(block) + place as f64 / cells as f64) / f64::from(self.blocks);
                machine = 0.9 * machine + (1.0_f64 - 0.81).sqrt() * normal(random);
                own[cell] = 0.5 * own[cell] + 0.75_f64.sqrt() * normal(random);
                let deviation = self.deviation(machine, own[cell], random) * self.spreads[cell];
                let drift = if self.shape == Shape::Drift { 0.1 } else { 0.0 } + self.drifts[cell];
                let mut value = self.ratios[cell] * (1.0 + deviation) * (1.0 + of_boot[cell]);
                value *= (1.0 + drift * progress) * if first { 1.0 + self.cold } else { 1.0 };
                if self.shape == Shape::Ties {
                    value = (value * 100.0).round() / 100.0;
                }
                if random.unit() > self.missing {
                    runs[cell].push(Run { boot, block, value });
                }
            }
            first = false;
        }
        runs
    }

    /// How far a run is from its cell's level, as a share.
    fn deviation(&self, machine: f64, own: f64, random: &mut Random) -> f64 {
        let noise = 0.01 * self.noise * normal(random);
        match self.shape {
            Shape::Normal | Shape::Drift | Shape::Ties => noise,
            Shape::Lognormal => (0.5 * normal(random)).exp() - 1.0,
            Shape::Bimodal => noise + if random.unit() < 0.5 { 0.05 } else { 0.0 },
            Shape::BimodalRare => noise + if random.unit() < 0.05 { 0.05 } else { 0.0 },
            Shape::Stalls => {
                noise + if random.unit() < 0.04 { 0.05 * random.unit().powf(-1.0 / 1.5) } else { 0.0 }
            }
            Shape::AutocorrelatedInTime => 0.01 * self.noise * machine,
            Shape::AutocorrelatedInCell => 0.01 * self.noise * own,
            Shape::Constant => 0.0,
        }
    }
}

/// A standard normal number (Box and Muller).
pub fn normal(random: &mut Random) -> f64 {
    (-2.0 * random.unit().ln()).sqrt() * (std::f64::consts::TAU * random.unit()).cos()
}
