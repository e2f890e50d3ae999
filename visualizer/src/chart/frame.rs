//! Around the plot: head, lane of alerts, values, times, foot, and the whole in words. In: a sheet. Out: elements.
//!
//! Keeps: what has no room is cut with "…" or left out; two labels never meet.

use super::{
    draw::{PAD, Sheet, TICK, TO_VALUES},
    gaps::newest,
    style::Style,
    svg::{Svg, Value},
    text::{fitted, width},
    ticks::{TimeTick, time_ticks},
    words::{self, number, value},
};

pub(super) fn head(svg: &mut Svg, sheet: &Sheet<'_>) {
    let (picture, theme) = (sheet.picture, sheet.picture.theme);
    let mut right = picture.width - PAD;
    if let Some(suspect) = sheet.ranking.suspect {
        right -= flag(svg, sheet, &picture.lines[suspect].name, right);
    }
    let (bold, small) = (Style::new(15.0, theme.ink).bold(), Style::new(12.0, theme.ink_3));
    let mut left = PAD;
    if !sheet.parts.has_server_line {
        let server = Style::new(15.0, theme.ink_2).bold();
        let name = fitted(&picture.server, server.size, server.weight, (right - left) * 0.4);
        svg.words(left, 28.0, server, &name);
        left += width(&name, server.size, server.weight) + 8.0;
    }
    let title = fitted(&picture.title, bold.size, bold.weight, right - left);
    svg.words(left, 28.0, bold, &title);
    left += width(&title, bold.size, bold.weight) + 8.0;
    let more = match sheet.ranking.crowd.len() {
        0 => String::new(),
        crowd => {
            let named = sheet.ranking.named.len();
            format!("top {named} of {} named", named + crowd)
        }
    };
    let unit = format!("{} {}", sheet.unit_label, picture.sub);
    let log = if sheet.scale.is_log { "log scale" } else { "" };
    let said: Vec<&str> = [unit.trim(), &more, log].into_iter().filter(|words| !words.is_empty()).collect();
    svg.words(left, 28.0, small, &fitted(&said.join(", "), small.size, small.weight, right - left));
    if sheet.parts.has_server_line {
        let room = picture.width - 2.0 * PAD;
        let server = Style::new(12.0, theme.ink_2).bold();
        let name = fitted(&picture.server, server.size, server.weight, room * 0.6);
        svg.words(PAD, 46.0, server, &name);
        let left = width(&name, server.size, server.weight) + 8.0;
        let range = words::range(picture.extent.from, picture.extent.to);
        svg.words(PAD + left, 46.0, small, &fitted(&range, small.size, small.weight, room - left));
    }
}

/// Which line is odd, at the right end of the head; how much room it took.
fn flag(svg: &mut Svg, sheet: &Sheet<'_>, name: &str, right: f64) -> f64 {
    let (theme, style) = (sheet.picture.theme, Style::new(11.0, sheet.picture.theme.odd).bold());
    let name = fitted(name, style.size, style.weight, sheet.picture.width * 0.25);
    let wide = width(&name, style.size, style.weight) + 26.0;
    if name.is_empty() || wide > sheet.picture.width * 0.4 {
        return 0.0;
    }
    let left = right - wide;
    let pill = [
        ("x", Value::from(left)),
        ("y", Value::from(14.0)),
        ("width", Value::from(wide)),
        ("height", Value::from(18.0)),
        ("rx", Value::from(3.0)),
        ("fill", Value::from(theme.odd_soft)),
    ];
    svg.empty("rect", &pill);
    svg.diamond(left + 11.0, 23.0, 3.5, theme.odd, theme.odd);
    svg.words(left + 18.0, 27.0, style, &name);
    wide + 12.0
}

/// The alerts above the plot: a bar each, with as many words as it has room for.
pub(super) fn lane(svg: &mut Svg, sheet: &Sheet<'_>) {
    let theme = sheet.picture.theme;
    for stretch in &sheet.picture.stretches {
        let (x0, x1) = (sheet.x(stretch.from), sheet.x(stretch.to));
        // a pixel of air between one bar and the next
        let wide = (x1 - x0 - 1.0).max(3.0);
        let tall = if sheet.parts.has_lane_words { 14.0 } else { 4.0 };
        let top = sheet.top - sheet.lane;
        let (colour, word) = theme.severity(stretch.severity);
        let bar = [
            ("x", Value::from(x0.min(sheet.right() - 3.0))),
            ("y", Value::from(top)),
            ("width", Value::from(wide)),
            ("height", Value::from(tall)),
            ("fill", Value::from(colour)),
        ];
        svg.empty("rect", &bar);
        if !sheet.parts.has_lane_words {
            continue;
        }
        let style = Style::new(TICK, theme.on_fill).bold();
        let room = wide - 10.0;
        let since = format!("{word} {}", words::clock_short(stretch.from));
        let fits = |words: &str| width(words, style.size, style.weight) <= room;
        let long = format!("{since}, {}", stretch.title);
        // a title that would keep only a few letters says nothing
        let is_worth_it = width(&since, style.size, style.weight) + 80.0 <= room;
        let words = match (is_worth_it, fits(&since), fits(word)) {
            (true, ..) => fitted(&long, style.size, style.weight, room),
            (_, true, _) => since,
            (_, _, true) => word.to_owned(),
            _ => continue,
        };
        svg.words(x0 + 5.0, top + 10.8, style, &words);
    }
}

