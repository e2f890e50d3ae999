//! A file's verdicts as a picture: values in their bands, the score below, alerts through all of it.
//!
//! In: a table and what was said of it, with bands. Out: an SVG. Keeps: nothing is told by colour alone; a long file costs no
//! more points than the picture has columns.

use std::fmt::Write as _;

use tidewatch_analyzer::{detect::Band, incident::words::number};

use super::{
    judge::{Row, Verdicts},
    table::Table,
};

/// Series shown at most: those with the most alerts.
const SHOWN: usize = 6;
const WIDTH: usize = 1_200;
/// Left of the plots: their scales.
const LEFT: usize = 80;
const RIGHT: usize = 16;
const COLUMNS: usize = WIDTH - LEFT - RIGHT;
const TOP: f64 = 40.0;
/// Of one plot, and between two.
const HEIGHT: f64 = 130.0;
const BETWEEN: f64 = 34.0;
/// Scores above are drawn there.
const HIGHEST_SCORE: f64 = 5.0;
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600;font-size:14px}\
    .frame{fill:none;stroke:#bbb}.band{fill:#9db8d9;fill-opacity:.45}.line{fill:none;stroke:#1f4e8c;stroke-width:1.2}\
    .one{stroke:#777;stroke-dasharray:4 3}.alert{stroke:#c0392b;stroke-opacity:.6}.mark{fill:#c0392b}";

pub(super) fn svg(name: &str, table: &Table, verdicts: &Verdicts) -> String {
    let shown = shown(table.series.len(), &verdicts.rows);
    let alerts: Vec<f64> = verdicts.alerts.iter().map(|alert| x(alert.row, table.seconds.len())).collect();
    let bottom = TOP + (HEIGHT + BETWEEN) * (shown.len() + 1) as f64;
    let mut svg = String::new();
    let name = escaped(name);
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom}" role="img"><title>{name}: {} rows, alerts: {}</title><style>{STYLE}</style>"#,
        table.seconds.len(),
        alerts.len()
    );
    let _ = writeln!(svg, r#"<text class="title" x="{LEFT}" y="18">{name}</text>"#);
    for (place, &series) in shown.iter().enumerate() {
        let plot = Plot::of_values(place, &table.series[series].values);
        plot.frame(&mut svg, &escaped(&table.series[series].name));
        if let Some(bands) = verdicts.bands.get(series) {
            plot.band(&mut svg, bands);
        }
        plot.line(&mut svg, &table.series[series].values);
    }
    let scores: Vec<f64> = verdicts.rows.iter().map(|row| row.score.min(HIGHEST_SCORE)).collect();
    let highest = scores.iter().copied().fold(2.0, f64::max);
    let plot = Plot { top: top(shown.len()), low: 0.0, high: highest };
    plot.frame(&mut svg, "score; 1 and above is an alert");
    plot.line(&mut svg, &scores);
    let one = plot.y(1.0);
    let right = WIDTH - RIGHT;
    let _ = writeln!(svg, r#"<line class="one" x1="{LEFT}" x2="{right}" y1="{one:.1}" y2="{one:.1}"/>"#);
    let end = plot.top + HEIGHT;
    for at in alerts {
        let _ = writeln!(
            svg,
            r#"<line class="alert" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{end}"/><path class="mark" d="M{at:.1} {TOP}l-5 -8h10z"/>"#
        );
    }
    times(&mut svg, &table.times, end + 16.0);
    svg + "</svg>\n"
}

/// The series with the most alerts, then those that come first; in the order of the file.
fn shown(series: usize, rows: &[Row]) -> Vec<usize> {
    let mut alerts = vec![0_usize; series];
    for row in rows.iter().filter(|row| row.is_alert()) {
        if let Some(count) = row.series.and_then(|series| alerts.get_mut(series)) {
            *count += 1;
        }
    }
    let mut order: Vec<usize> = (0..series).collect();
    order.sort_by_key(|&series| std::cmp::Reverse(alerts[series]));
    order.truncate(SHOWN);
    order.sort_unstable();
    order
}

fn top(place: usize) -> f64 {
    TOP + (HEIGHT + BETWEEN) * place as f64
}

/// Where a row is: rows stand side by side, whatever their times.
fn x(row: usize, rows: usize) -> f64 {
    LEFT as f64 + (row as f64 + 0.5) * COLUMNS as f64 / rows.max(1) as f64
}

/// The rows of each column of the picture, and where that is.
fn columns(rows: usize) -> impl Iterator<Item = (f64, std::ops::Range<usize>)> {
    let count = rows.min(COLUMNS);
    (0..count).map(move |column| {
        let range = column * rows / count..(column + 1) * rows / count;
        (x(range.start, rows), range)
    })
}

/// One scale in one place.
struct Plot {
    top: f64,
    low: f64,
    high: f64,
}

impl Plot {
    fn of_values(place: usize, values: &[f64]) -> Self {
        let (low, high) = extremes(values).unwrap_or((0.0, 0.0));
        // half of both first: the difference of two large ones may not be a number
        let room =
            if high > low { (high / 2.0 - low / 2.0).max(1e-300) * 0.2 } else { high.abs().max(1.0) * 0.1 };
        Self { top: top(place), low: (low - room).max(f64::MIN), high: (high + room).min(f64::MAX) }
    }

    fn y(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let part = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        self.top + HEIGHT * (1.0 - part)
    }

    fn frame(&self, svg: &mut String, title: &str) {
        let top = self.top;
        let _ = writeln!(
            svg,
            r#"<rect class="frame" x="{LEFT}" y="{top}" width="{COLUMNS}" height="{HEIGHT}"/><text x="{LEFT}" y="{}">{title}</text>"#,
            top - 5.0
        );
        for (y, value) in [(top + 11.0, self.high), (top + HEIGHT, self.low)] {
            let (x, text) = (LEFT - 6, number(value));
            let _ = writeln!(svg, r#"<text x="{x}" y="{y}" text-anchor="end">{text}</text>"#);
        }
    }

    /// From the least to the largest value of each column.
    fn line(&self, svg: &mut String, values: &[f64]) {
        let mut path = String::new();
        let mut is_open = false;
        for (x, rows) in columns(values.len()) {
            let Some((low, high)) = extremes(&values[rows]) else {
                is_open = false;
                continue;
            };
            let _ = write!(path, "{}{x:.1} {:.1}", if is_open { 'L' } else { 'M' }, self.y(low));
            // a point of its own would not be seen without a line
            let _ = write!(path, "V{:.1}", self.y(high) - if high > low { 0.0 } else { 0.1 });
            is_open = true;
        }
        let _ = writeln!(svg, r#"<path class="line" d="{path}"/>"#);
    }

    fn band(&self, svg: &mut String, bands: &[Option<Band>]) {
        let mut upper: Vec<(f64, f64)> = Vec::new();
        let mut lower: Vec<(f64, f64)> = Vec::new();
        for (x, rows) in columns(bands.len()) {
            let known = || bands[rows.clone()].iter().flatten();
            let high = known().map(|band| band.high).reduce(f64::max);
            let low = known().map(|band| band.low).reduce(f64::min);
            if let (Some(high), Some(low)) = (high, low) {
                upper.push((x, self.y(high)));
                lower.push((x, self.y(low)));
            }
        }
        let points: Vec<String> =
            upper.iter().chain(lower.iter().rev()).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(svg, r#"<polygon class="band" points="{}"/>"#, points.join(" "));
    }
}

/// Least and largest of those that are known.
fn extremes(values: &[f64]) -> Option<(f64, f64)> {
    let known = || values.iter().copied().filter(|value| value.is_finite());
    Some((known().reduce(f64::min)?, known().reduce(f64::max)?))
}

/// First, middle and last.
fn times(svg: &mut String, times: &[String], y: f64) {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return };
    let places = [
        ("start", LEFT, first),
        ("middle", LEFT + COLUMNS / 2, &times[times.len() / 2]),
        ("end", WIDTH - RIGHT, last),
    ];
    for (anchor, x, time) in places {
        let _ = writeln!(svg, r#"<text x="{x}" y="{y}" text-anchor="{anchor}">{}</text>"#, escaped(time));
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{judge, tests::sample};

    #[test]
    fn a_picture_has_a_plot_for_each_series_and_a_mark_for_each_alert() {
        let table = sample(3, &[(1, 90.0)]);
        let svg = svg("a <b> & c", &table, &judge::each(&table, true));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &lt;b&gt; &amp; c: 1000 rows, alerts: 1"), "{svg}");
        for (what, count) in
            [("class=\"line\"", 4), ("class=\"band\"", 3), ("class=\"mark\"", 1), ("<rect", 4)]
        {
            assert_eq!(svg.matches(what).count(), count, "{what}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn a_long_file_costs_no_more_points_than_columns() {
        assert_eq!(columns(100).count(), 100);
        let all: Vec<_> = columns(1_000_003).collect();
        assert_eq!(all.len(), COLUMNS);
        assert_eq!((all[0].1.start, all[COLUMNS - 1].1.end), (0, 1_000_003));
        assert!(all.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
        assert_eq!(columns(0).count(), 0);
    }

    #[test]
    fn the_series_with_alerts_are_shown() {
        let mut rows = vec![Row { score: 0.5, series: Some(0) }; 10];
        rows.extend([Row { score: 2.0, series: Some(30) }; 2]);
        rows.push(Row { score: 2.0, series: Some(9) });
        assert_eq!(shown(38, &rows), [0, 1, 2, 3, 9, 30]);
        assert_eq!(shown(2, &rows), [0, 1]);
    }

    #[test]
    fn what_is_missing_huge_or_constant_is_drawn() {
        for values in
            [vec![f64::NAN; 5], vec![7.0; 5], vec![f64::MAX, f64::MIN, 0.0, f64::INFINITY, 1.0], vec![]]
        {
            let plot = Plot::of_values(0, &values);
            let mut svg = String::new();
            plot.line(&mut svg, &values);
            plot.band(&mut svg, &vec![None; values.len()]);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
