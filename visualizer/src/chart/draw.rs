//! A chart as SVG. In: lines on one grid, what was expected, odd and alerted. Out: one document. Pure.
//!
//! ```text
//! title  unit                         ◆ suspect     head
//! server  range
//! ▬ line 1  31 ms  ▬ line 2  0.9 ms                 legend
//! [Warning 14:03 ][Critical 14:14  title ]          lane of alerts
//! lines, band, gaps, diamonds               | 100   plot
//!  13:00       13:30       14:00                    axis
//! Means of 20 s                  as of 14:16:05     foot
//! ```
//! Keeps: a part that has no room is left out whole, never drawn over another; nothing is told by colour alone.

use std::collections::BTreeMap;

use super::{
    frame::{description, foot, head, lane, times, values},
    gaps::{Column, Extent, Gap, gaps},
    legend::Legend,
    lines::{Line, Ranking},
    plot,
    stretches::Stretch,
    svg::{Svg, Value},
    text::{Weight, width},
    theme::Theme,
    ticks::Scale,
    words::{Unit, axis_unit, number},
};

/// Around everything.
pub(super) const PAD: f64 = 16.0;

/// Below the base line: the times.
const AXIS: f64 = 20.0;

/// Right of the plot, at least: the values.
const GUTTER: f64 = 28.0;

/// From the plot to its values.
pub(super) const TO_VALUES: f64 = 6.0;

/// Size of a tick's label.
pub(super) const TICK: f64 = 10.5;

/// A time in which one line was outside of its band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Odd {
    pub(super) line: usize,
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) score: f64,
    /// Where its mark stands.
    pub(super) value: f64,
}

/// All that a picture shows.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) server: String,
    pub(super) title: String,
    /// Said after the unit: "by device".
    pub(super) sub: String,
    pub(super) unit: Unit,
    pub(super) lines: Vec<Line>,
    pub(super) extent: Extent,
    pub(super) odd: Vec<Odd>,
    pub(super) stretches: Vec<Stretch>,
    pub(super) theme: &'static Theme,
    pub(super) width: f64,
    pub(super) height: f64,
    /// When this was known.
    pub(super) as_of: i64,
    /// Whether more might be known by now.
    pub(super) is_stale: bool,
    /// The server's newest sample of any kind.
    pub(super) last_seen: i64,
}

/// Which parts a height has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) has_server_line: bool,
    legend_rows: usize,
    pub(super) has_lane_words: bool,
    pub(super) has_foot: bool,
}

impl Parts {
    fn of(height: f64) -> Self {
        let legend_rows = [(320.0, 3), (220.0, 2), (130.0, 1)];
        Self {
            has_server_line: height >= 170.0,
            legend_rows: legend_rows.iter().find(|(least, _)| height >= *least).map_or(0, |(_, rows)| *rows),
            has_lane_words: height >= 200.0,
            has_foot: height >= 240.0,
        }
    }
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Sheet<'a> {
    pub(super) picture: &'a Picture,
    pub(super) ranking: Ranking,
    /// The one line whose band is drawn.
    pub(super) band_of: Option<usize>,
    pub(super) gaps: Vec<Gap>,
    pub(super) scale: Scale,
    pub(super) divisor: f64,
    pub(super) ticks: Vec<f64>,
    /// The plot, in pixels.
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) lane: f64,
    pub(super) unit_label: String,
    legend: Legend,
    pub(super) parts: Parts,
}

