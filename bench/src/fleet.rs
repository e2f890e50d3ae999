//! The servers of the benchmark: the series each of them has, and the value of a series at a second.
//!
//! A fleet like one that a node exporter watches: nearly all counters are of CPUs, disks and networks, nearly all gauges of
//! memory and file systems. No two servers share a layout: `instance` tells each series' server.

use tidewatch_schemas::Series;

const MODES: [&str; 8] = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];
const DEVICES: [(&str, &str); 6] = [
    ("node_disk_read_bytes_total", "bytes"),
    ("node_disk_written_bytes_total", "bytes"),
    ("node_disk_reads_completed_total", ""),
    ("node_disk_writes_completed_total", ""),
    ("node_disk_io_time_seconds_total", "seconds"),
    ("node_disk_discards_total", ""),
];
const NETWORKS: [(&str, &str); 6] = [
    ("node_network_receive_bytes_total", "bytes"),
    ("node_network_transmit_bytes_total", "bytes"),
    ("node_network_receive_drop_total", ""),
    ("node_network_transmit_drop_total", ""),
    ("node_network_receive_errs_total", ""),
    ("node_network_receive_packets_total", ""),
];
const MEMORY: [&str; 10] = [
    "MemFree",
    "MemAvailable",
    "Buffers",
    "Cached",
    "Active",
    "Inactive",
    "Dirty",
    "Slab",
    "SwapFree",
    "Mapped",
];
const FILE_SYSTEMS: [&str; 4] = ["avail", "free", "size", "files"];
const MOUNTS: [&str; 4] = ["/", "/boot", "/home", "/var"];

/// The name of server number `server`.
pub fn server_name(server: u32) -> String {
    format!("srv-{server:06}")
}

/// The first `count` series of a server, in the order of a frame's values.
pub fn layout(server: u32, count: u32) -> Vec<Series> {
    let instance = format!("{}:9100", server_name(server));
    (0..count).map(|index| series(index).with("instance", instance.as_str())).collect()
}

/// Whether a series only grows.
pub fn is_counter(index: u32) -> bool {
    index % 50 < 38
}

/// Half of them are CPUs and devices with a number that grows with the index, so that any count of series can be had.
fn series(index: u32) -> Series {
    let (block, place) = (index / 50, (index % 50) as usize);
    match place {
        0..16 => Series::counter("node_cpu_seconds_total", "seconds")
            .with("cpu", (block as usize * 2 + place / 8).to_string())
            .with("mode", MODES[place % 8]),
        16..28 => {
            let (metric, unit) = DEVICES[(place - 16) % 6];
            Series::counter(metric, unit).with("device", format!("sd{}-{block}", (place - 16) / 6))
        }
        28..38 => {
            let (metric, unit) = NETWORKS[(place - 28) % 6];
            Series::counter(metric, unit).with("device", format!("eth{}-{block}", (place - 28) / 6))
        }
        38..48 if block == 0 => Series::gauge(format!("node_memory_{}_bytes", MEMORY[place - 38]), "bytes"),
        _ => Series::gauge(format!("node_filesystem_{}_bytes", FILE_SYSTEMS[place % 4]), "bytes")
            .with("fstype", "ext4")
            .with("mountpoint", format!("{}-{block}", MOUNTS[(place - 38) / 4])),
    }
}

/// The value of a series `second` seconds after the start: a multiple of 1/4.
pub fn value(server: u32, index: u32, second: u32) -> f64 {
    let (server, index, second) = (u64::from(server), u64::from(index), u64::from(second));
    let quarters = if is_counter(index as u32) {
        server + second * (index % 7 + 1)
    } else {
        (server * 7 + index * 13 + second * 31) % 400
    };
    quarters as f64 / 4.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_series_of_a_server_are_distinct() {
        let layout = layout(7, 1_000);
        let distinct: BTreeSet<_> = layout.iter().map(|series| (&series.metric, &series.labels)).collect();
        assert_eq!(distinct.len(), 1_000);
    }

    #[test]
    fn counters_grow_and_nothing_is_finer_than_a_quarter() {
        for index in 0..100 {
            for second in 0..100 {
                let (now, next) = (value(3, index, second), value(3, index, second + 1));
                assert_eq!((now * 4.0).fract(), 0.0);
                assert!(!is_counter(index) || next > now);
            }
        }
    }
}
