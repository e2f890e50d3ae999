//! Pictures read back: as XML, and as pixels.

use proptest::prelude::*;
use resvg::{tiny_skia::Pixmap, usvg::roxmltree};
use roxmltree::{Document, Node};
use tidewatch_schemas::Severity;

use super::*;
use crate::{
    chart::{png::png, theme},
    params::MINUTE,
    query::columns::{Band, Columns},
};

const NOW: i64 = 1_795_443_360_000;
const STEP: i64 = 30_000;

/// A line of so many steps around `level`, without data in `gap`.
fn line(name: &str, level: f64, steps: usize, gap: std::ops::Range<usize>) -> Line {
    let value = |i: usize| {
        let t = i as f64;
        level * (1.0 + 0.12 * (t / 9.0).sin() + 0.05 * (t / 2.3).cos() + 0.02 * (t * 7.7).sin())
    };
    let column = |factor: f64| -> Vec<Option<f64>> {
        (0..steps).map(|i| (!gap.contains(&i)).then(|| value(i) * factor)).collect()
    };
    let columns = Columns { avg: column(1.0), min: column(0.93), max: column(1.08) };
    let band = Band { low: vec![Some(level * 0.8); steps], high: vec![Some(level * 1.25); steps] };
    Line { name: name.to_owned(), columns, band: Some(band) }
}

/// Two hours with a gap, an odd time and two alerts.
fn scene(lines: Vec<Line>) -> Picture {
    let steps = 240;
    Picture {
        server: "db-02".to_owned(),
        title: "node_disk_write_latency".to_owned(),
        sub: "by device".to_owned(),
        unit: Unit::Number,
        lines,
        extent: Extent {
            t0: NOW - steps * STEP,
            step: STEP,
            from: NOW - steps * STEP,
            to: NOW,
            since: 0,
            until: NOW - STEP,
        },
        odd: vec![Odd { line: 0, from: NOW - 20 * MINUTE, to: NOW - 5 * MINUTE, score: 4.6, value: 44.0 }],
        stretches: vec![
            Stretch {
                from: NOW - 54 * MINUTE,
                to: NOW - 32 * MINUTE,
                severity: Severity::Warning,
                title: "Disk writes on db-02 are slow".to_owned(),
            },
            Stretch {
                from: NOW - 32 * MINUTE,
                to: NOW,
                severity: Severity::Critical,
                title: "Disk writes on db-02 are 41 times slower".to_owned(),
            },
        ],
        theme: &theme::LIGHT,
        width: 800.0,
        height: 320.0,
        as_of: NOW,
        is_stale: false,
        last_seen: NOW - 10_000,
    }
}

fn two() -> Vec<Line> {
    vec![line("nvme1n1", 42.0, 240, 50..70), line("nvme0n1", 12.0, 240, 50..70)]
}

fn texts(document: &Document<'_>) -> Vec<String> {
    let texts =
        document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")));
    texts.filter_map(|node| node.text().map(str::to_owned)).collect()
}

/// The paths in a colour that is drawn with.
fn strokes<'a, 'b>(document: &'a Document<'b>, colour: &'a str) -> Vec<Node<'a, 'b>> {
    document.descendants().filter(|node| node.attribute("stroke") == Some(colour)).collect()
}

#[test]
fn what_is_known_is_in_the_picture() {
    let svg = draw(&scene(two()));
    let document = Document::parse(&svg).expect("XML");
    let texts = texts(&document);
    let is_there = |wanted: &str| assert!(texts.iter().any(|text| text == wanted), "{wanted}: {texts:?}");
    for wanted in [
        "node_disk_write_latency",
        "by device",
        "db-02",
        "Mon 23 Nov 2026, 12:16 to 14:16 UTC",
        "nvme1n1",
        "nvme0n1",
        "expected",
        "odd",
        "4.6",
        "no data",
        "13:00",
        "as of 14:16:00 UTC",
        "Warning 13:22",
    ] {
        is_there(wanted);
    }
    assert!(texts.iter().any(|text| text.starts_with("Critical 13:44, Disk")), "{texts:?}");
    assert!(texts.iter().any(|text| text.starts_with("Means of 30\u{202f}s, the lighter area")), "{texts:?}");
    let description = document.descendants().find(|node| node.tag_name().name() == "desc").expect("desc");
    let description = description.text().expect("words");
    assert!(description.contains("No data in 1 period.") && description.contains("Critical from 13:44:00"));
}

#[test]
fn a_gap_has_no_ink_of_its_line() {
    let picture = scene(two());
    let svg = draw(&picture);
    let document = Document::parse(&svg).expect("XML");
    let sheet = Sheet::new(&picture);
    let (from, to) = (sheet.x(picture.extent.at(49)), sheet.x(picture.extent.at(70)));
    for rank in [1, 2] {
        let lines = strokes(&document, picture.theme.line(rank));
        let d = lines.iter().find_map(|node| node.attribute("d")).expect("a line");
        assert_eq!(d.matches('M').count(), 2, "in two pieces");
        let xs = d.split(['M', 'L']).filter_map(|point| point.split(' ').next()?.parse::<f64>().ok());
        assert!(xs.into_iter().all(|x| x <= from + 0.01 || x >= to - 0.01));
    }
    let whole = draw(&scene(vec![line("a", 42.0, 240, 0..0)]));
    let document = Document::parse(&whole).expect("XML");
    let lines = strokes(&document, theme::LIGHT.line(1));
    assert_eq!(lines[0].attribute("d").expect("a path").matches('M').count(), 1);
}