impl<'a> Sheet<'a> {
    fn new(picture: &'a Picture) -> Self {
        let mut scores = BTreeMap::new();
        for odd in &picture.odd {
            let score: &mut f64 = scores.entry(odd.line).or_default();
            *score = score.max(odd.score);
        }
        let ranking = Ranking::of(&picture.lines, &scores);
        let only = (picture.lines.len() == 1).then_some(0);
        let band_of = ranking.suspect.or(only).filter(|i| picture.lines[*i].band.is_some());
        let parts = Parts::of(picture.height);
        let legend = Legend::new(picture, &ranking, band_of.is_some(), parts.legend_rows);
        let lane = match (picture.stretches.is_empty(), parts.has_lane_words) {
            (true, _) => 0.0,
            (false, true) => 16.0,
            (false, false) => 6.0,
        };
        let head = 36.0 + if parts.has_server_line { 16.0 } else { 0.0 };
        let top = head + legend.height() + 6.0 + lane;
        let foot = if parts.has_foot { 30.0 } else { 8.0 };
        let height = (picture.height - top - AXIS - foot).max(10.0).floor();
        let scale = Scale::of(drawn_values(picture, band_of), picture.unit);
        let (divisor, unit_label) = axis_unit(picture.unit, scale.high);
        let ticks = scale.ticks(divisor, height);
        let widest = ticks.iter().map(|tick| width(&number(tick / divisor), TICK, Weight::Regular));
        let gutter = widest.fold(GUTTER, |a, b| a.max(b + TO_VALUES)).ceil();
        let columns: Vec<&Column> = picture.lines.iter().map(|line| &line.columns.avg[..]).collect();
        let (from, to) = (picture.extent.from, picture.extent.to);
        let nothing = || vec![Gap { from, to, is_partial: false }];
        Self {
            picture,
            ranking,
            band_of,
            gaps: if columns.is_empty() { nothing() } else { gaps(&columns, &picture.extent) },
            scale,
            divisor,
            ticks,
            left: PAD,
            top,
            width: (picture.width - 2.0 * PAD - gutter).max(10.0),
            height,
            lane,
            unit_label,
            legend,
            parts,
        }
    }

    pub(super) fn x(&self, at: i64) -> f64 {
        let extent = &self.picture.extent;
        self.left + (at - extent.from) as f64 / (extent.to - extent.from).max(1) as f64 * self.width
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        let share = self.scale.share(value).clamp(-10.0, 10.0);
        self.top + (1.0 - share) * self.height
    }

    pub(super) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(super) fn base(&self) -> f64 {
        self.top + self.height
    }
}

/// What the scale has to hold.
fn drawn_values(picture: &Picture, band_of: Option<usize>) -> impl Iterator<Item = f64> {
    let columns = picture.lines.iter().map(|line| &line.columns);
    let lines = columns.flat_map(|columns| [&columns.avg, &columns.min, &columns.max]);
    let band = band_of.and_then(|i| picture.lines[i].band.as_ref()).map(|band| &band.high);
    lines.chain(band).flatten().flatten().copied()
}

/// The picture as a document.
pub(super) fn draw(picture: &Picture) -> String {
    let sheet = Sheet::new(picture);
    let (width, height) = (Value::from(picture.width), Value::from(picture.height));
    let view = format!("0 0 {} {}", picture.width, picture.height);
    let mut svg = Svg::default();
    let attributes = [
        ("xmlns", Value::from("http://www.w3.org/2000/svg")),
        ("width", width),
        ("height", height),
        ("viewBox", Value::from(&view)),
        ("role", Value::from("img")),
        ("font-family", Value::from("'Segoe UI', Inter, Roboto, 'Noto Sans', system-ui, sans-serif")),
    ];
    svg.group("svg", &attributes, |svg| {
        svg.text("title", &[], &format!("{} of {}", picture.title, picture.server));
        svg.text("desc", &[], &description(&sheet));
        svg.empty("rect", &[("width", width), ("height", height), ("fill", picture.theme.surface.into())]);
        head(svg, &sheet);
        sheet.legend.draw(svg, picture.theme, if sheet.parts.has_server_line { 52.0 } else { 36.0 });
        plot::plot(svg, &sheet);
        lane(svg, &sheet);
        values(svg, &sheet);
        times(svg, &sheet);
        if sheet.parts.has_foot {
            foot(svg, &sheet);
        }
    });
    svg.finish()
}

#[cfg(test)]
mod tests;
