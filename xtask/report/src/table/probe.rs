//! Tables of one probe.

use super::{NONE, Table, shown};
use crate::{
    input::interrupts_metric,
    number::{self, Scale},
    summary::{CostSummary, Estimated, IntervalSummary, MetricSummary, VerdictSummary},
    terminal::MARKS,
    view::{Cell, Probe},
};

/// Means, and how they differ from the baseline.
pub fn results(probe: &Probe) -> Table {
    let mean = probe.scale(5, |metric| metric.max);
    let difference = probe.scale(4, |metric| metric.difference.map(|difference| difference.value));
    let titles = [
        "Cell".to_owned(),
        "Published as".into(),
        "#N".into(),
        format!("#Mean{}", mean.in_brackets()),
        format!("#Median{}", mean.in_brackets()),
        format!("#Difference{}", difference.in_brackets()),
        "#Ratio".into(),
        "#Noise floor".into(),
        "#Ratio of medians".into(),
        "#Paired".into(),
        "#Cliff’s δ".into(),
        "Verdict".into(),
        "Not completed".into(),
    ];
    let caption = format!("{} of {}; 95 % intervals are below the numbers.", probe.main.name, probe.name);
    let mut table = new(caption, &titles);
    for cell in &probe.cells {
        let metric = cell.metric;
        table.rows.push(vec![
            name(cell),
            cell.summary.published_id.clone().unwrap_or_default(),
            metric.n.to_string(),
            with_interval(metric.mean, metric.mean_interval, |value| mean.show(value)),
            shown(metric.median, |value| mean.show(value)),
            estimated(metric.difference, |value| difference.show_signed(value)),
            estimated(metric.ratio, |value| number::fixed(value, 4)),
            shown(metric.noise_floor_percent, |percent| format!("±{}\u{a0}%", number::fixed(percent, 2))),
            shown(metric.median_ratio, |ratio| number::fixed(ratio, 4)),
            shown(metric.pairing, |pairing| number::fixed(pairing, 2)),
            shown(metric.cliffs_delta, |delta| number::signed(delta, 2)),
            verdict(probe, cell),
            cell.summary.lacks(),
        ]);
    }
    table.without_empty_columns()
}

/// Spread of the runs, interrupts, and the cost of one.
pub fn spread(probe: &Probe) -> Table {
    let stdev = probe.scale(4, |metric| metric.stdev);
    let ends = probe.scale(5, |metric| metric.max);
    let range = probe.scale(4, |metric| Some(metric.max? - metric.min?));
    let titles = [
        "Cell".to_owned(),
        "#N".into(),
        format!("#Standard deviation{}", stdev.in_brackets()),
        "#Variance ratio".into(),
        "Verdict".into(),
        format!("#Smallest{}", ends.in_brackets()),
        "#5 %".into(),
        "#95 %".into(),
        "#Largest".into(),
        format!("#Range{}", range.in_brackets()),
        "#Interrupts a run".into(),
        "#Elapsed per interrupt (µs)".into(),
        "#Cost of one (µs)".into(),
        "#Share of elapsed".into(),
        "#Slope (µs)".into(),
    ];
    let caption = format!(
        "Spread of {} of {}, interrupts, and what one costs; 95 % intervals are below the numbers.",
        probe.main.name, probe.name
    );
    let mut table = new(caption, &titles);
    for cell in &probe.cells {
        let metric = cell.metric;
        let percentile = |value: Option<f64>| shown(value, |value| ends.show(value));
        let cost = cell.summary.cost_per_interrupt.as_ref();
        table.rows.push(vec![
            name(cell),
            metric.n.to_string(),
            shown(metric.stdev, |value| stdev.show(value)),
            estimated(metric.variance_ratio, number::ratio),
            metric.variance_verdict.map_or(NONE.to_owned(), words),
            shown(metric.min, |value| ends.show(value)),
            percentile(metric.percentiles.p5),
            percentile(metric.percentiles.p95),
            shown(metric.max, |value| ends.show(value)),
            shown(metric.max.zip(metric.min).filter(|_| metric.n > 1), |(max, min)| range.show(max - min)),
            shown(interrupts(probe, cell).and_then(|metric| metric.mean), |mean| number::fixed(mean, 0)),
            shown(cost.and_then(|cost| cost.elapsed_us), |us| number::fixed(us, 2)),
            shown(cost, cost_in_full),
            shown(cost.and_then(|cost| cost.share_percent), |share| {
                format!("{}\u{a0}%", number::fixed(share, 2))
            }),
            estimated(cost.and_then(|cost| cost.slope_us), |us| number::fixed(us, 2)),
        ]);
    }
    table.without_empty_columns()
}

