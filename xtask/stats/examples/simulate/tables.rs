//! The tables, as Markdown.

use stats::power::{Stopping, blocks_to_decide, power};

use crate::{
    shapes::{Experiment, Shape},
    stopping,
    trials::{coverage, false_claims, flags, found},
};

/// A table: the number of experiments behind each figure, to its text.
type Table = fn(u64) -> String;

/// All tables by name.
pub const ALL: [(&str, Table); 6] = [
    ("coverage", coverages),
    ("claims", claims),
    ("power", powers),
    ("flags", flagged),
    ("stopping", stopped),
    ("missing", missing),
];

/// Cells of a family: the baseline and twelve that are compared with it.
const CELLS: usize = 13;
/// Seed of everything.
const SEED: u64 = 2010;

fn percent(count: u64, of: u64) -> String {
    match of {
        0 => "–".to_owned(),
        _ => format!("{:.1}", count as f64 * 100.0 / of as f64),
    }
}

/// The mean of a cell whose runs look like that.
fn mean_of(shape: Shape) -> f64 {
    match shape {
        Shape::Lognormal => 0.125_f64.exp(),
        Shape::Bimodal => 1.025,
        Shape::BimodalRare => 1.0025,
        // 4 % of a mean stall of 5 % · 1.5 / 0.5.
        Shape::Stalls => 1.006,
        Shape::Drift => 1.05,
        _ => 1.0,
    }
}

fn pair(shape: Shape, blocks: u32, ratio: f64) -> Experiment {
    Experiment { ratios: vec![1.0, ratio], ..Experiment::equal(shape, 2, blocks) }
}

/// A name and the experiment for a number of blocks.
type Row = (String, Box<dyn Fn(u32) -> Experiment>, Shape);

/// Every shape on one boot, and boots that do something to each cell by itself.
fn rows(make: fn(Shape, u32) -> Experiment) -> Vec<Row> {
    let shapes = Shape::ALL.into_iter().map(move |shape| -> Row {
        (shape.name().to_owned(), Box::new(move |blocks| make(shape, blocks)), shape)
    });
    let boots = [Shape::Normal, Shape::Stalls].into_iter().flat_map(move |shape| {
        [(5, "boots"), (3, "hosts"), (10, "hosts")].map(|(boots, of)| -> Row {
            let name = format!("{}; {boots} {of}, each cell’s means differ by 2 %", shape.name());
            let make = move |blocks| Experiment { boots, boot_effect: 0.02, ..make(shape, blocks) };
            (name, Box::new(make), shape)
        })
    });
    shapes.chain(boots).collect()
}

fn coverages(times: u64) -> String {
    let mut text = format!(
        "Intervals of 95 % that hold the truth, in percent of {times} experiments with two cells; \
         the second has 1.02 times the first’s runs.\n\n\
         | runs are | N | ratio | difference | variance ratio |\n|---|---:|---:|---:|---:|\n"
    );
    for (name, experiment, shape) in rows(|shape, blocks| pair(shape, blocks, 1.02)) {
        for blocks in [5, 10, 20, 50].into_iter().filter(|&blocks| blocks >= experiment(blocks).boots) {
            let [ratio, of, difference, of_difference, variance, of_variance] =
                coverage(&experiment(blocks), mean_of(shape), times, SEED);
            text += &format!(
                "| {name} | {blocks} | {} | {} | {} |\n",
                percent(ratio, of),
                percent(difference, of_difference),
                percent(variance, of_variance)
            );
        }
    }
    text
}

fn claims(times: u64) -> String {
    let mut text = format!(
        "Families of 12 comparisons between equal cells in which any is called different or small, in percent \
         of {times}.\n\n| runs are | N | a mean | a variance | either |\n|---|---:|---:|---:|---:|\n"
    );
    for (name, experiment, _) in rows(|shape, blocks| Experiment::equal(shape, CELLS, blocks)) {
        for blocks in [10, 20, 50].into_iter().filter(|&blocks| blocks >= experiment(blocks).boots) {
            let [mean, variance, either] = false_claims(&experiment(blocks), times, SEED);
            text += &format!(
                "| {name} | {blocks} | {} | {} | {} |\n",
                percent(mean, times),
                percent(variance, times),
                percent(either, times)
            );
        }
    }
    text
}

