//! How large a frame becomes on the wire, before it is made: Kafka's default limit for a record is 1 MB.
//!
//! Invariant: the estimate is never below the Avro encoding, so a frame that passes is never refused by the broker.

/// The largest frame we make, bytes.
pub(crate) const MAX_FRAME: usize = 900_000;

/// A varint of any length that passes our limits.
const LENGTH: usize = 4;

/// Bytes of a frame without its series: framing, four longs, the ends of three arrays.
pub(crate) fn head(server: &str) -> usize {
    10 + 4 * 10 + 5 * LENGTH + LENGTH + server.len()
}

/// Bytes of one series and its value.
pub(crate) fn series(metric: &str, unit: &str, labels: usize) -> usize {
    // kind, the ends of the labels' map, the value
    4 * LENGTH + metric.len() + unit.len() + labels + 8
}

/// Bytes of labels.
pub(crate) fn labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> usize {
    labels.into_iter().map(|(name, value)| 2 * LENGTH + name.len() + value.len()).sum::<usize>() + LENGTH
}

#[cfg(test)]
mod tests {
    use tidewatch_schemas::{MetricFrame, Series, encode};

    use super::*;

    fn of(made: &Series) -> usize {
        let pairs = made.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        series(&made.metric, &made.unit, labels(pairs))
    }

    #[test]
    fn the_estimate_is_never_below_the_encoding() {
        for (count, length) in [(0, 1), (1, 1), (1, 300), (100, 20), (3_000, 60)] {
            let layout: Vec<Series> = (0..count)
                .map(|i| {
                    Series::counter(format!("m{i}"), "bytes").with("l", "v".repeat(length)).with("k", "")
                })
                .collect();
            let estimate = head("server") + layout.iter().map(of).sum::<usize>();
            let frame = MetricFrame {
                server: "server".into(),
                sequence: i64::MAX,
                collected_at: i64::MAX,
                layout_id: i64::MIN,
                values: vec![f64::NAN; layout.len()],
                histograms: vec![],
                layout,
            };
            let encoded = encode(&frame).unwrap().len();
            assert!(estimate >= encoded, "{count} series: {estimate} < {encoded}");
        }
    }
}
