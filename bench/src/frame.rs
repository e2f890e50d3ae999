//! A `MetricFrame` assembled from bytes: the layout is encoded once for each server, the rest is a few numbers.
//!
//! Invariant: the bytes are those that `tidewatch_schemas::encode` makes of the same frame.

use tidewatch_schemas::{Layout, MetricFrame, Series, encode};

use crate::Result;

const HEADER_BYTES: usize = 10;

/// Makes the frames of one server under one layout.
#[derive(Debug, Clone)]
pub struct Template {
    /// Up to and with the server's name.
    head: Vec<u8>,
    /// `layout_id` and the layout, one of them empty.
    layout: Vec<u8>,
}

impl Template {
    pub fn new(server: &str, layout: Vec<Series>) -> Result<Self> {
        let empty = MetricFrame {
            server: server.to_owned(),
            sequence: 0,
            collected_at: 0,
            layout_id: 0,
            layout: Vec::new(),
            values: Vec::new(),
            histograms: Vec::new(),
        };
        let mut head = encode(&empty)?;
        head.truncate(HEADER_BYTES);
        put_long(&mut head, server.len() as i64);
        head.extend_from_slice(server.as_bytes());
        // a `Layout` is just that: the id, then the same array
        let layout = encode(&Layout { layout_id: 0, layout })?.split_off(HEADER_BYTES);
        Ok(Self { head, layout })
    }

    /// Frames that name their layout; the second is what has to be announced before.
    pub fn naming(server: &str, layout: Vec<Series>) -> Result<(Self, Layout)> {
        let named = Layout::of(layout)?;
        let unnamed = Self::new(server, Vec::new())?;
        let mut layout = Vec::new();
        put_long(&mut layout, named.layout_id);
        layout.push(0);
        Ok((Self { layout, ..unnamed }, named))
    }

    /// Appends a frame to `out`.
    pub fn frame(&self, out: &mut Vec<u8>, sequence: i64, collected_at: i64, values: &[f64]) {
        out.extend_from_slice(&self.head);
        put_long(out, sequence);
        put_long(out, collected_at);
        out.extend_from_slice(&self.layout);
        if !values.is_empty() {
            put_long(out, values.len() as i64);
            for value in values {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
        // the values' end, and no histograms
        out.extend_from_slice(&[0, 0]);
    }

    /// Bytes of the layout, or of its id.
    pub fn layout_bytes(&self) -> usize {
        self.layout.len()
    }
}

/// Avro's zigzag variable-length integer.
fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet;

    #[test]
    fn an_assembled_frame_is_an_encoded_one() {
        let layout = fleet::layout("srv-000003", 100);
        let values: Vec<f64> = (0..100).map(|index| fleet::value(3, index, 5)).collect();
        let template = Template::new("srv-000003", layout.clone()).unwrap();
        let mut bytes = Vec::new();
        template.frame(&mut bytes, 77, 1_795_000_000_123, &values);
        let frame = MetricFrame {
            server: "srv-000003".into(),
            sequence: 77,
            collected_at: 1_795_000_000_123,
            layout_id: 0,
            layout,
            values,
            histograms: vec![],
        };
        assert_eq!(bytes, encode(&frame).unwrap());
        let (naming, named) = Template::naming("srv-000003", frame.layout.clone()).unwrap();
        let mut bytes = Vec::new();
        naming.frame(&mut bytes, 77, 1_795_000_000_123, &frame.values);
        let frame = MetricFrame { layout_id: named.layout_id, layout: vec![], ..frame };
        assert_eq!(bytes, encode(&frame).unwrap());
        assert!((7_000..7_800).contains(&template.layout_bytes()), "{}", template.layout_bytes());
    }
}
