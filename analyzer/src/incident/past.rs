//! What a server's incidents were like: which metrics moved in the last ones, and which of them a new one resembles.
//!
//! In: the alerts that were said and are over, in their order. Out: a sentence, or none. Invariant: a function of what was
//! said, so that whoever reads the alert topic remembers the same.

use std::collections::BTreeSet;

use tidewatch_schemas::Alert;

use super::words;

/// Incidents that are remembered of a server.
const KEPT: usize = 16;
/// Two incidents are alike from this share of common metrics on (Jaccard: those of both over those of either) ...
const ALIKE: f64 = 0.6;
/// ... and with at least so many: one metric alone is no pattern.
const COMMON: usize = 2;

#[derive(Debug, Clone, PartialEq)]
struct Remembered {
    starts_at: i64,
    ends_at: i64,
    metrics: BTreeSet<String>,
}

/// The last incidents of one server, the oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Past {
    kept: Vec<Remembered>,
}

impl Past {
    /// An alert of the detector that is over.
    pub fn add(&mut self, alert: &Alert) {
        if self.kept.len() == KEPT {
            self.kept.remove(0);
        }
        let ends_at = alert.ends_at.unwrap_or(alert.updated_at);
        self.kept.push(Remembered { starts_at: alert.starts_at, ends_at, metrics: metrics_of(alert) });
    }

    /// What an alert resembles most; the newest of those that are equally alike.
    pub fn resembles(&self, alert: &Alert) -> Option<String> {
        let metrics = metrics_of(alert);
        let mut best: Option<(f64, usize, &Remembered)> = None;
        for past in self.kept.iter().rev() {
            let common = past.metrics.intersection(&metrics).count();
            let likeness = common as f64 / past.metrics.union(&metrics).count().max(1) as f64;
            if common >= COMMON && likeness >= ALIKE && best.is_none_or(|(most, ..)| likeness > most) {
                best = Some((likeness, common, past));
            }
        }
        let (_, common, past) = best?;
        Some(format!(
            "It resembles the incident of {} ({common} of {} metrics are the same), which lasted {}.",
            words::date(past.starts_at),
            metrics.len(),
            words::duration(past.ends_at - past.starts_at)
        ))
    }

    pub(crate) fn bytes(&self) -> usize {
        let metrics = |past: &Remembered| past.metrics.iter().map(|metric| metric.len() + 32).sum::<usize>();
        self.kept.iter().map(|past| size_of::<Remembered>() + metrics(past)).sum()
    }
}

fn metrics_of(alert: &Alert) -> BTreeSet<String> {
    let related = alert.related.iter().map(|related| &related.metric);
    alert.metric.iter().chain(related).cloned().collect()
}

#[cfg(test)]
mod tests {
    use tidewatch_schemas::{Labels, RelatedSeries, Severity};

    use super::*;
    use crate::incident::blank;

    const START: i64 = 1_795_442_590_000; // Mon 23 Nov 2026 14:03:10 UTC
    const DAY: i64 = 86_400_000;

    fn alert(starts_at: i64, metrics: &[&str]) -> Alert {
        let fingerprint = "f".to_owned();
        let times = (starts_at, starts_at);
        let mut alert = blank("learned", Severity::Warning, "a", &Labels::new(), fingerprint, times);
        alert.ends_at = Some(starts_at + 720_000);
        alert.metric = metrics.first().map(|&metric| metric.to_owned());
        let related =
            |&metric: &&str| RelatedSeries { metric: metric.to_owned(), labels: Labels::new(), score: 1.0 };
        alert.related = metrics.iter().skip(1).map(related).collect();
        alert
    }

    fn said(past: &Past, metrics: &[&str]) -> Option<String> {
        past.resembles(&alert(START, metrics)).map(|text| text.replace('\u{202f}', " "))
    }

    #[test]
    fn the_most_alike_is_named_with_its_date() {
        let mut past = Past::default();
        past.add(&alert(START - 9 * DAY, &["cpu", "load", "net", "disk"]));
        past.add(&alert(START - 5 * DAY, &["cpu", "load", "net", "memory", "swap"]));
        past.add(&alert(START - 2 * DAY, &["inodes"]));
        assert_eq!(
            said(&past, &["load", "cpu", "net", "disk"]).as_deref(),
            Some(
                "It resembles the incident of 14 Nov 14:03 UTC (4 of 4 metrics are the same), which lasted 12 min."
            )
        );
        assert_eq!(said(&past, &["cpu", "net", "else"]), None, "2 of 5");
        assert_eq!(said(&past, &["inodes"]), None, "one metric is no pattern");
        assert_eq!(said(&past, &[]), None);
    }

    #[test]
    fn of_equals_the_newest_and_of_many_the_last() {
        let mut past = Past::default();
        for day in (1..=40).rev() {
            past.add(&alert(START - day * DAY, &["cpu", "load"]));
        }
        assert_eq!(past.kept.len(), KEPT);
        let text = said(&past, &["cpu", "load"]).unwrap();
        assert!(text.contains("22 Nov 14:03 UTC"), "{text}");
    }
}
