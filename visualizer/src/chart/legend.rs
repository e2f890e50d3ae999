//! The legend: a swatch, a name and the newest value of each named line. In: a picture and its ranking. Out: rows of keys.
//!
//! Keeps: what has no room is counted, not cut off.

use super::{
    draw::{PAD, Picture},
    gaps::newest,
    lines::Ranking,
    style::Style,
    svg::{Svg, Value},
    text::{Weight, fitted, width},
    theme::{BAND_EDGE_OPACITY, Theme},
    words,
};

const SIZE: f64 = 11.0;
const ROW: f64 = 18.0;
const BETWEEN: f64 = 14.0;
const SWATCH: f64 = 10.0;
const AIR: f64 = 5.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swatch {
    /// A line's rank.
    Line(usize),
    Band,
    Odd,
    None,
}

#[derive(Debug, Clone, PartialEq)]
struct Key {
    swatch: Swatch,
    name: String,
    value: String,
}

impl Key {
    fn plain(swatch: Swatch, name: String) -> Self {
        Self { swatch, name, value: String::new() }
    }

    fn width(&self) -> f64 {
        let swatch = if self.swatch == Swatch::None { 0.0 } else { SWATCH + AIR };
        let value =
            if self.value.is_empty() { 0.0 } else { AIR + width(&self.value, SIZE, Weight::SemiBold) };
        swatch + width(&self.name, SIZE, Weight::Regular) + value
    }
}

/// Keys with their places.
#[derive(Debug)]
pub(super) struct Legend {
    /// From the left and the row.
    keys: Vec<(f64, usize, Key)>,
    rows: usize,
}

impl Legend {
    /// At most so many rows.
    pub(super) fn new(picture: &Picture, ranking: &Ranking, has_band: bool, most: usize) -> Self {
        let room = picture.width - 2.0 * PAD;
        let key = |(i, line): (usize, &usize)| {
            let line = &picture.lines[*line];
            let value = newest(&line.columns.avg, &picture.extent).map(|(_, value)| value);
            let name = fitted(&line.name, SIZE, Weight::Regular, (room * 0.4).min(260.0));
            Key { swatch: Swatch::Line(i + 1), name, value: words::value(value, picture.unit) }
        };
        let mut keys: Vec<Key> = ranking.named.iter().enumerate().map(key).collect();
        if !ranking.crowd.is_empty() {
            keys.push(Key::plain(Swatch::Line(0), format!("{} more", ranking.crowd.len())));
        }
        if has_band {
            keys.push(Key::plain(Swatch::Band, "expected".to_owned()));
        }
        if !picture.odd.is_empty() {
            keys.push(Key::plain(Swatch::Odd, "odd".to_owned()));
        }
        Self::placed(keys, room, most)
    }

    fn placed(keys: Vec<Key>, room: f64, most: usize) -> Self {
        let mut placed: Vec<(f64, usize, Key)> = Vec::new();
        let (mut x, mut row) = (0.0, 0);
        let total = keys.len();
        for key in keys {
            let wide = key.width();
            if x > 0.0 && x + wide > room {
                (x, row) = (0.0, row + 1);
            }
            if row >= most {
                break;
            }
            placed.push((x, row, key));
            x += wide + BETWEEN;
        }
        if most > 0 && placed.len() < total {
            // the count takes the place of as many keys as it needs
            while let Some((x, row, _)) = placed.pop() {
                let rest = Key::plain(Swatch::None, format!("and {} more", total - placed.len()));
                if x + rest.width() <= room {
                    placed.push((x, row, rest));
                    break;
                }
            }
        }
        let rows = placed.last().map_or(0, |(_, row, _)| row + 1);
        Self { keys: placed, rows }
    }

    pub(super) fn height(&self) -> f64 {
        self.rows as f64 * ROW
    }

    pub(super) fn draw(&self, svg: &mut Svg, theme: &Theme, top: f64) {
        for (x, row, key) in &self.keys {
            let (mut x, y) = (PAD + x, top + *row as f64 * ROW + 13.0);
            swatch(svg, theme, key.swatch, x, y - 4.0);
            if key.swatch != Swatch::None {
                x += SWATCH + AIR;
            }
            svg.words(x, y, Style::new(SIZE, theme.ink_2), &key.name);
            x += width(&key.name, SIZE, Weight::Regular) + AIR;
            svg.words(x, y, Style::new(SIZE, theme.ink).bold(), &key.value);
        }
    }
}

fn swatch(svg: &mut Svg, theme: &Theme, swatch: Swatch, x: f64, middle: f64) {
    let mut bar = |top: f64, tall: f64, fill: &'static str, opacity: f64| {
        let attributes = [
            ("x", Value::from(x)),
            ("y", Value::from(top)),
            ("width", Value::from(SWATCH)),
            ("height", Value::from(tall)),
            ("fill", Value::from(fill)),
            ("fill-opacity", Value::from(opacity)),
        ];
        svg.empty("rect", &attributes);
    };
    match swatch {
        Swatch::Line(rank) => bar(middle - 1.0, 2.0, theme.line(rank), 1.0),
        Swatch::Band => {
            bar(middle - 4.0, 8.0, theme.tide, theme.band_opacity);
            bar(middle - 4.0, 1.0, theme.tide, BAND_EDGE_OPACITY);
            bar(middle + 3.0, 1.0, theme.tide, BAND_EDGE_OPACITY);
        }
        Swatch::Odd => svg.diamond(x + SWATCH / 2.0, middle, 3.5, theme.surface, theme.odd),
        Swatch::None => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_keep_within_the_room_and_none_is_lost_unsaid(
            names in prop::collection::vec("[a-z]{1,12}", 0..12), room in 160.0_f64..900.0, most in 0_usize..4
        ) {
            let keys = names.iter().enumerate().map(|(i, name)| Key {
                swatch: Swatch::Line(i + 1),
                name: name.clone(),
                value: "12 %".to_owned(),
            });
            let legend = Legend::placed(keys.collect(), room, most);
            prop_assert!(legend.rows <= most);
            for (x, row, key) in &legend.keys {
                prop_assert!(x + key.width() <= room + 1e-6, "{:?}", key);
                let behind = legend.keys.iter().filter(|(other, r, _)| r == row && other > x);
                prop_assert!(behind.into_iter().all(|(other, ..)| *other >= x + key.width()));
            }
            let shown = legend.keys.iter().filter(|(_, _, key)| key.swatch != Swatch::None).count();
            if most > 0 && shown < names.len() {
                let said = legend.keys.last().map(|(_, _, key)| key.name.clone());
                prop_assert_eq!(said, Some(format!("and {} more", names.len() - shown)));
            }
        }
    }
}