/// The cost with its interval, or why it is withheld.
fn cost_in_full(cost: &CostSummary) -> String {
    match &cost.withheld {
        Some(reason) => format!("withheld\n{reason}"),
        None => with_interval(cost.us, cost.interval, |us| number::fixed(us, 2)),
    }
}

/// Means of the metrics that the other tables don't show.
pub fn others(probe: &Probe) -> Option<Table> {
    let shown_already = interrupts_metric(probe.spec);
    let others: Vec<_> = probe
        .spec
        .metrics
        .iter()
        .skip(1)
        .filter(|metric| Some(metric.name.as_str()) != shown_already)
        .collect();
    let metric = |cell: &Cell, name: &str| cell.summary.metrics.get(name).and_then(|metric| metric.mean);
    let scales: Vec<Scale> = others
        .iter()
        .map(|spec| {
            let means = probe.cells.iter().filter_map(|cell| metric(cell, &spec.name));
            Scale::of(&spec.unit, means.fold(0.0, f64::max), 4)
        })
        .collect();
    let heads =
        others.iter().zip(&scales).map(|(spec, scale)| format!("#{}{}", spec.name, scale.in_brackets()));
    let titles: Vec<String> = ["Cell".to_owned()].into_iter().chain(heads).collect();
    let mut table = new(format!("Means of the other numbers of {}.", probe.name), &titles);
    for cell in &probe.cells {
        let means = others
            .iter()
            .zip(&scales)
            .map(|(spec, scale)| shown(metric(cell, &spec.name), |value| scale.show(value)));
        table.rows.push([name(cell)].into_iter().chain(means).collect());
    }
    (!others.is_empty()).then_some(table)
}

/// Measured numbers beside published ones; nothing when none were published.
pub fn published(probe: &Probe) -> Option<Table> {
    probe.cells.iter().find_map(|cell| cell.summary.published.as_ref())?;
    let titles = [
        "Cell",
        "Published as",
        "Legibility",
        "#Published mean",
        "#Published ratio",
        "#Measured ratio",
        "#Published range / mean",
        "#Measured range / mean",
        "#Published interrupts",
        "#Measured interrupts",
        "#Published cost (µs)",
        "#Measured cost (µs)",
    ];
    let mut table = Table::new(format!("Measured and published: {}.", probe.name), &titles);
    for cell in &probe.cells {
        let Some(published) = &cell.summary.published else { continue };
        let metric =
            published.metric.as_ref().and_then(|name| cell.summary.metrics.get(name)).unwrap_or(cell.metric);
        let mean = published.elapsed_s.map(|s| number::single(s, "s"));
        let share = |range: f64, mean: f64| format!("{}\u{a0}%", number::fixed(range / mean * 100.0, 2));
        let range = metric.max.zip(metric.min).filter(|_| metric.n > 1).map(|(max, min)| max - min);
        table.rows.push(vec![
            name(cell),
            published.id.clone(),
            published.certainty.clone().unwrap_or_default(),
            mean.or(published.goodput_bps.map(|bps| number::single(bps, "bits/s"))).unwrap_or(NONE.into()),
            shown(published.ratio, |ratio| number::fixed(ratio, 4)),
            estimated(metric.ratio, |value| number::fixed(value, 4)),
            shown(published.range_s.zip(published.elapsed_s), |(range, mean)| share(range, mean)),
            shown(range.zip(metric.mean), |(range, mean)| share(range, mean)),
            shown(mean_of(&published.interrupts), |mean| number::fixed(mean, 0)),
            shown(interrupts(probe, cell).and_then(|metric| metric.mean), |mean| number::fixed(mean, 0)),
            shown(published.cost_us, |us| number::fixed(us, 2)),
            shown(cell.summary.cost_per_interrupt.as_ref().and_then(|cost| cost.us), |us| {
                number::fixed(us, 2)
            }),
        ]);
    }
    Some(table.without_empty_columns())
}