pub(super) fn values(svg: &mut Svg, sheet: &Sheet<'_>) {
    let style = Style::new(TICK, sheet.picture.theme.ink_3);
    for tick in &sheet.ticks {
        let y = (sheet.y(*tick) + 3.8).max(sheet.top + 8.0);
        svg.words(sheet.right() + TO_VALUES, y, style, &number(tick / sheet.divisor));
    }
}

pub(super) fn times(svg: &mut Svg, sheet: &Sheet<'_>) {
    let (theme, extent) = (sheet.picture.theme, &sheet.picture.extent);
    // the first label and the last keep within the picture
    let (mut free, end) = (sheet.left - 4.0, sheet.picture.width - 4.0);
    for TimeTick { at, label, is_day } in time_ticks(extent.from, extent.to, sheet.width) {
        let x = sheet.x(at).round() + 0.5;
        svg.rule((x, sheet.base() + 0.5), (x, sheet.base() + 4.0), theme.baseline);
        let style = Style::new(TICK, if is_day { theme.ink } else { theme.ink_3 }).middle();
        let style = if is_day { style.bold() } else { style };
        let half = width(&label, style.size, style.weight) / 2.0;
        if x - half < free || x + half > end {
            continue;
        }
        svg.words(x, sheet.base() + 15.0, style, &label);
        free = x + half + 8.0;
    }
}

pub(super) fn foot(svg: &mut Svg, sheet: &Sheet<'_>) {
    let picture = sheet.picture;
    let (quiet, y) = (Style::new(11.0, picture.theme.ink_3), picture.height - 12.0);
    let as_of = words::clock(picture.as_of);
    let known = if picture.is_stale {
        format!("the history is away, known at {} {as_of} UTC", words::day(picture.as_of))
    } else {
        format!("as of {as_of} UTC")
    };
    let style = if picture.is_stale { Style::new(11.0, picture.theme.warning) } else { quiet };
    let room = picture.width - 2.0 * PAD;
    let known = fitted(&known, style.size, style.weight, room);
    svg.words(picture.width - PAD, y, style.end(), &known);
    let room = room - width(&known, style.size, style.weight) - 16.0;
    let mean = format!("Means of {}", words::duration(picture.extent.step));
    let has_envelope = picture.lines.iter().any(|line| line.columns.min != line.columns.max);
    let both = format!("{mean}, the lighter area is from minimum to maximum");
    let sentences = [both.as_str(), mean.as_str()];
    let fits = |words: &&str| width(words, quiet.size, quiet.weight) <= room;
    if let Some(words) = sentences.into_iter().skip(usize::from(!has_envelope)).find(fits) {
        svg.words(PAD, y, quiet, words);
    }
}

/// The picture in words, for those who do not see it.
pub(super) fn description(sheet: &Sheet<'_>) -> String {
    let picture = sheet.picture;
    let mut parts = vec![format!(
        "{} of {}, {}.",
        picture.title,
        picture.server,
        words::range(picture.extent.from, picture.extent.to)
    )];
    for line in sheet.ranking.named.iter().map(|i| &picture.lines[*i]) {
        let values = line.columns.avg.iter().flatten().copied();
        let (low, high) = (values.clone().reduce(f64::min), values.reduce(f64::max));
        let last = newest(&line.columns.avg, &picture.extent).map(|(_, value)| value);
        let (low, high, last) =
            (value(low, picture.unit), value(high, picture.unit), value(last, picture.unit));
        parts.push(format!("{} {last}, from {low} to {high}.", line.name));
    }
    let count = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("{what} in 1 period.")),
        n => Some(format!("{what} in {n} periods.")),
    };
    parts.extend((!sheet.ranking.crowd.is_empty()).then(|| format!("{} more.", sheet.ranking.crowd.len())));
    parts.extend(count(sheet.gaps.iter().filter(|gap| !gap.is_partial).count(), "No data"));
    parts.extend(count(picture.odd.len(), "Outside its expected range"));
    let alerts = picture.stretches.iter().map(|stretch| {
        let (_, word) = picture.theme.severity(stretch.severity);
        format!("{word} from {}: {}.", words::clock(stretch.from), stretch.title)
    });
    parts.extend(alerts);
    parts.join(" ")
}
