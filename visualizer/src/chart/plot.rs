//! Inside the axes: alerts' grounds, grid, band, gaps, envelopes, lines, marks. In: a sheet with its scales. Out: elements,
//! back to front.
//!
//! Keeps: a gap has no ink of its line; the suspect is on top of the lines, marks and words on top of it.

use std::collections::BTreeMap;

use super::{
    draw::{Odd, Sheet},
    gaps::{newest, runs},
    lines::Line,
    style::Style,
    svg::{Path, Svg, Value, rotated},
    text::width,
    theme::BAND_EDGE_OPACITY,
    words,
};

/// Height of the hatch where only some lines lack data.
const FOOT: f64 = 10.0;

/// A gap this wide says so; a wider one across.
const WIDE: f64 = 26.0;
const ACROSS: f64 = 56.0;

/// Diamonds in one chart: more would hide what they point at.
const MARKS: usize = 3;

pub(super) fn plot(svg: &mut Svg, sheet: &Sheet<'_>) {
    definitions(svg, sheet);
    grid(svg, sheet);
    let clipped = [("clip-path", Value::from("url(#plot)")), ("fill", Value::from("none"))];
    svg.group("g", &clipped, |svg| {
        grounds(svg, sheet);
        band(svg, sheet);
    });
    hatches(svg, sheet);
    let y = sheet.base() + 0.5;
    svg.rule((sheet.left, y), (sheet.right(), y), sheet.picture.theme.baseline);
    svg.group("g", &clipped, |svg| {
        let drawn: Vec<(usize, usize)> = sheet.ranking.drawn().collect();
        for (rank, line) in drawn.iter().filter(|(rank, _)| *rank > 0) {
            envelope(svg, sheet, *rank, &sheet.picture.lines[*line]);
        }
        for (rank, line) in drawn {
            stroke(svg, sheet, rank, &sheet.picture.lines[line]);
        }
    });
    ends(svg, sheet);
    gap_words(svg, sheet);
    marks(svg, sheet);
}

fn definitions(svg: &mut Svg, sheet: &Sheet<'_>) {
    let hatch = [
        ("id", Value::from("hatch")),
        ("width", Value::from(6.0)),
        ("height", Value::from(6.0)),
        ("patternUnits", Value::from("userSpaceOnUse")),
        ("patternTransform", Value::from("rotate(45)")),
    ];
    let line = [
        ("d", Value::from("M0 -1V7")),
        ("stroke", Value::from(sheet.picture.theme.hatch)),
        ("stroke-width", Value::from(1.2)),
        ("stroke-opacity", Value::from(0.55)),
    ];
    svg.group("defs", &[], |svg| {
        svg.group("pattern", &hatch, |svg| svg.empty("path", &line));
        // a line at the very edge keeps its width, and its round end on the right
        let place = rectangle(sheet.left, sheet.top - 2.0, sheet.width + 2.0, sheet.height + 3.0);
        svg.group("clipPath", &[("id", Value::from("plot"))], |svg| svg.empty("rect", &place));
    });
}

fn rectangle(x: f64, y: f64, width: f64, height: f64) -> Vec<(&'static str, Value<'static>)> {
    vec![("x", x.into()), ("y", y.into()), ("width", width.into()), ("height", height.into())]
}

fn grid(svg: &mut Svg, sheet: &Sheet<'_>) {
    for tick in &sheet.ticks {
        let y = sheet.y(*tick).round() + 0.5;
        svg.rule((sheet.left, y), (sheet.right(), y), sheet.picture.theme.grid);
    }
}

/// A breath of the alerts' colours over their time, and where each began.
fn grounds(svg: &mut Svg, sheet: &Sheet<'_>) {
    for stretch in &sheet.picture.stretches {
        let (x0, x1) = (sheet.x(stretch.from), sheet.x(stretch.to));
        let (colour, _) = sheet.picture.theme.severity(stretch.severity);
        let mut ground = rectangle(x0, sheet.top - 2.0, (x1 - x0).max(1.0), sheet.height + 2.0);
        ground.extend([("fill", Value::from(colour)), ("fill-opacity", Value::from(0.06))]);
        svg.empty("rect", &ground);
        if stretch.from > sheet.picture.extent.from {
            let x = x0.round() + 0.5;
            let path = Path::default().line([(x, sheet.top - 2.0), (x, sheet.base())]);
            let rule = [
                ("d", Value::from(path.as_str())),
                ("stroke", Value::from(colour)),
                ("stroke-dasharray", Value::from("1 2")),
            ];
            svg.empty("path", &rule);
        }
    }
}

