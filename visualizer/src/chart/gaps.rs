//! Where data is missing. In: columns with `None`. Out: the runs to draw and the gaps between them. Pure; the rule of the
//! pages (`web/src/charts/gaps.ts`).
//!
//! Keeps: a line is broken exactly where more than 2.5 of its own steps passed without a sample; a sender that reports
//! every 30 s is not full of holes on a grid of 10 s, and one lost report is not a gap.

pub(super) type Column = [Option<f64>];

/// The times of a chart. Milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Start of the first step.
    pub(super) t0: i64,
    pub(super) step: i64,
    pub(super) from: i64,
    pub(super) to: i64,
    /// Nothing was expected before this time: emptiness there is no gap.
    pub(super) since: i64,
    /// What lies after this is not known yet.
    pub(super) until: i64,
}

impl Extent {
    pub(super) fn at(&self, index: usize) -> i64 {
        self.t0 + index as i64 * self.step
    }

    fn begins(&self) -> i64 {
        self.from.max(self.since)
    }

    fn ends(&self) -> i64 {
        self.to.min(self.until)
    }
}

/// A time without samples; `is_partial` when some other line has data there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) is_partial: bool,
}

/// Twice the tolerated distance in steps: 2.5 steps.
const TWICE_TOLERANCE: usize = 5;

fn present(column: &Column) -> impl DoubleEndedIterator<Item = usize> {
    column.iter().enumerate().filter(|(_, value)| value.is_some()).map(|(i, _)| i)
}

/// The usual distance between two samples, in steps.
fn stride(column: &Column) -> usize {
    let samples: Vec<usize> = present(column).collect();
    let mut distances: Vec<usize> = samples.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if distances.len() < 3 {
        return 1;
    }
    distances.sort_unstable();
    distances[distances.len() / 2]
}

/// Whether two samples so many steps apart are joined.
fn joins(column_stride: usize, steps: usize) -> bool {
    2 * steps <= TWICE_TOLERANCE * column_stride
}

/// Indexes to draw, cut where the line breaks.
pub(super) fn runs(column: &Column) -> Vec<Vec<usize>> {
    let stride = stride(column);
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for i in present(column) {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|last| joins(stride, i - last)) => run.push(i),
            _ => runs.push(vec![i]),
        }
    }
    runs
}

/// The newest sample, when nothing is missing between it and the end.
pub(super) fn newest(column: &Column, extent: &Extent) -> Option<(usize, f64)> {
    let i = present(column).next_back()?;
    let reach = (TWICE_TOLERANCE * stride(column)) as i64 * extent.step / 2;
    let is_near = extent.ends() - extent.at(i) <= reach.max(extent.step);
    column[i].filter(|_| is_near).map(|value| (i, value))
}

type Interval = (i64, i64);

/// What one column lacks within the extent; before its first sample and after its last one, too.
fn missing(column: &Column, extent: &Extent) -> Vec<Interval> {
    let reach = (TWICE_TOLERANCE * stride(column)) as i64 * extent.step / 2;
    let (begins, ends) = (extent.begins(), extent.ends());
    let mut before = begins;
    let mut found = Vec::new();
    let mut is_empty = true;
    for at in present(column).map(|i| extent.at(i)) {
        if at - before > reach {
            found.push((before, at));
        }
        before = at.max(begins);
        is_empty = false;
    }
    let reach = if is_empty { 0 } else { reach };
    if ends - before > reach {
        found.push((before, ends));
    }
    found
}

fn intersect(a: &[Interval], b: &[Interval]) -> Vec<Interval> {
    let (mut i, mut j) = (0, 0);
    let mut found = Vec::new();
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let (from, to) = (x.0.max(y.0), x.1.min(y.1));
        if to > from {
            found.push((from, to));
        }
        if x.1 < y.1 { i += 1 } else { j += 1 }
    }
    found
}

fn subtract(from: &[Interval], cut: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    for &(first, end) in from {
        let mut begin = first;
        for &(x, y) in cut.iter().filter(|(x, y)| *y > first && *x < end) {
            if x > begin {
                left.push((begin, x));
            }
            begin = y;
        }
        if end > begin {
            left.push((begin, end));
        }
    }
    left
}

