//! Rows as JSON, byte for byte as serde writes a [`MetricView`](crate::views::MetricView), without working out anew for each row what all rows of
//! a series have in common: that is most of an answer.

use tidewatch_schemas::{Labels, time::rfc3339};

use super::Sample;

/// About the length of a row.
const ROW: usize = 192;

/// What is the same in all rows of a series: the text between id and value, and that behind the time.
#[derive(Debug, Default)]
pub(super) struct Around {
    before_value: Vec<u8>,
    behind_time: Vec<u8>,
}

impl Around {
    pub(super) fn new(server_id: i32, metric_name: &str, labels: &Labels) -> serde_json::Result<Self> {
        let mut around = Self::default();
        around.set(server_id, metric_name, labels)?;
        Ok(around)
    }

    fn set(&mut self, server_id: i32, metric_name: &str, labels: &Labels) -> serde_json::Result<()> {
        let (before, behind) = (&mut self.before_value, &mut self.behind_time);
        before.clear();
        before.extend_from_slice(b",\"server_id\":");
        serde_json::to_writer(&mut *before, &server_id)?;
        before.extend_from_slice(b",\"metric_name\":");
        serde_json::to_writer(&mut *before, metric_name)?;
        before.extend_from_slice(b",\"value\":");
        behind.clear();
        behind.extend_from_slice(b"\",\"labels\":");
        serde_json::to_writer(&mut *behind, labels)?;
        behind.push(b'}');
        Ok(())
    }
}

pub(super) fn write(rows: &[Sample<'_>]) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(2 + rows.len() * ROW);
    let mut own = Around::default();
    // many rows share few times
    let (mut shown_ms, mut shown) = (i64::MIN, String::new());
    out.push(b'[');
    for row in rows {
        let around = if let Some(around) = row.around {
            around
        } else {
            own.set(row.server_id, row.metric_name, row.labels)?;
            &own
        };
        if row.ts_ms != shown_ms {
            (shown_ms, shown) = (row.ts_ms, rfc3339(row.ts_ms));
        }
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"id\":");
        serde_json::to_writer(&mut out, &row.id)?;
        out.extend_from_slice(&around.before_value);
        serde_json::to_writer(&mut out, &row.value)?;
        out.extend_from_slice(b",\"timestamp\":\"");
        out.extend_from_slice(shown.as_bytes());
        out.extend_from_slice(&around.behind_time);
    }
    out.push(b']');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::views::MetricView;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z_\"\\\\\n/é]{0,9}", any::<String>()]
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), Just(-0.0), Just(f64::NAN), Just(f64::INFINITY), any::<f64>()]
    }

    proptest! {
        #[test]
        fn it_is_what_serde_writes(
            series in prop::collection::vec((any::<i32>(), text(), prop::collection::btree_map(text(), text(), 0..3)), 1..4),
            rows in prop::collection::vec((0..4_usize, any::<i64>(), value(), 0..3_i64, any::<bool>()), 0..12),
        ) {
            let arounds: Vec<_> = series.iter().map(|(id, name, labels)| Around::new(*id, name, labels).expect("text")).collect();
            let rows: Vec<_> = rows.into_iter().map(|(place, id, value, time, is_shared)| {
                let place = place % series.len();
                let (server_id, metric_name, labels) = &series[place];
                let around = is_shared.then(|| &arounds[place]);
                Sample { id, server_id: *server_id, metric_name, value, ts_ms: 1_795_443_360_000 + time * 10_000, labels, around }
            }).collect();
            let times: Vec<_> = rows.iter().map(|row| rfc3339(row.ts_ms)).collect();
            let views: Vec<_> = rows.iter().zip(&times).map(|(row, time)| row.view(time)).collect();
            let expected = serde_json::to_string::<[MetricView<'_>]>(&views).expect("text");
            prop_assert_eq!(String::from_utf8(write(&rows).expect("text")).expect("UTF-8"), expected);
        }
    }
}
