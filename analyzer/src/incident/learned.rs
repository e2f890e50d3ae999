//! What the detector says of a server: what moved first, what followed and after how long, how rare that is; and the same
//! again when more has moved.
//!
//! In: the course of the incident. Out: an `Alert`. Invariant: metric and labels are those of the first mover, in the first
//! saying as in the last, for Alertmanager knows an alert again by them. Names at most `NAMED` followers.

use tidewatch_schemas::{Alert, Labels, RelatedSeries, Severity};

use super::{Again, Course, Mover, Window, blank, sentences, server_fingerprint, words};
use crate::rules::LEARNED;

/// How many series an alert lists besides the one it is about.
const RELATED: usize = 8;
/// How many it names in words.
const NAMED: usize = 4;

/// The server in the window after which it is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Breadth {
    /// Series that the server reports, and those of them that are outside of their bands.
    pub watched: usize,
    pub outside: usize,
    /// How far the server sticks out.
    pub score: f64,
}

/// Several series of a server that stick out together.
pub fn learned(server: &str, course: &Course, breadth: Breadth, starts_at: i64, window: Window) -> Alert {
    let fingerprint = server_fingerprint(LEARNED, server);
    let times = (starts_at, window.end);
    let mut alert = blank(LEARNED, Severity::Warning, server, &Labels::new(), fingerprint, times);
    alert.score = Some(breadth.score);
    let Some((first, others)) = course.movers().split_first() else { return alert };
    alert.title = format!("{} on {server}", seen(first));
    alert.explanation = told(first, others, breadth);
    alert.metric = Some(first.series.metric.clone());
    // the labels say which series; the alert itself is the server's, and its fingerprint has none
    alert.labels.clone_from(&first.series.labels);
    alert.unit.clone_from(&first.series.unit);
    describe(&mut alert, course.movers());
    alert
}

/// The same alert again: how it stands now.
pub fn again(
    alert: &Alert,
    course: &Course,
    breadth: Breadth,
    before: Again,
    updated_at: i64,
) -> Option<Alert> {
    let (first, others) = course.movers().split_first()?;
    let movers = course.movers().len();
    let when = words::clock(before.told_at);
    let more = (movers > before.movers)
        .then(|| format!("By now {movers} series have moved, {} at {when}.", before.movers));
    let louder = (before.louder >= 1.5).then(|| {
        format!("The server sticks out {} times as far as at {when}.", words::number(before.louder))
    });
    let mut next = Alert { updated_at, score: Some(before.score), ..alert.clone() };
    next.title = format!("{} on {}, {movers} series by now", seen(first), alert.server);
    next.explanation = sentences([more, louder, Some(told(first, others, breadth))]);
    describe(&mut next, course.movers());
    Some(next)
}

/// The figures of the series that the alert is about, and who moved with it: the oddest first.
fn describe(alert: &mut Alert, movers: &[Mover]) {
    // one that came back while its alert was held open may have begun with another series
    let (own, mut others): (Vec<&Mover>, Vec<&Mover>) = movers.iter().partition(|mover| {
        Some(&mover.series.metric) == alert.metric.as_ref() && mover.series.labels == alert.labels
    });
    if let Some(own) = own.first() {
        alert.value = Some(own.value);
        alert.expected_low = Some(own.band.low);
        alert.expected_high = Some(own.band.high);
    }
    // stable: equal ones stay in the order in which they moved
    others.sort_by(|a, b| b.size.total_cmp(&a.size));
    let related = |mover: &&Mover| RelatedSeries {
        metric: mover.series.metric.clone(),
        labels: mover.series.labels.clone(),
        score: mover.score,
    };
    alert.related = others.iter().take(RELATED).map(related).collect();
}

fn seen(mover: &Mover) -> String {
    format!(
        "{} {}, expected {}",
        words::what(&mover.series),
        words::quantity(mover.value, &mover.series, None),
        words::range(mover.band, &mover.series)
    )
}

/// The same, and in which way it is new.
fn described(mover: &Mover) -> String {
    match mover.novelty() {
        Some(novelty) => format!("{}, and {novelty}", seen(mover)),
        None => seen(mover),
    }
}