fn band(svg: &mut Svg, sheet: &Sheet<'_>) {
    let theme = sheet.picture.theme;
    let Some(band) = sheet.band_of.and_then(|i| sheet.picture.lines[i].band.as_ref()) else { return };
    let both: Vec<Option<(f64, f64)>> =
        band.low.iter().zip(&band.high).map(|(low, high)| low.zip(*high)).collect();
    let edge = |value: f64| sheet.y(value).clamp(sheet.top - 1.0, sheet.base());
    let (mut area, mut edges) = (Path::default(), Path::default());
    let mut first = 0;
    for part in both.chunk_by(|a, b| a.is_some() == b.is_some()) {
        let at = |i: usize| sheet.x(sheet.picture.extent.at(first + i));
        let points: Vec<(f64, f64, f64)> = part
            .iter()
            .enumerate()
            .filter_map(|(i, both)| both.map(|(low, high)| (at(i), edge(low), edge(high))))
            .collect();
        first += part.len();
        if points.is_empty() {
            continue;
        }
        let (low, high) = (points.iter().map(|p| (p.0, p.1)), points.iter().map(|p| (p.0, p.2)));
        area = area.area(high.clone().chain(low.clone().rev()));
        edges = edges.line(high).line(low);
    }
    let fill = [
        ("d", Value::from(area.as_str())),
        ("fill", Value::from(theme.tide)),
        ("fill-opacity", Value::from(theme.band_opacity)),
    ];
    let stroke = [
        ("d", Value::from(edges.as_str())),
        ("stroke", Value::from(theme.tide)),
        ("stroke-opacity", Value::from(BAND_EDGE_OPACITY)),
    ];
    if !area.is_empty() {
        svg.empty("path", &fill);
        svg.empty("path", &stroke);
    }
}

fn hatches(svg: &mut Svg, sheet: &Sheet<'_>) {
    for gap in &sheet.gaps {
        let (x0, x1) = (sheet.x(gap.from).max(sheet.left), sheet.x(gap.to).min(sheet.right()));
        if x1 - x0 < 1.0 {
            continue;
        }
        let top = if gap.is_partial { sheet.base() - FOOT } else { sheet.top };
        // two pixels of air on each side: the line's own end must not look hatched
        let mut hatch = rectangle(x0 + 2.0, top, (x1 - x0 - 4.0).max(1.0), sheet.base() - top);
        hatch.push(("fill", Value::from("url(#hatch)")));
        svg.empty("rect", &hatch);
    }
}

fn envelope(svg: &mut Svg, sheet: &Sheet<'_>, rank: usize, line: &Line) {
    let columns = &line.columns;
    if columns.min == columns.max {
        return;
    }
    let point = |i: &usize, column: &[Option<f64>]| {
        let value = column[*i].or(columns.avg[*i]).unwrap_or_default();
        (sheet.x(sheet.picture.extent.at(*i)), sheet.y(value))
    };
    let mut path = Path::default();
    for run in runs(&columns.avg).iter().filter(|run| run.len() > 1) {
        let top = run.iter().map(|i| point(i, &columns.max));
        let bottom = run.iter().rev().map(|i| point(i, &columns.min));
        path = path.area(top.chain(bottom));
    }
    let attributes = [
        ("d", Value::from(path.as_str())),
        ("fill", Value::from(sheet.picture.theme.line(rank))),
        ("fill-opacity", Value::from(0.2)),
    ];
    svg.empty("path", &attributes);
}

fn stroke(svg: &mut Svg, sheet: &Sheet<'_>, rank: usize, line: &Line) {
    let column = &line.columns.avg;
    let colour = sheet.picture.theme.line(rank);
    let mut path = Path::default();
    for run in runs(column) {
        let points =
            run.iter().filter_map(|i| Some((sheet.x(sheet.picture.extent.at(*i)), sheet.y(column[*i]?))));
        match run[..] {
            // a sample with gaps on both sides has no line; it still happened
            [_] => points.for_each(|(x, y)| dot(svg, x, y, 1.25, colour, None)),
            _ => path = path.line(points),
        }
    }
    if path.is_empty() {
        return;
    }
    let attributes = [
        ("d", Value::from(path.as_str())),
        ("stroke", Value::from(colour)),
        ("stroke-width", Value::from(if rank == 0 { 1.0 } else { 1.5 })),
        ("stroke-linejoin", Value::from("round")),
        ("stroke-linecap", Value::from("round")),
    ];
    svg.empty("path", &attributes);
}

