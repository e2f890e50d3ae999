//! Histograms on the wire: what a record brings is judged and merged as [`Distribution`]; here it is read and written.
//!
//! Invariant: what is made of a record before it is judged is bounded.

use tidewatch_schemas::{Buckets, Distribution, histogram::MAX_BUCKETS};

use crate::{
    layout::{Refusal, write_long},
    read::{BucketsView, HistogramView},
};

/// What the view says, judged. `most` is the largest magnitude that its sum may have. `None` = nothing was observed.
pub(crate) fn read(view: &HistogramView<'_>, most: f64) -> Result<Option<Distribution>, Refusal> {
    let HistogramView { count, sum, min, max, scale, zero_threshold, zero_count, .. } = *view;
    let (positive, negative) = (buckets(&view.positive), buckets(&view.negative));
    let read = Distribution { count, zero_count, scale, zero_threshold, sum, min, max, positive, negative };
    read.judged(most).map_err(|(reason, message)| Refusal { reason, message })
}

fn buckets(view: &BucketsView<'_>) -> Buckets {
    // one more than is allowed is enough to be refused
    let most = MAX_BUCKETS + 1;
    let mut counts = Vec::with_capacity(view.counts.len.min(most));
    counts.extend(view.counts.longs().take(most));
    Buckets { offset: view.offset, counts }
}

/// The most bytes that [`write`] takes beside the series, with so many buckets of each sign.
pub(crate) const fn most_bytes(buckets: usize) -> usize {
    // count and zero_count; four doubles; scale; of each sign the offset, the array's length and end
    2 * LONG + 4 * 8 + 1 + 2 * (5 + 2 + 1 + buckets * LONG)
}

/// The most bytes that it takes as it is.
pub(crate) fn size(histogram: &Distribution) -> usize {
    most_bytes(histogram.positive.counts.len().max(histogram.negative.counts.len()))
}

/// Appends it in Avro, `series` as it is.
pub(crate) fn write(histogram: &Distribution, out: &mut Vec<u8>, series: &[u8]) {
    out.extend_from_slice(series);
    write_long(out, histogram.count);
    for value in [histogram.sum, histogram.min, histogram.max] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    write_long(out, i64::from(histogram.scale));
    out.extend_from_slice(&histogram.zero_threshold.to_le_bytes());
    write_long(out, histogram.zero_count);
    write_buckets(&histogram.positive, out);
    write_buckets(&histogram.negative, out);
}

/// The longest varint.
const LONG: usize = 10;

fn write_buckets(buckets: &Buckets, out: &mut Vec<u8>) {
    write_long(out, i64::from(buckets.offset));
    if !buckets.counts.is_empty() {
        write_long(out, buckets.counts.len() as i64);
        buckets.counts.iter().for_each(|count| write_long(out, *count));
    }
    out.push(0);
}

#[cfg(test)]
mod tests;
