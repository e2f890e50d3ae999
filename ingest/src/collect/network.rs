//! `/proc/net/dev` and the state of each interface; the sum of all traffic for the fleet.

use std::{io, time::Instant};

use super::{
    sheet::Sheet,
    source::{Source, number},
};

/// The columns of the file.
const COLUMNS: [(&str, &str); 16] = [
    ("node_network_receive_bytes_total", "bytes"),
    ("node_network_receive_packets_total", ""),
    ("node_network_receive_errs_total", ""),
    ("node_network_receive_drop_total", ""),
    ("node_network_receive_fifo_total", ""),
    ("node_network_receive_frame_total", ""),
    ("node_network_receive_compressed_total", ""),
    ("node_network_receive_multicast_total", ""),
    ("node_network_transmit_bytes_total", "bytes"),
    ("node_network_transmit_packets_total", ""),
    ("node_network_transmit_errs_total", ""),
    ("node_network_transmit_drop_total", ""),
    ("node_network_transmit_fifo_total", ""),
    ("node_network_transmit_colls_total", ""),
    ("node_network_transmit_carrier_total", ""),
    ("node_network_transmit_compressed_total", ""),
];
const RECEIVED: usize = 0;
const SENT: usize = 8;

/// What the last scrape saw: bytes of each device but the loopback one.
#[derive(Debug, Default)]
pub(super) struct Network {
    devices: Vec<String>,
    before: Vec<(String, f64)>,
    now: Vec<(String, f64)>,
    read_at: Option<Instant>,
    rate: Option<f64>,
}

impl Network {
    /// Bytes a second, in and out, since the scrape before; of devices that were there at both.
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    pub(super) fn collect(&mut self, source: &mut Source, sheet: &mut Sheet) -> io::Result<()> {
        let text = source.proc("net/dev")?;
        let read_at = Instant::now();
        self.table(&text, sheet);
        drop(text);
        self.rate = self
            .read_at
            .replace(read_at)
            .and_then(|last| self.traffic(read_at.duration_since(last).as_secs_f64()));
        for device in &self.devices {
            // an interface that is gone since, or of another network namespace than sys shows: nothing to say
            if let Ok(state) = source.sys(&format!("class/net/{device}/operstate")) {
                let up = if state.trim() == "up" { 1.0 } else { 0.0 };
                sheet.gauge("node_network_up", "", &[("device", device)], up);
            }
        }
        Ok(())
    }

    fn table(&mut self, text: &str, sheet: &mut Sheet) {
        std::mem::swap(&mut self.before, &mut self.now);
        self.now.clear();
        let mut count = 0;
        for line in text.lines() {
            // the two lines of the head have no colon
            let Some((device, columns)) = line.split_once(':') else { continue };
            let device = device.trim();
            let mut traffic = 0.0;
            for (column, word) in columns.split_ascii_whitespace().take(COLUMNS.len()).enumerate() {
                let value = number(Some(word));
                if column == RECEIVED || column == SENT {
                    traffic += value;
                }
                let (metric, unit) = COLUMNS[column];
                sheet.counter(metric, unit, &[("device", device)], value);
            }
            if device != "lo" {
                self.now.push((device.to_owned(), traffic));
            }
            match self.devices.get_mut(count) {
                Some(known) if known == device => {}
                Some(other) => device.clone_into(other),
                None => self.devices.push(device.to_owned()),
            }
            count += 1;
        }
        self.devices.truncate(count);
    }

    fn traffic(&self, seconds: f64) -> Option<f64> {
        if seconds <= 0.0 {
            return None;
        }
        let grown = self.now.iter().filter_map(|(device, bytes)| {
            let (_, before) = self.before.iter().find(|(name, _)| name == device)?;
            // a device that was made anew starts at 0
            (bytes >= before).then_some(bytes - before)
        });
        Some(grown.sum::<f64>() / seconds)
    }
}
