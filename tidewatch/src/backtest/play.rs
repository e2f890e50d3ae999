//! One server's windows through the analyzer's core, with a clock that is the windows' own.
//!
//! In: frames, oldest first. Out: the alerts that would have fired, with when and until when. Keeps: the core speaks from the first
//! window on, as an analyzer that was there all the time, so that what holds when the asked time begins has its true start.

use std::{collections::BTreeMap, sync::Arc};

use tidewatch_analyzer::{
    analysis::{Analysis, Output, Said, Sight},
    rules::RuleSet,
};
use tidewatch_schemas::{AggregateFrame, Alert, AlertStatus};

use super::frames::WINDOW_MS;

/// How long after its end a window reaches the analyzer: the stream processor's `window-grace`.
pub(super) const GRACE_MS: i64 = 2_000;
/// Alerts of one server that are kept at most.
pub(super) const MOST: usize = 100_000;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60_000;
/// A silence that is longer is looked at each minute only: by then only a time of quiet that ends brings anything new.
const LONG_MS: i64 = 3_600_000;

/// An alert that would have fired, or was said.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// As it fired.
    pub(super) alert: Alert,
    /// Milliseconds since 1970: the end of the window with which it fired; of a silence when it was told.
    pub(super) fired_at: i64,
    /// Nothing: it was open when the history ended.
    pub(super) ends_at: Option<i64>,
}

impl Found {
    /// The time it was open, up to `to`.
    pub(super) fn open_ms(&self, to: i64) -> i64 {
        (self.ends_at.unwrap_or(to) - self.alert.starts_at).max(0)
    }
}

/// Rules and models of one server.
#[derive(Debug)]
pub(super) struct Player {
    analysis: Analysis,
    /// Since when there is history.
    since: i64,
    /// When the last window came.
    arrived: Option<i64>,
    open: BTreeMap<String, Found>,
    over: Vec<Found>,
    out: Vec<Output>,
}

impl Player {
    pub(super) fn new(rules: Arc<RuleSet>, since: i64) -> Self {
        let mut analysis = Analysis::new(rules);
        analysis.go_live(Said::default());
        Self { analysis, since, arrived: None, open: BTreeMap::new(), over: Vec::new(), out: Vec::new() }
    }

    pub(super) fn window(&mut self, frame: &AggregateFrame) {
        let arrives = frame.window_end() + GRACE_MS;
        self.wait(arrives);
        self.analysis.step(frame, arrives, &mut self.out);
        self.arrived = Some(arrives);
        self.gather();
    }

    /// The clock ticks while no window comes: nothing but silence needs it, and that takes more than one window.
    fn wait(&mut self, until: i64) {
        let Some(arrived) = self.arrived else { return };
        let mut now = arrived + WINDOW_MS;
        while now < until {
            self.analysis.tick(now, Sight::Clear, Some(self.since), &mut self.out);
            self.gather();
            now = if now - arrived < LONG_MS { now + SECOND_MS } else { (now / MINUTE_MS + 1) * MINUTE_MS };
        }
    }

    fn gather(&mut self) {
        for output in self.out.drain(..) {
            let Output::Alert(alert) = output else { continue };
            if alert.status == AlertStatus::Resolved {
                if let Some(mut found) = self.open.remove(&alert.alert_id) {
                    found.ends_at = alert.ends_at;
                    self.over.push(found);
                }
            } else {
                let fired_at = alert.updated_at;
                let found = || Found { alert: *alert.clone(), fired_at, ends_at: None };
                self.open.entry(alert.alert_id.clone()).or_insert_with(found);
            }
        }
    }

