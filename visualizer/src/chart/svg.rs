//! Writing SVG. In: elements, attributes, text. Out: one well-formed document.
//!
//! Keeps: whatever a name or a label holds, it comes out as text: nothing in it opens an element, an attribute or an
//! entity, and no character that XML forbids gets in. No `style`, no script, no link, no reference outside the document:
//! a strict content policy takes nothing from it.

use std::fmt::Write;

/// An attribute's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Number(f64),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// Attributes of one element.
pub(super) type Attributes<'a, 'b> = &'a [(&'static str, Value<'b>)];

/// A document in the making.
#[derive(Debug, Default)]
pub(super) struct Svg(String);

impl Svg {
    /// An element with nothing in it.
    pub(super) fn empty(&mut self, tag: &'static str, attributes: Attributes<'_, '_>) {
        self.start(tag, attributes);
        self.0.push_str("/>");
    }

    /// An element around what `inside` writes.
    pub(super) fn group(
        &mut self,
        tag: &'static str,
        attributes: Attributes<'_, '_>,
        inside: impl FnOnce(&mut Self),
    ) {
        self.start(tag, attributes);
        self.0.push('>');
        inside(self);
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
    }

    /// An element around a text.
    pub(super) fn text(&mut self, tag: &'static str, attributes: Attributes<'_, '_>, text: &str) {
        self.group(tag, attributes, |svg| svg.escaped(text));
    }

    fn start(&mut self, tag: &'static str, attributes: Attributes<'_, '_>) {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            match value {
                Value::Text(text) => self.escaped(text),
                Value::Number(number) => self.0.push_str(&short(*number)),
            }
            self.0.push('"');
        }
    }

    fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // what XML does not allow, and what would turn the writing round
                c if c.is_control()
                    || matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
                {
                    self.0.push('\u{fffd}');
                }
                c => self.0.push(c),
            }
        }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Two decimals at most: a hundredth of a pixel.
pub(super) fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if matches!(text, "-0" | "") || !number.is_finite() { "0".to_owned() } else { text.to_owned() }
}

/// The `d` of a path.
#[derive(Debug, Default)]
pub(super) struct Path(String);

impl Path {
    /// Lines from point to point; what was there before stays apart.
    pub(super) fn line(mut self, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        for (i, (x, y)) in points.into_iter().enumerate() {
            self.0.push(if i == 0 { 'M' } else { 'L' });
            let _ = write!(self.0, "{} {}", short(x), short(y));
        }
        self
    }

    /// The same, closed.
    pub(super) fn area(self, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut path = self.line(points);
        path.0.push('Z');
        path
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A transformation's text.
pub(super) fn rotated(degrees: i32, x: f64, y: f64) -> String {
    format!("rotate({degrees} {} {})", short(x), short(y))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use resvg::usvg::roxmltree;

    use super::*;

    proptest! {
        #[test]
        fn any_text_reads_back_as_itself_and_is_nothing_else(text in "[\\PC<>&\"'\u{0}-\u{20}]{0,40}") {
            let mut svg = Svg::default();
            svg.group("svg", &[("aria-label", Value::from(&text))], |svg| svg.text("text", &[], &text));
            let written = svg.finish();
            let document = roxmltree::Document::parse(&written).expect("XML");
            let elements: Vec<_> = document.descendants().filter(roxmltree::Node::is_element).collect();
            prop_assert_eq!(elements.len(), 2);
            let shown: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            prop_assert_eq!(elements[1].text().unwrap_or_default(), shown.as_str());
            prop_assert_eq!(elements[0].attribute("aria-label"), Some(shown.as_str()));
        }

        #[test]
        fn a_number_is_near_and_short(number in -1e5_f64..1e5) {
            let read: f64 = short(number).parse().expect("a number");
            prop_assert!((read - number).abs() <= 0.005_001);
        }
    }

    #[test]
    fn what_is_no_number_is_no_hole_in_the_document() {
        assert_eq!([f64::NAN, f64::INFINITY, -0.001, 1.5, 100.0].map(short), ["0", "0", "0", "1.5", "100"]);
    }
}
