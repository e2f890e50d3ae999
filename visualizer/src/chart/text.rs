//! How wide a text is. In: words and a size. Out: pixels, or the words cut to fit. Pure.
//!
//! Keeps: measured with the font that PNG is drawn with; a browser that draws the SVG with its own is near.

use skrifa::{FontRef, MetadataProvider, instance::LocationRef, prelude::Size};

/// Inter with the figures all of one width; how they were made is told beside them.
pub(super) static REGULAR: &[u8] = include_bytes!("fonts/Inter-Regular.ttf");
pub(super) static SEMI_BOLD: &[u8] = include_bytes!("fonts/Inter-SemiBold.ttf");

/// The family of both.
pub(super) const FAMILY: &str = "Inter";

/// Of a character that the font has not, in its size.
const UNKNOWN: f64 = 0.7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    SemiBold,
}

impl Weight {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "400",
            Self::SemiBold => "600",
        }
    }
}

/// Widths of the characters of a text.
fn advances(text: &str, size: f64, weight: Weight) -> Vec<f64> {
    let font = match weight {
        Weight::Regular => REGULAR,
        Weight::SemiBold => SEMI_BOLD,
    };
    let Ok(font) = FontRef::new(font) else { return vec![UNKNOWN * size; text.chars().count()] };
    let (glyphs, metrics) =
        (font.charmap(), font.glyph_metrics(Size::new(size as f32), LocationRef::default()));
    let advance = |c: char| glyphs.map(c).and_then(|glyph| metrics.advance_width(glyph)).map(f64::from);
    text.chars().map(|c| advance(c).unwrap_or(UNKNOWN * size)).collect()
}

pub(super) fn width(text: &str, size: f64, weight: Weight) -> f64 {
    advances(text, size, weight).iter().sum()
}

/// The text itself where there is room for it, else its begin and "…"; nothing where that has no room either.
pub(super) fn fitted(text: &str, size: f64, weight: Weight, room: f64) -> String {
    let advances = advances(text, size, weight);
    if advances.iter().sum::<f64>() <= room {
        return text.to_owned();
    }
    let mut left = room - width("…", size, weight);
    let fits = advances.iter().take_while(|advance| {
        left -= **advance;
        left >= 0.0
    });
    let begin: String = text.chars().take(fits.count()).collect();
    if begin.is_empty() { begin } else { format!("{}…", begin.trim_end()) }
}

/// The text with a box for each character that the font has not: PNG can't borrow from another one.
pub(super) fn in_font(text: &str) -> String {
    let Ok(font) = FontRef::new(REGULAR) else { return text.to_owned() };
    let glyphs = font.charmap();
    text.chars().map(|c| if glyphs.map(c).is_some() { c } else { '□' }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_are_all_of_one_width_and_bold_is_wider() {
        let of = |text: &str, weight| width(text, 100.0, weight);
        for figure in "023456789".chars() {
            for weight in [Weight::Regular, Weight::SemiBold] {
                let (a, b) = (of(&figure.to_string(), weight), of("1", weight));
                assert!((a - b).abs() < 1e-3 && a > 50.0, "{figure}");
            }
        }
        assert!(of("Critical", Weight::SemiBold) > of("Critical", Weight::Regular));
        // a narrow no-break space, a dash, an ellipsis, a minus, micro: all in the font
        for (c, least) in
            [('\u{202f}', 10.0), ('–', 40.0), ('…', 50.0), ('−', 40.0), ('µ', 40.0), ('°', 20.0)]
        {
            let found = of(&c.to_string(), Weight::Regular);
            assert!(found > least && (found - 100.0 * UNKNOWN).abs() > 0.01, "{c}: {found}");
        }
    }

    #[test]
    fn what_the_font_has_not_is_a_box() {
        assert_eq!(in_font("Größe 3 µs – Ж λ"), "Größe 3 µs – Ж λ");
        assert_eq!(in_font("測 \u{202e}x\u{0}"), "□ □x□");
        let signs = "\u{202f}−…–□";
        assert_eq!(in_font(signs), signs);
    }

    proptest! {
        #[test]
        fn a_cut_text_fits(text in "\\PC{0,40}", room in 0.0_f64..400.0) {
            let cut = fitted(&text, 12.0, Weight::Regular, room);
            prop_assert!(width(&cut, 12.0, Weight::Regular) <= room + 1e-3);
            prop_assert!(cut == text || cut.is_empty() || cut.ends_with('…'));
        }
    }
}