fn dot(svg: &mut Svg, x: f64, y: f64, radius: f64, fill: &'static str, rim: Option<&'static str>) {
    let mut circle =
        vec![("cx", Value::from(x)), ("cy", y.into()), ("r", radius.into()), ("fill", fill.into())];
    circle.extend(rim.map(|rim| ("stroke", Value::from(rim))));
    svg.empty("circle", &circle);
}

/// A dot on the newest value of each named line that reaches the end.
fn ends(svg: &mut Svg, sheet: &Sheet<'_>) {
    for (rank, line) in sheet.ranking.drawn().filter(|(rank, _)| *rank > 0) {
        let picture = sheet.picture;
        let Some((i, value)) = newest(&picture.lines[line].columns.avg, &picture.extent) else { continue };
        let x = sheet.x(picture.extent.at(i));
        if x >= sheet.left {
            dot(svg, x, sheet.y(value), 2.5, picture.theme.line(rank), Some(picture.theme.surface));
        }
    }
}

fn gap_words(svg: &mut Svg, sheet: &Sheet<'_>) {
    let theme = sheet.picture.theme;
    let style = Style::new(10.5, theme.ink_2).middle().rim(theme.surface, 4.0);
    let middle = sheet.top + sheet.height / 2.0;
    if sheet.picture.lines.is_empty() {
        let (x, seen) = (sheet.left + sheet.width / 2.0, sheet.picture.last_seen);
        let main = Style::new(13.0, theme.ink).bold().middle().rim(theme.surface, 6.0);
        svg.words(x, middle + if sheet.height < 60.0 { 4.0 } else { -2.0 }, main, "no data");
        let since = format!("last seen {}, {} UTC", words::day(seen), words::clock(seen));
        if sheet.height >= 60.0 && width(&since, style.size, style.weight) <= sheet.width {
            svg.words(x, middle + 15.0, style, &since);
        }
        return;
    }
    for gap in sheet.gaps.iter().filter(|gap| !gap.is_partial) {
        let (x0, x1) = (sheet.x(gap.from).max(sheet.left), sheet.x(gap.to).min(sheet.right()));
        let x = f64::midpoint(x0, x1);
        if x1 - x0 >= ACROSS {
            svg.words(x, middle + 4.0, style, "no data");
        } else if x1 - x0 >= WIDE && sheet.height >= 60.0 {
            svg.turned_words(x, middle + 4.0, style, "no data", Some(&rotated(-90, x, middle)));
        }
    }
}

fn marks(svg: &mut Svg, sheet: &Sheet<'_>) {
    let (picture, theme) = (sheet.picture, sheet.picture.theme);
    let mut peaks: BTreeMap<usize, &Odd> = BTreeMap::new();
    for odd in &picture.odd {
        let (x0, x1) = (sheet.x(odd.from).max(sheet.left), sheet.x(odd.to).min(sheet.right()));
        if x1 < sheet.left || x0 > sheet.right() {
            continue;
        }
        let mut bar = rectangle(x0, sheet.base() - 2.0, (x1 - x0).max(3.0), 3.0);
        bar.push(("fill", Value::from(theme.odd)));
        svg.empty("rect", &bar);
        let peak = peaks.entry(odd.line).or_insert(odd);
        if odd.score > peak.score {
            *peak = odd;
        }
    }
    // one diamond a line, at its highest score
    let mut peaks: Vec<&Odd> = peaks.into_values().collect();
    peaks.sort_by(|a, b| b.score.total_cmp(&a.score));
    for odd in peaks.into_iter().take(MARKS) {
        let from = odd.from.max(picture.extent.from);
        let x = sheet.x(from).clamp(sheet.left + 6.0, sheet.right().max(sheet.left + 12.0) - 6.0);
        let y = sheet.y(odd.value).clamp(sheet.top + 7.0, sheet.base().max(sheet.top + 14.0) - 7.0);
        svg.diamond(x, y, 5.0, theme.surface, theme.odd);
        let score = words::score(odd.score);
        let style = Style::new(11.0, theme.odd).bold().rim(theme.surface, 3.0);
        let wide = width(&score, style.size, style.weight);
        let (is_low, is_far_right) = (y - sheet.top < 24.0, x + 9.0 + wide > sheet.right());
        match (is_low, sheet.height < 80.0) {
            // beside it, where neither above nor below has room
            (true, true) if is_far_right => svg.words(x - 9.0, y + 4.0, style.end(), &score),
            (true, true) => svg.words(x + 9.0, y + 4.0, style, &score),
            (is_low, _) => {
                let half = wide / 2.0;
                let at = x.clamp(sheet.left + half, (sheet.right() - half).max(sheet.left + half));
                svg.words(at, y + if is_low { 18.0 } else { -9.0 }, style.middle(), &score);
            }
        }
    }
}