    /// More alerts than anybody would read: the rule that made most of them.
    pub(super) fn too_much(&self) -> Option<&str> {
        if self.over.len() <= MOST {
            return None;
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for found in &self.over {
            *counts.entry(&found.alert.rule).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(rule, _)| rule)
    }

    /// All alerts of the server by the time they fired, when the history has ended at `to`.
    pub(super) fn finish(mut self, to: i64) -> Vec<Found> {
        self.wait(to);
        let mut all = self.over;
        all.extend(self.open.into_values());
        all.sort_by(|a, b| (a.fired_at, &a.alert.alert_id).cmp(&(b.fired_at, &b.alert.alert_id)));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidewatch_analyzer::rules;
    use tidewatch_schemas::SeriesKind;
    use tidewatch_store::{SeriesMeta, WindowRow};

    use super::{super::frames::Frames, *};

    /// Monday, 23 November 2026, 00:00 UTC.
    const T0: i64 = 1_795_392_000_000;
    const RULES: &str = "rules:
  - {name: high, metric: m, above: 5, for: 20s}
  - {name: silent, absent: server, for: 60s, quiet: ['mon 01:00-03:00']}
  - {name: gone, metric: other, absent: metric, for: 30s}
";

    fn play(values: &[(i64, f64)], heard: &[i64], to: i64) -> Vec<Found> {
        let meta = SeriesMeta {
            id: 1,
            server_id: 1,
            metric_name: "m".into(),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            kind: SeriesKind::Gauge,
            unit: String::new(),
        };
        let row = |&(window, value): &(i64, f64)| WindowRow {
            series_id: 1,
            ts_ms: T0 + window * WINDOW_MS,
            count: 1,
            sum: value,
            min: value,
            max: value,
            first: value,
            last: value,
            first_at: 0,
            last_at: 0,
            m2: 0.0,
            increase: 0.0,
            resets: 0,
            origin: tidewatch_schemas::Origin { partition: 0, offset: window },
        };
        let rules = Arc::new(rules::parse(RULES, Path::new("rules.yaml")).unwrap());
        let mut player = Player::new(rules, T0);
        let mut frames = Frames::new("web-1", vec![meta]);
        let heard: Vec<i64> = heard.iter().map(|window| T0 + window * WINDOW_MS).collect();
        frames.rebuild(values.iter().map(row).collect(), &heard, |frame| player.window(frame));
        player.finish(T0 + to)
    }

    fn of<'a>(found: &'a [Found], rule: &str) -> Vec<&'a Found> {
        found.iter().filter(|found| found.alert.rule == rule).collect()
    }

    #[test]
    fn a_limit_fires_with_its_window_and_ends_with_it() {
        let values: Vec<(i64, f64)> =
            (0..100).map(|window| (window, if (40..50).contains(&window) { 9.0 } else { 1.0 })).collect();
        let found = play(&values, &[], 1_000_000);
        let high = of(&found, "high");
        assert_eq!(high.len(), 1);
        let times = (high[0].alert.starts_at - T0, high[0].fired_at - T0, high[0].ends_at.unwrap() - T0);
        assert_eq!(times, (400_000, 420_000, 500_000));
        assert_eq!(high[0].open_ms(0), 100_000);
        assert!(!high[0].alert.explanation.is_empty());
        let gone = of(&found, "gone");
        assert_eq!((gone.len(), gone[0].ends_at), (1, None), "open to the end");
        assert_eq!(gone[0].open_ms(T0 + 1_000_000), 1_000_000);
        assert!(of(&found, "silent").is_empty());
    }

    #[test]
    fn a_silence_is_told_while_it_lasts() {
        let values: Vec<(i64, f64)> =
            (0..100).filter(|window| !(30..60).contains(window)).map(|window| (window, 1.0)).collect();
        let found = play(&values, &[], 1_000_000);
        let silent = of(&found, "silent");
        assert_eq!(silent.len(), 1);
        let times = (silent[0].alert.starts_at, silent[0].fired_at, silent[0].ends_at.unwrap());
        assert_eq!(times, (T0 + 300_000, T0 + 360_000, T0 + 600_000));
        // and one that the history ends with, but not before its time has passed
        assert_eq!(of(&play(&values, &[], 1_060_000), "silent").len(), 1);
        let last = play(&values, &[], 1_070_000);
        assert_eq!(of(&last, "silent")[1].ends_at, None);
    }

    #[test]
    fn a_server_with_histograms_alone_is_not_silent() {
        let values = [(0, 1.0), (30, 1.0)];
        let heard: Vec<i64> = (0..31).collect();
        assert!(of(&play(&values, &heard, 310_000), "silent").is_empty());
        assert_eq!(of(&play(&values, &[], 310_000), "silent").len(), 1);
    }

    #[test]
    fn a_silence_in_a_time_of_quiet_is_told_at_its_end() {
        // from 00:59:50 to 03:20
        let found = play(&[(358, 1.0), (1_200, 1.0)], &[], 12_050_000);
        let silent = of(&found, "silent");
        assert_eq!(silent.len(), 1);
        assert_eq!((silent[0].alert.starts_at, silent[0].fired_at), (T0 + 3_590_000, T0 + 3 * 3_600_000));
    }
}
