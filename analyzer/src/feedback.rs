//! What people said of alerts, and how high the bars of the series stand for it.
//!
//! In: the records of `analyzer.feedback`, in any order. Out: by how much the bar of a series is raised in a window, and that in
//! words. Pure. Invariant: a function of the records and of the window's start alone, so it does not matter when a record is
//! heard, as long as that is before the first window that it is about.

use std::collections::BTreeMap;

use tidewatch_schemas::{Alert, Feedback, Labels, Series, Verdict, time::rfc3339};

use crate::{
    detect::{Opinion, together::LOUDER},
    incident::words,
};

/// A verdict has so many milliseconds to fade: four weeks.
const FADES_MS: i64 = 28 * 86_400_000;
/// Fresh verdicts that count: the bar stands `LOUDER`^4 = 3.8 times as high at most.
const MOST: f64 = 4.0;
/// Series of one record; an alert of ours names nine.
const NAMED: usize = 64;
/// Less is not worth a word.
const WORTH_SAYING: f64 = 1.05;
/// Letters of a series' name in an explanation.
const LONGEST_NAME: usize = 300;

/// All that was said, by server and alert.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdicts(BTreeMap<String, BTreeMap<String, Vec<Feedback>>>);

impl Verdicts {
    pub fn add(&mut self, mut said: Feedback) {
        said.series.truncate(NAMED);
        let of_server = self.0.entry(said.server.clone()).or_default();
        let of_alert = of_server.entry(said.alert_id.clone()).or_default();
        // of two that were said at once the later record holds
        let place = of_alert.partition_point(|other| other.said_at <= said.said_at);
        of_alert.insert(place, said);
    }

    /// The bars that they raise on a server.
    pub(crate) fn bars_of(&self, server: &str) -> Bars {
        let mut bars = Bars::default();
        for said in self.0.get(server).into_iter().flat_map(BTreeMap::values) {
            for (place, one) in said.iter().enumerate() {
                if one.verdict != Some(Verdict::FalseAlarm) {
                    continue;
                }
                let until = said.get(place + 1).map_or(i64::MAX, Feedback::in_force_from);
                bars.add(Mark { from: one.in_force_from(), until }, one);
            }
        }
        // sums of the same in the same order are the same to the bit
        bars.all.iter_mut().for_each(|bar| bar.marks.sort_unstable());
        bars
    }
}

/// That an alert is called a false alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    from: i64,
    /// Exclusive.
    until: i64,
}

impl Mark {
    /// 1 when it is fresh, 0 when it has faded; `None` when it is not in force.
    fn weight(self, start: i64) -> Option<f64> {
        let age = start.checked_sub(self.from).filter(|age| (0..FADES_MS).contains(age))?;
        (start < self.until).then_some(1.0 - age as f64 / FADES_MS as f64)
    }
}

/// The bar of one series.
#[derive(Debug)]
struct Bar {
    series: Series,
    /// Those that said something first.
    marks: Vec<Mark>,
}

/// How high a bar stands.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Raised {
    times: f64,
    /// So many alerts.
    alerts: usize,
    /// When the last of them was said to be false.
    said_at: i64,
}

impl Bar {
    fn raised(&self, start: i64) -> Option<Raised> {
        let (mut weight, mut alerts, mut from) = (0.0, 0, i64::MIN);
        for mark in &self.marks {
            if let Some(one) = mark.weight(start) {
                weight += one;
                alerts += 1;
                from = from.max(mark.from);
            }
        }
        let times = LOUDER.powf(f64::min(weight, MOST));
        (alerts > 0).then_some(Raised { times, alerts, said_at: from - Feedback::AFTER_MS })
    }
}

/// The bars of a server's series that people had a say in.
#[derive(Debug, Default)]
pub(crate) struct Bars {
    all: Vec<Bar>,
    /// By alert, for counting.
    marks: Vec<Mark>,
    /// Places in the layout, in rising order, and whose bar that is.
    places: Vec<(usize, usize)>,
}

