//! The lines of a picture: what they are called, and who gets a colour. In: series, scores. Out: names, ranks. Pure; the
//! rules of the pages (`web/src/panels/other.ts`, `web/src/charts/rank.ts`).
//!
//! Keeps: the suspect takes the first colour and is drawn last; beyond eight lines only the top three are named, and there
//! is never a ninth colour.

use std::collections::{BTreeMap, BTreeSet};

use tidewatch_schemas::Labels;

use crate::query::columns::{Band, Columns};

const MOST: usize = 8;
const NAMED: usize = 3;

/// One series as it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) columns: Columns,
    pub(super) band: Option<Band>,
}

impl Line {
    /// Newest value, however old.
    fn level(&self) -> f64 {
        self.columns.avg.iter().rev().find_map(|value| *value).unwrap_or(f64::NEG_INFINITY)
    }
}

/// What puts series in order: numbers by their size.
pub(super) fn order<'a>(metric: &'a str, labels: &'a Labels) -> (&'a str, Vec<(u64, &'a str)>) {
    let values = labels.values().map(|value| (value.parse().unwrap_or(u64::MAX), value.as_str()));
    (metric, values.collect())
}

/// Labels that tell series apart: one alone where one is enough, the most telling first.
pub(super) fn varying<'a>(series: &[&'a Labels]) -> Vec<&'a str> {
    let mut values: BTreeMap<&str, BTreeSet<Option<&String>>> = BTreeMap::new();
    for name in series.iter().flat_map(|labels| labels.keys()) {
        values.entry(name).or_insert_with(|| series.iter().map(|labels| labels.get(name)).collect());
    }
    let differ: Vec<&str> =
        values.iter().filter(|(_, values)| values.len() > 1).map(|(name, _)| *name).collect();
    let alone = |name: &&&str| values.get(**name).is_some_and(|values| values.len() == series.len());
    let telling = ["mountpoint", "device", "interface", "name"];
    let known = telling.iter().filter(|name| differ.contains(name)).find(alone);
    let one = known.or_else(|| differ.iter().find(alone)).copied();
    one.map_or(differ, |one| vec![one])
}

/// A name for each series, by what tells it from the others of its metric.
pub(super) fn names(series: &[(&str, &Labels)]) -> Vec<String> {
    let mut metrics: BTreeMap<&str, Vec<&Labels>> = BTreeMap::new();
    for &(metric, labels) in series {
        metrics.entry(metric).or_default().push(labels);
    }
    let mut by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (metric, labels) in &metrics {
        let names = match labels[..] {
            [one] => one.keys().map(String::as_str).collect(),
            _ => varying(labels),
        };
        by.insert(*metric, names);
    }
    let is_one_metric = metrics.len() == 1;
    let name = |(metric, labels): &(&str, &Labels)| {
        let by = by.get(metric).map(Vec::as_slice).unwrap_or_default();
        let words = by.iter().map(|label| word(label, labels.get(*label).map_or("–", String::as_str)));
        let prefix = (!is_one_metric || by.is_empty()).then(|| (*metric).to_owned());
        prefix.into_iter().chain(words).collect::<Vec<_>>().join(" ")
    };
    series.iter().map(name).collect()
}

/// A bare number names nothing: "fan 3", not "3".
fn word(label: &str, value: &str) -> String {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { format!("{label} {value}") } else { value.to_owned() }
}

/// Who gets which colour; by index of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranking {
    /// In the order of the legend: the first has colour 1.
    pub(super) named: Vec<usize>,
    pub(super) crowd: Vec<usize>,
    pub(super) suspect: Option<usize>,
}