fn told(first: &Mover, others: &[Mover], breadth: Breadth) -> String {
    let rare = first.rarity().map_or(String::new(), |rarity| format!(": {rarity}"));
    let since = format!("{}, since {}{rare}.", described(first), words::clock(first.at));
    let Breadth { watched, outside, .. } = breadth;
    let are = if outside == 1 { "is" } else { "are" };
    let outside = format!("{outside} of {watched} series {are} outside what is expected.");
    let at_once = others.iter().any(|mover| mover.at == first.at);
    let doubt = if at_once {
        "Which moved first within these seconds is not known; the cause is for you to judge."
    } else {
        "What moved first need not be the cause."
    };
    sentences([Some(since), followed(first, others), Some(outside), Some(doubt.to_owned())])
}

/// `With it: A; B. 20 s later: C. 3 more followed within 2 min.`
fn followed(first: &Mover, others: &[Mover]) -> Option<String> {
    let mut said: Vec<String> = Vec::new();
    let mut after = None;
    let named = others.len().min(NAMED);
    for mover in &others[..named] {
        let lag = (mover.at - first.at).max(0);
        if let Some(last) = said.last_mut().filter(|_| after == Some(lag)) {
            last.push_str("; ");
            last.push_str(&described(mover));
        } else if lag == 0 {
            said.push(format!("With it: {}", described(mover)));
        } else {
            said.push(format!("{} later: {}", words::duration(lag), described(mover)));
        }
        after = Some(lag);
    }
    if let Some(last) = others[named..].iter().map(|mover| mover.at - first.at).max() {
        let within =
            if last > 0 { format!(" within {}", words::duration(last)) } else { " at once".to_owned() };
        said.push(format!("{} more followed{within}", others.len() - named));
    }
    (!said.is_empty()).then(|| format!("{}.", said.join(". ")))
}

#[cfg(test)]
mod tests {
    use tidewatch_schemas::Series;

    use super::*;
    use crate::{
        detect::{Band, Oddness, novelty::Kind},
        incident::{Odd, Record},
    };

    const START: i64 = 1_795_442_590_000; // Mon 23 Nov 2026 14:03:10 UTC
    const HOUR: i64 = 3_600_000;

    fn plain(text: &str) -> String {
        text.replace('\u{202f}', " ")
    }

    fn at(seconds: i64) -> Window {
        Window { start: START + seconds * 1_000, end: START + (seconds + 10) * 1_000 }
    }

    fn cpu() -> Series {
        Series::gauge("tidewatch_host_cpu_busy_percent", "percent")
    }

    /// Two days of it, between 10 and 30.
    fn known() -> Record {
        let mut record = Record::default();
        (0..48)
            .for_each(|hour| record.learn(START - 48 * HOUR + hour * HOUR, 10.0 + (hour % 3) as f64 * 10.0));
        record
    }

    fn note(course: &mut Course, seconds: i64, series: &Series, value: f64, before: Record) {
        let band = Band { expected: 17.0, low: 4.0, high: 31.0 };
        let odd = Odd { series, value, band, size: value, score: value / 4.5, oddness: Oddness::Loud };
        course.note(at(seconds), &odd, before);
    }

    fn breadth(outside: usize) -> Breadth {
        Breadth { watched: 120, outside, score: 1.31 }
    }

    #[test]
    fn what_moved_first_is_named_and_what_followed_with_how_much_later() {
        let mut course = Course::default();
        note(&mut course, 0, &cpu(), 98.0, known());
        let load = Series::gauge("node_load1", "");
        note(&mut course, 0, &load, 70.0, Record::default());
        let disk = Series::gauge("tidewatch_host_filesystem_used_percent", "percent").with("mountpoint", "/");
        note(&mut course, 20, &disk, 90.0, Record::default());
        course.begin(at(20), 1.31);
        let alert = learned("web-1", &course, breadth(3), at(20).start, at(20));
        assert_eq!(plain(&alert.title), "CPU busy 98 %, expected 4 to 31 % on web-1");
        assert_eq!(
            plain(&alert.explanation),
            "CPU busy 98 %, expected 4 to 31 %, since 14:03:10 UTC: the highest in 2 d. With it: Load over 1 min 70, expected 4 to 31. 20 s later: File system used of / 90 %, expected 4 to 31 %. 3 of 120 series are outside what is expected. Which moved first within these seconds is not known; the cause is for you to judge."
        );
        let related: Vec<_> = alert.related.iter().map(|related| related.metric.as_str()).collect();
        assert_eq!(related, ["tidewatch_host_filesystem_used_percent", "node_load1"], "the oddest first");
        assert_eq!((alert.value, alert.starts_at), (Some(98.0), at(20).start));
    }