impl Bars {
    fn add(&mut self, mark: Mark, said: &Feedback) {
        self.marks.push(mark);
        for (place, named) in said.series.iter().enumerate() {
            if said.series[..place].contains(named) {
                continue;
            }
            let known = self.all.iter_mut().find(|bar| is_of(&bar.series, &named.metric, &named.labels));
            if let Some(bar) = known {
                bar.marks.push(mark);
            } else {
                let series =
                    Series { labels: named.labels.clone(), ..Series::gauge(named.metric.clone(), "") };
                self.all.push(Bar { series, marks: vec![mark] });
            }
        }
    }

    /// Where the series are from now on.
    pub(crate) fn place<'a>(&mut self, layout: impl Iterator<Item = &'a Series>) {
        self.places.clear();
        if self.all.is_empty() {
            return;
        }
        for (place, series) in layout.enumerate() {
            let bar = self.all.iter().position(|bar| is_of(&bar.series, &series.metric, &series.labels));
            self.places.extend(bar.map(|bar| (place, bar)));
        }
    }

    fn raised(&self, place: usize, start: i64) -> Option<Raised> {
        if self.places.is_empty() {
            return None;
        }
        let found = self.places.binary_search_by_key(&place, |(place, _)| *place).ok()?;
        self.all[self.places[found].1].raised(start)
    }

    /// How many times as high the bar of the series at this place in the layout stands, in a window that starts then.
    pub(crate) fn times(&self, place: usize, start: i64) -> f64 {
        self.raised(place, start).map_or(1.0, |raised| raised.times)
    }

    /// What was judged, against the bar as it stands.
    pub(crate) fn judge(&self, place: usize, start: i64, opinion: Opinion) -> Opinion {
        self.raised(place, start).map_or(opinion, |raised| opinion.against(raised.times))
    }

    /// The detector's name, with what was said of the series.
    pub(crate) fn method(&self, place: usize, start: i64, detector: &str) -> String {
        let raised = self.raised(place, start).filter(|raised| raised.times >= WORTH_SAYING);
        let Some(Raised { times, alerts, .. }) = raised else { return detector.to_owned() };
        let alarms = if alerts == 1 { "alarm" } else { "alarms" };
        format!("{detector}, its bar {} times as high for {alerts} false {alarms}", words::number(times))
    }

    /// Says in the alert which of the bars of the series that it names are raised, and why.
    pub(crate) fn explain(&self, alert: &mut Alert, start: i64) {
        let bars = alert.named().filter_map(|(metric, labels)| {
            let bar = self.all.iter().find(|bar| is_of(&bar.series, metric, labels))?;
            Some((bar, bar.raised(start).filter(|raised| raised.times >= WORTH_SAYING)?))
        });
        let raised: Vec<(&Bar, Raised)> = bars.collect();
        let Some(((bar, first), others)) = raised.split_first() else { return };
        let why = sentence(&bar.series, *first, others.len());
        alert.explanation = words::with_last(std::mem::take(&mut alert.explanation), &why);
    }

    /// Verdicts that are in force in a window that starts then.
    pub(crate) fn in_force(&self, start: i64) -> usize {
        self.marks.iter().filter(|mark| mark.weight(start).is_some()).count()
    }

    pub(crate) fn bytes(&self) -> usize {
        let marks: usize = self.all.iter().map(|bar| bar.marks.capacity()).sum();
        (marks + self.marks.capacity()) * size_of::<Mark>() + self.all.capacity() * size_of::<Bar>()
    }
}

fn is_of(series: &Series, metric: &str, labels: &Labels) -> bool {
    series.metric == metric && series.labels == *labels
}

fn sentence(series: &Series, raised: Raised, others: usize) -> String {
    let what: String = words::what(series).chars().take(LONGEST_NAME).collect();
    let said_at = rfc3339(raised.said_at);
    let day = said_at.split('T').next().unwrap_or_default();
    let times = words::number(raised.times);
    let since = match raised.alerts {
        1 => format!("an alert that named it was called a false alarm on {day}"),
        alerts => {
            format!("{alerts} alerts that named it were called false alarms, the last one on {day}")
        }
    };
    let others = match others {
        0 => String::new(),
        1 => " So does that of one more series of this alert.".to_owned(),
        others => format!(" So do those of {others} more series of this alert."),
    };
    format!("The bar of {what} stands {times} times as high since {since}.{others}")
}

#[cfg(test)]
mod tests;