impl Ranking {
    /// By the highest score of each line, where it was odd.
    pub(super) fn of(lines: &[Line], scores: &BTreeMap<usize, f64>) -> Self {
        let score = |i: &usize| scores.get(i).copied().unwrap_or(f64::NEG_INFINITY);
        let worst = scores.iter().rev().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| *i);
        let suspect = worst.filter(|i| *i < lines.len());
        let mut order: Vec<usize> = (0..lines.len()).collect();
        if lines.len() <= MOST {
            order.sort_by_key(|i| Some(*i) != suspect);
            return Self { named: order, crowd: Vec::new(), suspect };
        }
        let levels: Vec<f64> = lines.iter().map(Line::level).collect();
        order.sort_by(|a, b| score(b).total_cmp(&score(a)).then(levels[*b].total_cmp(&levels[*a])));
        let crowd = order.split_off(NAMED);
        Self { named: order, crowd, suspect }
    }

    /// Colour 1 to 8 with the line, in the order of drawing: the crowd (0), then those of low rank, the suspect last.
    pub(super) fn drawn(&self) -> impl Iterator<Item = (usize, usize)> {
        let named = self.named.iter().enumerate().map(|(i, line)| (i + 1, *line));
        let (first, others): (Vec<_>, Vec<_>) =
            named.rev().partition(|(_, line)| Some(*line) == self.suspect);
        self.crowd.iter().map(|line| (0, *line)).chain(others).chain(first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn line(value: f64) -> Line {
        let column = vec![Some(value), None];
        let columns = Columns { avg: column.clone(), min: column.clone(), max: column };
        Line { name: String::new(), columns, band: None }
    }

    #[test]
    fn a_line_is_named_by_what_tells_it_apart() {
        let disks =
            [labels(&[("device", "sda"), ("kind", "ssd")]), labels(&[("device", "sdb"), ("kind", "ssd")])];
        let named = |metric| names(&disks.iter().map(|l| (metric, l)).collect::<Vec<_>>());
        assert_eq!(named("reads"), ["sda", "sdb"]);
        let fans = [labels(&[("fan", "1")]), labels(&[("fan", "10")])];
        assert_eq!(names(&[("rpm", &fans[0]), ("rpm", &fans[1])]), ["fan 1", "fan 10"]);
        assert!(order("rpm", &labels(&[("fan", "2")])) < order("rpm", &fans[1]));
        let none = labels(&[]);
        assert_eq!(names(&[("load1", &none)]), ["load1"]);
        assert_eq!(names(&[("load1", &none), ("load5", &none)]), ["load1", "load5"]);
        assert_eq!(names(&[("reads", &disks[0]), ("reads", &disks[1]), ("busy", &disks[0])])[1], "reads sdb");
        assert_eq!(varying(&[&disks[0], &fans[0]]), ["device"]);
    }

    #[test]
    fn the_suspect_comes_first_and_is_drawn_last() {
        let lines: Vec<Line> = (0..4).map(|i| line(f64::from(i))).collect();
        let ranking = Ranking::of(&lines, &BTreeMap::from([(2, 1.5), (3, 1.2)]));
        assert_eq!((ranking.named.as_slice(), ranking.suspect), (&[2, 0, 1, 3][..], Some(2)));
        assert_eq!(ranking.drawn().last(), Some((1, 2)));
        let many: Vec<Line> = (0..12).map(|i| line(f64::from(i))).collect();
        let ranking = Ranking::of(&many, &BTreeMap::from([(4, 1.1)]));
        assert_eq!((ranking.named.as_slice(), ranking.crowd.len()), (&[4, 11, 10][..], 9));
    }

    proptest! {
        #[test]
        fn each_line_is_drawn_once_and_no_colour_twice(count in 0_usize..40, odd in prop::collection::btree_map(0_usize..50, 0.0_f64..9.0, 0..5)) {
            let lines: Vec<Line> = (0..count).map(|i| line(i as f64)).collect();
            let drawn: Vec<_> = Ranking::of(&lines, &odd).drawn().collect();
            prop_assert_eq!(drawn.iter().map(|d| d.1).collect::<BTreeSet<_>>().len(), count);
            prop_assert_eq!(drawn.len(), count);
            let colours: Vec<_> = drawn.iter().map(|d| d.0).filter(|rank| *rank > 0).collect();
            prop_assert_eq!(colours.iter().collect::<BTreeSet<_>>().len(), colours.len());
            prop_assert!(colours.len() <= MOST);
        }
    }
}