fn union(mut all: Vec<Interval>) -> Vec<Interval> {
    all.sort_unstable();
    let mut found: Vec<Interval> = Vec::new();
    for (from, to) in all {
        match found.last_mut() {
            Some(tail) if from <= tail.1 => tail.1 = tail.1.max(to),
            _ => found.push((from, to)),
        }
    }
    found
}

/// Gaps of a whole chart, by time: where every line lacks data, and where only some do.
pub(super) fn gaps(columns: &[&Column], extent: &Extent) -> Vec<Gap> {
    let each: Vec<_> = columns.iter().map(|column| missing(column, extent)).collect();
    let whole = each.iter().cloned().reduce(|a, b| intersect(&a, &b));
    let whole = whole.unwrap_or_else(|| missing(&[], extent));
    // a line that begins or never speaks in this range (a new disk) is no hole in the others
    let some = columns.iter().zip(&each).flat_map(|(column, missing)| {
        let first = present(column).next().map(|i| extent.at(i));
        missing.iter().copied().filter(move |gap| first.is_some_and(|first| gap.0 >= first))
    });
    let partial = subtract(&union(some.collect()), &whole);
    let partial = partial.into_iter().filter(|(from, to)| 2 * (to - from) > 5 * extent.step);
    let mut gaps: Vec<Gap> =
        whole.into_iter().map(|(from, to)| Gap { from, to, is_partial: false }).collect();
    gaps.extend(partial.map(|(from, to)| Gap { from, to, is_partial: true }));
    gaps.sort_unstable_by_key(|gap| gap.from);
    gaps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extent(len: usize) -> Extent {
        Extent { t0: 0, step: 10, from: 0, to: 10 * len as i64, since: 0, until: i64::MAX }
    }

    fn column(text: &str) -> Vec<Option<f64>> {
        text.chars().map(|c| (c == 'x').then_some(1.0)).collect()
    }

    #[test]
    fn a_lost_report_joins_and_three_do_not() {
        assert_eq!(runs(&column("xxx.xxx")).len(), 1);
        assert_eq!(runs(&column("xxx..xxxx")), [vec![0, 1, 2], vec![5, 6, 7, 8]]);
        assert_eq!(runs(&column("x..x..x..x")).len(), 1, "it reports every third step");
        assert!(runs(&column("....")).is_empty());
    }

    #[test]
    fn a_gap_of_all_is_whole_and_of_one_is_partial() {
        let (a, b) = (column("xxxx....xxxx"), column("xxxxxxxx.xxx"));
        let gap = |from, to, is_partial| Gap { from, to, is_partial };
        assert_eq!(gaps(&[&a], &extent(12)), [gap(30, 80, false)]);
        assert_eq!(gaps(&[&a, &b], &extent(12)), [gap(30, 80, true)]);
        assert_eq!(gaps(&[&column("....")], &extent(4)), [gap(0, 40, false)]);
        assert_eq!(gaps(&[], &extent(4)), [gap(0, 40, false)]);
        let late = Extent { since: 60, ..extent(12) };
        assert_eq!(gaps(&[&column("......xxxxxx")], &late), [], "nobody was there before");
    }

    #[test]
    fn the_newest_value_is_now_or_none() {
        assert_eq!(newest(&column("xxxx.."), &extent(6)), None);
        assert_eq!(newest(&column("xxxxx."), &extent(6)), Some((4, 1.0)));
        let unknown = Extent { until: 35, ..extent(6) };
        assert_eq!(newest(&column("xxx..."), &unknown), Some((2, 1.0)), "the rest has not happened yet");
    }

    proptest! {
        #[test]
        fn each_sample_is_in_one_run_and_no_run_spans_a_gap(text in "[x.]{0,40}") {
            let (column, extent) = (column(&text), extent(text.len()));
            let runs = runs(&column);
            let all: Vec<usize> = runs.iter().flatten().copied().collect();
            prop_assert_eq!(all, present(&column).collect::<Vec<_>>());
            for gap in gaps(&[&column], &extent) {
                for run in &runs {
                    let (first, last) = (extent.at(run[0]), extent.at(run[run.len() - 1]));
                    prop_assert!(last <= gap.from || first >= gap.to, "{:?} {:?}", run, gap);
                }
            }
        }
    }
}
