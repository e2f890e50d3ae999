//! `/proc/diskstats`: what each whole disk did. Partitions, loop and RAM devices are left out, as node_exporter does.

use std::io;

use super::{
    sheet::Sheet,
    source::{Source, number},
};

/// A sector in this file is 512 bytes, whatever the disk's own are.
const SECTOR: f64 = 512.0;
const MILLIS: f64 = 1e-3;

/// The columns behind the device's name: metric, unit, factor. `node_disk_io_now` alone is a gauge.
const COLUMNS: [(&str, &str, f64); 17] = [
    ("node_disk_reads_completed_total", "", 1.0),
    ("node_disk_reads_merged_total", "", 1.0),
    ("node_disk_read_bytes_total", "bytes", SECTOR),
    ("node_disk_read_time_seconds_total", "seconds", MILLIS),
    ("node_disk_writes_completed_total", "", 1.0),
    ("node_disk_writes_merged_total", "", 1.0),
    ("node_disk_written_bytes_total", "bytes", SECTOR),
    ("node_disk_write_time_seconds_total", "seconds", MILLIS),
    ("node_disk_io_now", "", 1.0),
    ("node_disk_io_time_seconds_total", "seconds", MILLIS),
    ("node_disk_io_time_weighted_seconds_total", "seconds", MILLIS),
    ("node_disk_discards_completed_total", "", 1.0),
    ("node_disk_discards_merged_total", "", 1.0),
    ("node_disk_discarded_sectors_total", "", 1.0),
    ("node_disk_discard_time_seconds_total", "seconds", MILLIS),
    ("node_disk_flush_requests_total", "", 1.0),
    ("node_disk_flush_requests_time_seconds_total", "seconds", MILLIS),
];

pub(super) fn collect(source: &mut Source, sheet: &mut Sheet) -> io::Result<()> {
    diskstats(&source.proc("diskstats")?, sheet);
    Ok(())
}

fn diskstats(text: &str, sheet: &mut Sheet) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().skip(2);
        let Some(device) = words.next().filter(|device| is_disk(device)) else { continue };
        // older kernels have fewer columns: zip ends there
        for ((metric, unit, factor), word) in COLUMNS.iter().zip(words) {
            let value = number(Some(word)) * factor;
            if *metric == "node_disk_io_now" {
                sheet.gauge(metric, unit, &[("device", device)], value);
            } else {
                sheet.counter(metric, unit, &[("device", device)], value);
            }
        }
    }
}

fn is_disk(device: &str) -> bool {
    let stem = device.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == device.len() {
        return true;
    }
    if matches!(stem, "ram" | "zram" | "loop" | "fd") {
        return false;
    }
    // sda1, hda1, vda1, xvda1: one letter for the disk, then the partition
    if ["sd", "hd", "vd", "xvd"]
        .iter()
        .any(|kind| matches!(stem.strip_prefix(kind).map(str::as_bytes), Some([b'a'..=b'z'])))
    {
        return false;
    }
    // nvme0n1p2
    let partition = stem.strip_prefix("nvme").and_then(|rest| rest.strip_suffix('p'));
    !partition.is_some_and(|rest| {
        rest.split_once('n').is_some_and(|(controller, disk)| {
            let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
            digits(controller) && digits(disk)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_disks_count() {
        for disk in ["sda", "vda", "nvme0n1", "dm-0", "md127", "sdaa", "mmcblk0", "sr0"] {
            assert!(is_disk(disk), "{disk}");
        }
        for other in ["sda1", "vda12", "xvdb3", "nvme0n1p2", "loop7", "ram0", "zram1", "fd0", "hdc2"] {
            assert!(!is_disk(other), "{other}");
        }
    }
}
