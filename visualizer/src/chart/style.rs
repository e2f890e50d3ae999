//! The strokes of the pen: words in a style, rules, diamonds. In: places and colours. Out: elements.

use super::{
    svg::{Path, Svg, Value},
    text::Weight,
};

/// How words are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Style {
    pub(super) size: f64,
    pub(super) weight: Weight,
    fill: &'static str,
    anchor: &'static str,
    /// A rim in the colour of the ground, so that lines do not run through the words.
    rim: Option<(&'static str, f64)>,
}

impl Style {
    pub(super) fn new(size: f64, fill: &'static str) -> Self {
        Self { size, weight: Weight::Regular, fill, anchor: "start", rim: None }
    }

    pub(super) fn bold(self) -> Self {
        Self { weight: Weight::SemiBold, ..self }
    }

    pub(super) fn middle(self) -> Self {
        Self { anchor: "middle", ..self }
    }

    pub(super) fn end(self) -> Self {
        Self { anchor: "end", ..self }
    }

    pub(super) fn rim(self, colour: &'static str, width: f64) -> Self {
        Self { rim: Some((colour, width)), ..self }
    }
}

impl Svg {
    pub(super) fn words(&mut self, x: f64, y: f64, style: Style, words: &str) {
        self.turned_words(x, y, style, words, None);
    }

    /// Words with a transformation.
    pub(super) fn turned_words(&mut self, x: f64, y: f64, style: Style, words: &str, turn: Option<&str>) {
        if words.is_empty() {
            return;
        }
        let mut attributes = vec![
            ("x", Value::from(x)),
            ("y", Value::from(y)),
            ("font-size", Value::from(style.size)),
            ("fill", Value::from(style.fill)),
        ];
        if style.weight != Weight::Regular {
            attributes.push(("font-weight", style.weight.as_str().into()));
        }
        if style.anchor != "start" {
            attributes.push(("text-anchor", style.anchor.into()));
        }
        if let Some((colour, width)) = style.rim {
            attributes.extend([
                ("stroke", Value::from(colour)),
                ("stroke-width", Value::from(width)),
                ("stroke-linejoin", Value::from("round")),
                ("paint-order", Value::from("stroke")),
            ]);
        }
        if let Some(turn) = turn {
            attributes.push(("transform", turn.into()));
        }
        self.text("text", &attributes, words);
    }

    /// A straight line of one pixel.
    pub(super) fn rule(&mut self, from: (f64, f64), to: (f64, f64), colour: &'static str) {
        let path = Path::default().line([from, to]);
        self.empty("path", &[("d", path.as_str().into()), ("stroke", colour.into())]);
    }

    /// A diamond around a point.
    pub(super) fn diamond(&mut self, x: f64, y: f64, reach: f64, fill: &'static str, stroke: &'static str) {
        let path = Path::default().area([(x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y)]);
        let attributes = [
            ("d", Value::from(path.as_str())),
            ("fill", Value::from(fill)),
            ("stroke", Value::from(stroke)),
            ("stroke-width", Value::from(1.75)),
        ];
        self.empty("path", &attributes);
    }
}