/// The table for the terminal and for Markdown.
pub fn short(probe: &Probe) -> Table {
    let mean = probe.scale(5, |metric| metric.max);
    let difference = probe.scale(4, |metric| metric.difference.map(|difference| difference.value));
    let stdev = probe.scale(3, |metric| metric.stdev);
    let titles = [
        "Cell".to_owned(),
        "#N".into(),
        format!("#Mean{}", mean.in_brackets()),
        format!("#Differs{}", difference.in_brackets()),
        "#Change".into(),
        format!("#Std dev{}", stdev.in_brackets()),
        format!("#Min–max{}", mean.in_brackets()),
        "#Interrupts".into(),
        "#Cost (µs/int.)".into(),
        "Not completed".into(),
    ];
    let better = probe.direction();
    let better = if better.is_empty() { String::new() } else { format!(" ({better})") };
    let caption = format!("{}: {}{better}, against {}", probe.name, probe.main.name, probe.comparison());
    let mut table = new(caption, &titles);
    for cell in &probe.cells {
        let metric = cell.metric;
        let mark =
            MARKS.iter().find(|(word, ..)| metric.verdict.is_some_and(|verdict| verdict.word == *word));
        let mark = mark.map_or(String::new(), |(_, mark, _)| format!(" {mark}"));
        table.rows.push(vec![
            cell.summary.name.clone(),
            metric.n.to_string(),
            shown(metric.mean, |value| mean.show(value)),
            if let Some(control) = cell.summary.control {
                format!("control {} %", number::signed(control.percent, 2))
            } else if cell.summary.is_baseline(probe.summary) {
                "baseline".into()
            } else {
                shown(metric.difference, |value| difference.show_signed(value.value))
            },
            shown(metric.ratio, |ratio| number::percent_change(ratio.value) + &mark),
            shown(metric.stdev, |value| stdev.show(value)),
            shown(metric.min.zip(metric.max), |(min, max)| format!("{}–{}", mean.show(min), mean.show(max))),
            shown(interrupts(probe, cell).and_then(|metric| metric.mean), |mean| number::fixed(mean, 0)),
            shown(cell.summary.cost_per_interrupt.as_ref(), cost),
            cell.summary.lacks(),
        ]);
    }
    table.without_empty_columns()
}

fn cost(cost: &CostSummary) -> String {
    cost.us.map_or_else(|| "withheld".into(), |us| number::fixed(us, 2))
}

/// What can be said of a cell, in words.
fn verdict(probe: &Probe, cell: &Cell) -> String {
    match (cell.metric.verdict, cell.summary.control) {
        (_, Some(control)) => {
            let percent = number::signed(control.percent, 2);
            let word = if control.differs { "DIFFERS" } else { "as it should be" };
            format!("control: {word}\n{percent} %")
        }
        (Some(_), _) => words_of(cell.metric.verdict, probe),
        _ if cell.summary.is_baseline(probe.summary) => "baseline".into(),
        _ if cell.metric.difference.is_some() => "too few blocks".into(),
        _ if cell.metric.n > 0 && cell.summary.compared_with.is_some() => "no block with the baseline".into(),
        _ => NONE.into(),
    }
}

/// A verdict in the metric shown, in words, with its margin.
pub(super) fn words_of(verdict: Option<VerdictSummary>, probe: &Probe) -> String {
    let Some(verdict) = verdict else { return NONE.into() };
    match verdict.word {
        "equivalent" => format!("{}\nwithin ±{} %", words(verdict), probe.main.margin_percent),
        _ => words(verdict),
    }
}

/// A verdict in words.
fn words(verdict: VerdictSummary) -> String {
    let VerdictSummary { word, direction, meaning, units_to_decide } = verdict;
    match (direction, units_to_decide) {
        (Some(direction), _) => {
            let meaning = meaning.map(|meaning| format!(" ({meaning})")).unwrap_or_default();
            format!("{word}\n{direction}{meaning}")
        }
        (None, Some(units)) => format!("{word}\nabout {units} would decide"),
        (None, None) => word.into(),
    }
}

fn interrupts<'a>(probe: &Probe, cell: &Cell<'a>) -> Option<&'a MetricSummary> {
    cell.summary.metrics.get(interrupts_metric(probe.spec)?)
}

/// A number, and on a second line its interval.
pub(super) fn estimated(estimated: Option<Estimated>, show: impl Fn(f64) -> String) -> String {
    with_interval(
        estimated.map(|estimated| estimated.value),
        estimated.and_then(|estimated| estimated.interval),
        show,
    )
}

fn with_interval(
    value: Option<f64>,
    interval: Option<IntervalSummary>,
    show: impl Fn(f64) -> String,
) -> String {
    let second =
        interval.map(|IntervalSummary { low, high }| format!("\n{}\u{a0}to\u{a0}{}", show(low), show(high)));
    shown(value, show) + &second.unwrap_or_default()
}

fn mean_of(counts: &[u64]) -> Option<f64> {
    (!counts.is_empty()).then(|| counts.iter().sum::<u64>() as f64 / counts.len() as f64)
}

/// The cell's name without the probe's, which the section has.
pub(super) fn name(cell: &Cell) -> String {
    format!("{} / {}", cell.summary.cell.attachment, cell.summary.cell.load)
}

pub(super) fn new(caption: String, titles: &[String]) -> Table {
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    Table::new(caption, &titles)
}
