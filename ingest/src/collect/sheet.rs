//! The frame that a scrape fills in: the same one each time.
//!
//! Invariant: as long as the same series come in the same order nothing is allocated; where one differs, the layout is
//! laid again from there on. A frame never holds more than Kafka takes, nor a series that the next stage refuses.

use tidewatch_schemas::{Limits, MetricFrame, Series, SeriesKind, validate};

use crate::frame_size;

#[derive(Debug)]
pub(super) struct Sheet {
    frame: MetricFrame,
    at: usize,
    bytes: usize,
    /// Series that found no room.
    refused: usize,
    /// The layout is another one than that of the scrape before.
    changed: bool,
    limits: Limits,
}

/// Labels in the order of their names.
pub(super) type LabelPairs<'a> = &'a [(&'a str, &'a str)];

impl Sheet {
    pub(super) fn new(server: String, sequence: i64) -> Self {
        let frame = MetricFrame {
            server,
            sequence,
            collected_at: 0,
            layout_id: 0,
            layout: Vec::new(),
            values: Vec::new(),
            histograms: Vec::new(),
        };
        Self { frame, at: 0, bytes: 0, refused: 0, changed: false, limits: Limits::default() }
    }

    pub(super) fn server(&self) -> &str {
        &self.frame.server
    }

    pub(super) fn frame(&self) -> &MetricFrame {
        &self.frame
    }

    /// Whether the scrape that ended brought other series than the one before, or another order of them.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Starts a scrape.
    pub(super) fn begin(&mut self, collected_at: i64) {
        self.frame.collected_at = collected_at;
        self.frame.sequence += 1;
        self.frame.values.clear();
        self.at = 0;
        self.bytes = frame_size::head(&self.frame.server);
        self.refused = 0;
        self.changed = false;
    }

    /// Ends it; how many series found no room.
    pub(super) fn end(&mut self) -> usize {
        self.changed |= self.frame.layout.len() > self.at;
        self.frame.layout.truncate(self.at);
        self.refused
    }

    pub(super) fn gauge(&mut self, metric: &str, unit: &str, labels: LabelPairs<'_>, value: f64) {
        self.put(SeriesKind::Gauge, metric, unit, labels, value);
    }

    pub(super) fn counter(&mut self, metric: &str, unit: &str, labels: LabelPairs<'_>, value: f64) {
        self.put(SeriesKind::Counter, metric, unit, labels, value);
    }

    fn put(&mut self, kind: SeriesKind, metric: &str, unit: &str, labels: LabelPairs<'_>, value: f64) {
        debug_assert!(labels.is_sorted(), "labels of {metric} have to be in order");
        let size = frame_size::series(metric, unit, frame_size::labels(labels.iter().copied()));
        if self.at >= self.limits.series || self.bytes + size > frame_size::MAX_FRAME {
            self.refused += 1;
            return;
        }
        let same = |series: &Series| {
            series.metric == metric
                && series.labels.len() == labels.len()
                && series.labels.iter().zip(labels).all(|((name, text), (n, t))| name == n && text == t)
        };
        if !self.frame.layout.get(self.at).is_some_and(same) {
            let labels = labels.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
            let series = Series { metric: metric.to_owned(), labels, kind, unit: unit.to_owned() };
            if let Err(reason) = validate::check_series(&series, &self.limits) {
                // a device with a name that nobody could print; node_exporter would show it escaped
                tracing::trace!(%reason, metric, "skip series");
                return;
            }
            self.frame.layout.truncate(self.at);
            self.frame.layout.push(series);
            self.changed = true;
        }
        self.frame.values.push(value);
        self.bytes += size;
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(sheet: &mut Sheet, devices: &[&str]) -> Vec<String> {
        sheet.begin(1);
        for (n, device) in devices.iter().enumerate() {
            sheet.counter("bytes", "bytes", &[("device", device)], n as f64);
        }
        sheet.gauge("load", "", &[], 0.5);
        assert_eq!(sheet.end(), 0);
        let frame = sheet.frame();
        assert_eq!(frame.layout.len(), frame.values.len());
        assert_eq!(frame.values.last(), Some(&0.5));
        frame.layout.iter().map(|s| s.labels.get("device").cloned().unwrap_or_default()).collect()
    }

    #[test]
    fn the_layout_follows_the_devices() {
        let mut sheet = Sheet::new("a".into(), 10);
        assert_eq!(fill(&mut sheet, &["eth0", "lo"]), ["eth0", "lo", ""]);
        let kept = sheet.frame().layout.as_ptr();
        assert_eq!(fill(&mut sheet, &["eth0", "lo"]), ["eth0", "lo", ""]);
        assert_eq!(sheet.frame().layout.as_ptr(), kept);
        assert_eq!(fill(&mut sheet, &["lo"]), ["lo", ""]);
        assert_eq!(fill(&mut sheet, &["eth0", "lo", "veth1"]), ["eth0", "lo", "veth1", ""]);
        assert_eq!(sheet.frame().sequence, 14);
    }

    #[test]
    fn it_tells_whether_the_layout_is_another_one() {
        let mut sheet = Sheet::new("a".into(), 0);
        for (devices, changed) in [
            (&["eth0", "lo"][..], true),
            (&["eth0", "lo"], false),
            // what cannot be a series never was one
            (&["eth0", "new\nline", "lo"], false),
            (&["lo", "eth0"], true),
            (&["lo"], true),
            (&["lo"], false),
            (&["lo", "veth1"], true),
            (&["lo", "veth1"], false),
        ] {
            fill(&mut sheet, devices);
            assert_eq!(sheet.changed(), changed, "{devices:?}");
        }
        sheet.begin(1);
        assert_eq!((sheet.end(), sheet.changed()), (0, true), "nothing but a shorter layout");
        sheet.begin(1);
        assert_eq!((sheet.end(), sheet.changed()), (0, false));
    }

    #[test]
    fn a_name_that_cannot_be_is_left_out_and_a_flood_is_counted() {
        let mut sheet = Sheet::new("a".into(), 0);
        assert_eq!(fill(&mut sheet, &["eth0", "new\nline", "lo"]), ["eth0", "lo", ""]);
        sheet.begin(1);
        for n in 0..20_000 {
            sheet.gauge("m", "", &[("n", &n.to_string())], 1.0);
        }
        assert_eq!(sheet.end(), 10_000);
        assert_eq!(sheet.frame().values.len(), 10_000);
    }
}