fn powers(times: u64) -> String {
    let mut text = format!(
        "True differences that are found, in percent of {times}: in a family of 12 comparisons, and by the \
         interval of 95 % of that cell alone. Stated: by `stats::power`.\n\n\
         | true difference | N | in the family | stated | alone |\n|---|---:|---:|---:|---:|\n"
    );
    let mut row = |name: &str, experiment: &Experiment, stated: Option<f64>, column: usize| {
        let found = found(experiment, times, SEED);
        let stated = stated.map_or("–".to_owned(), |stated| format!("{:.1}", stated * 100.0));
        text += &format!(
            "| {name} | {} | {} | {stated} | {} |\n",
            experiment.blocks,
            percent(found[column], times),
            percent(found[column + 2], times)
        );
    };
    let cells = CELLS - 1;
    for (effect, noise, shape, name) in [
        (0.02, 1.0, Shape::Normal, "mean +2 %, CV 1 %"),
        (0.02, 3.0, Shape::Normal, "mean +2 %, CV 3 %"),
        (0.01, 1.0, Shape::Normal, "mean +1 %, CV 1 %"),
        (0.01, 1.0, Shape::Drift, "mean +1 %, CV 1 %, drift of 10 %"),
        (0.02, 1.0, Shape::Stalls, "mean +2 %, stalls"),
    ] {
        for blocks in [10, 20, 50] {
            let mut experiment = Experiment { noise, ..Experiment::equal(shape, CELLS, blocks) };
            experiment.ratios[1] = 1.0 + effect;
            let stated = power(effect, noise / 100.0, blocks as usize, cells);
            row(name, &experiment, (shape != Shape::Stalls).then_some(stated), 0);
        }
    }
    for (factor, name) in [(2.0_f64, "variance doubled, normal"), (4.0, "standard deviation doubled, normal")]
    {
        for blocks in [20, 50, 100, 200] {
            let mut experiment = Experiment::equal(Shape::Normal, CELLS, blocks);
            experiment.spreads[1] = factor.sqrt();
            row(name, &experiment, None, 1);
        }
    }
    text + &format!(
        "\nBlocks that decide between equality and a margin of 1 % in a family of 12, by `blocks_to_decide`: \
         CV 1 % {}, CV 3 % {}.\n",
        blocks_to_decide(0.01, 0.01, cells),
        blocks_to_decide(0.03, 0.01, cells)
    )
}

fn flagged(times: u64) -> String {
    let mut text = format!(
        "Families of 12 cells that are flagged, in percent of {times}: a cell that moved, a cell with several \
         levels, a first block unlike the others, runs that depend on each other.\n\n\
         | runs are | N | moved | several levels | first block | dependent |\n|---|---:|---:|---:|---:|---:|\n"
    );
    let equal = |shape, blocks| Experiment::equal(shape, CELLS - 1, blocks);
    let mut cases: Vec<Row> = rows(|shape, blocks| Experiment::equal(shape, CELLS - 1, blocks));
    let one = move |blocks| {
        let mut experiment = equal(Shape::Normal, blocks);
        experiment.drifts[0] = 0.05;
        experiment
    };
    cases.push(("normal; one of 12 cells drifts by 5 %".into(), Box::new(one), Shape::Normal));
    let halves = move |blocks| {
        let mut experiment = equal(Shape::Normal, blocks);
        experiment.drifts = (0..12).map(|cell| if cell % 2 == 0 { 0.05 } else { -0.05 }).collect();
        experiment
    };
    cases.push(("normal; half drift up by 5 %, half down".into(), Box::new(halves), Shape::Normal));
    let cold = move |blocks| Experiment { cold: 0.03, ..equal(Shape::Normal, blocks) };
    cases.push(("normal; the first block is 3 % slower".into(), Box::new(cold), Shape::Normal));
    for (name, experiment, _) in cases {
        for blocks in [20, 50] {
            let [moved, levels, first, dependent] = flags(&experiment(blocks), times, SEED);
            text += &format!(
                "| {name} | {blocks} | {} | {} | {} | {} |\n",
                percent(moved, times),
                percent(levels, times),
                percent(first, times),
                percent(dependent, times)
            );
        }
    }
    text
}

fn stopped(times: u64) -> String {
    let mut text = format!(
        "Blocks are added until the intervals of 4 comparisons are as narrow as asked for (at least 10 blocks, at most \
         100): in percent of {times}, how often the interval of one of them then holds the truth; the mean number of \
         blocks.\n\n| runs are | width | coverage | blocks |\n|---|---:|---:|---:|\n"
    );
    for shape in [Shape::Normal, Shape::Bimodal, Shape::Stalls, Shape::Drift] {
        for width in [0.01, 0.02] {
            let rule = Stopping { width, at_least: 10, at_most: 100 };
            let [held, blocks] = stopping::run(shape, rule, times, SEED);
            text += &format!(
                "| {} | {} % | {} | {:.0} |\n",
                shape.name(),
                width * 100.0,
                percent(held, times),
                blocks as f64 / times as f64
            );
        }
    }
    text
}

fn missing(times: u64) -> String {
    let mut text = format!(
        "A tenth of the trials does not complete: coverage of the ratio with two cells, and families of 12 with a \
         false difference, in percent of {times}.\n\n| runs are | N | coverage | false |\n|---|---:|---:|---:|\n"
    );
    for shape in [Shape::Normal, Shape::Bimodal, Shape::Stalls, Shape::Drift] {
        for blocks in [20, 50] {
            let two = Experiment { missing: 0.1, ..pair(shape, blocks, 1.02) };
            let family = Experiment { missing: 0.1, ..Experiment::equal(shape, CELLS, blocks) };
            let [held, of, ..] = coverage(&two, mean_of(shape), times, SEED);
            let [_, _, either] = false_claims(&family, times, SEED);
            text += &format!(
                "| {} | {blocks} | {} | {} |\n",
                shape.name(),
                percent(held, of),
                percent(either, times)
            );
        }
    }
    text
}