#[test]
fn nothing_to_draw_is_said_in_words() {
    let svg = draw(&Picture { odd: Vec::new(), stretches: Vec::new(), ..scene(Vec::new()) });
    let texts = texts(&Document::parse(&svg).expect("XML"));
    assert!(texts.iter().any(|text| text == "no data"), "{texts:?}");
    assert!(texts.iter().any(|text| text == "last seen Mon 23 Nov, 14:15:50 UTC"), "{texts:?}");
}

#[test]
fn a_picture_that_may_be_old_says_so() {
    let svg = draw(&Picture { is_stale: true, ..scene(two()) });
    assert!(svg.contains("the history is away, known at Mon 23 Nov 14:16:00 UTC"));
}

/// All that a name may hold.
const HOSTILE: &str = "<script>alert(1)</script>\"'><image href=x onerror=y/>&lt;&#x41;]]><!--\u{0}\u{202e}";

#[test]
fn names_are_never_more_than_text() {
    let mut picture = scene(vec![line(HOSTILE, 42.0, 240, 0..0)]);
    for text in [&mut picture.server, &mut picture.title, &mut picture.sub, &mut picture.stretches[0].title] {
        HOSTILE.clone_into(text);
    }
    picture.width = 2_400.0;
    let svg = draw(&picture);
    let document = Document::parse(&svg).expect("XML");
    let known =
        ["svg", "title", "desc", "rect", "path", "text", "g", "defs", "pattern", "clipPath", "circle"];
    for node in document.descendants().filter(Node::is_element) {
        assert!(known.contains(&node.tag_name().name()), "{node:?}");
        for attribute in node.attributes() {
            let name = attribute.name();
            assert!(!name.starts_with("on") && name != "href" && name != "style", "{name}");
        }
    }
    assert!(texts(&document).iter().any(|text| text.starts_with("<script>alert(1)</script>\"'>")));
    assert!(!svg.contains("<script") && !svg.contains("<image"));
    png(&svg, 1.0).expect("a picture of it");
}

#[test]
fn a_png_has_its_size_and_the_colours_of_its_lines() {
    for (theme, scale) in [(&theme::LIGHT, 2), (&theme::DARK, 1)] {
        let picture = Picture { theme, ..scene(two()) };
        let bytes = png(&draw(&picture), scale as f32).expect("PNG");
        let pixels = Pixmap::decode_png(&bytes).expect("a PNG");
        assert_eq!((pixels.width(), pixels.height()), (800 * scale, 320 * scale));
        let count = |colour: &str| {
            let part = |i: usize| u8::from_str_radix(&colour[i..i + 2], 16).expect("hex");
            let wanted = [part(1), part(3), part(5)];
            let near = |a: u8, b: u8| a.abs_diff(b) <= 6;
            let all = pixels.pixels().iter().map(resvg::tiny_skia::PremultipliedColorU8::demultiply);
            let found = all
                .filter(|p| [p.red(), p.green(), p.blue()].into_iter().zip(wanted).all(|(a, b)| near(a, b)));
            found.count()
        };
        let all = (pixels.width() * pixels.height()) as usize;
        assert!(count(theme.surface) > all / 2, "the ground");
        for colour in [theme.line(1), theme.line(2), theme.odd, theme.critical, theme.warning] {
            assert!(count(colour) > 60, "{colour}: {}", count(colour));
        }
        assert!(count(theme.ink) > 40, "letters are drawn without any font of the machine");
        assert_eq!(count(theme.line(5)), 0, "a colour that nobody has");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_picture_is_xml_and_its_words_keep_within_it(
        names in prop::collection::vec("\\PC{0,60}", 0..14), title in "\\PC{0,120}",
        width in 200_u16..1_500, height in 100_u16..700, level in 1e-6_f64..1e9, has_events in any::<bool>()
    ) {
        let lines = names.iter().enumerate().map(|(i, name)| line(name, level * (i + 1) as f64, 240, 50..70));
        let mut picture = scene(lines.collect());
        picture.title.clone_from(&title);
        picture.server = title;
        (picture.width, picture.height) = (f64::from(width), f64::from(height));
        if !has_events || names.is_empty() {
            picture.odd.clear();
            picture.stretches.clear();
        }
        let svg = draw(&picture);
        let document = Document::parse(&svg).expect("XML");
        for node in document.descendants().filter(|node| node.tag_name().name() == "text") {
            let number = |name: &str| node.attribute(name).and_then(|text| text.parse::<f64>().ok());
            let (x, y) = (number("x").expect("x"), number("y").expect("y"));
            let weight = if node.attribute("font-weight").is_some() { Weight::SemiBold } else { Weight::Regular };
            let wide = super::width(node.text().unwrap_or_default(), number("font-size").expect("size"), weight);
            let (left, right) = match node.attribute("text-anchor") {
                Some("middle") => (x - wide / 2.0, x + wide / 2.0),
                Some("end") => (x - wide, x),
                _ => (x, x + wide),
            };
            prop_assert!(left >= -1.0 && right <= picture.width + 1.0, "{left} {right} {node:?}");
            prop_assert!((0.0..=picture.height).contains(&y), "{y} {node:?}");
        }
    }
}