    #[test]
    fn one_that_moved_alone_at_first_is_not_called_the_cause() {
        let mut course = Course::default();
        note(&mut course, 0, &cpu(), 98.0, Record::default());
        for k in 0..12 {
            note(&mut course, 10 + k * 5, &Series::gauge(format!("m{k}"), ""), 50.0, Record::default());
        }
        course.begin(at(70), 2.0);
        let alert = learned("web-1", &course, breadth(13), at(0).start, at(70));
        let text = plain(&alert.explanation);
        assert!(text.contains("10 s later: m0 50, expected 4 to 31. 15 s later: m1"), "{text}");
        assert!(text.contains("8 more followed within 1 min 5 s. 13 of 120"), "{text}");
        assert!(text.ends_with("What moved first need not be the cause."), "{text}");
        assert!(!text.contains("highest"), "nothing is known of its past: {text}");
        assert_eq!(alert.related.len(), RELATED);
    }

    #[test]
    fn what_is_new_within_its_band_says_in_which_way() {
        let mut course = Course::default();
        let (cpu, band) = (cpu(), Band { expected: 17.0, low: 4.0, high: 31.0 });
        let odd =
            Odd { series: &cpu, value: 17.0, band, size: 0.1, score: 1.2, oddness: Oddness::New(Kind::Flat) };
        course.note(at(0), &odd, known());
        course.begin(at(0), 1.31);
        let alert = learned("web-1", &course, breadth(1), START, at(0));
        let text = plain(&alert.explanation);
        let wanted =
            "CPU busy 17 %, expected 4 to 31 %, and it moves less than it ever did, since 14:03:10 UTC. ";
        assert!(text.starts_with(wanted), "{text}");
        assert_eq!(plain(&alert.title), "CPU busy 17 %, expected 4 to 31 % on web-1");
    }

    #[test]
    fn the_same_again_says_what_is_new_and_stays_the_same_alert() {
        let mut course = Course::default();
        note(&mut course, 0, &cpu(), 98.0, Record::default());
        note(&mut course, 0, &Series::gauge("node_load1", ""), 70.0, Record::default());
        course.begin(at(0), 1.31);
        let alert = learned("web-1", &course, breadth(2), START, at(0));
        for k in 0..3 {
            note(&mut course, 60, &Series::gauge(format!("m{k}"), ""), 99.0, Record::default());
        }
        let before = course.again(at(300), 3.0).unwrap();
        let next = again(&alert, &course, breadth(5), before, at(300).end).unwrap();
        assert_eq!(plain(&next.title), "CPU busy 98 %, expected 4 to 31 % on web-1, 5 series by now");
        let text = plain(&next.explanation);
        assert!(
            text.starts_with("By now 5 series have moved, 2 at 14:03:20 UTC. The server sticks out 2.29 times as far as at 14:03:20 UTC. CPU busy 98 %"),
            "{text}"
        );
        let identity = |a: &Alert| {
            (
                a.alert_id.clone(),
                a.incident_id.clone(),
                a.starts_at,
                a.metric.clone(),
                a.labels.clone(),
                a.severity,
            )
        };
        assert_eq!(identity(&next), identity(&alert));
        assert_eq!((next.updated_at, next.score), (at(300).end, Some(3.0)));
    }

    #[test]
    fn without_a_mover_nothing_is_made_up() {
        let alert = learned("web-1", &Course::default(), breadth(0), START, at(0));
        assert_eq!((alert.metric, alert.explanation.as_str()), (None, ""));
    }
}
