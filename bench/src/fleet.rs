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

/// Names of servers, chosen so that every partition has the same number of them: behind a topic whose partitions differ in
/// size, whoever re-keys it mixes what is minutes apart, and drops the older as late.
pub fn server_names(count: u32, partitions: u32) -> Vec<String> {
    let mut room = vec![count.div_ceil(partitions); partitions as usize];
    let mut has_room = |name: &String| {
        let left = &mut room[partition(name.as_bytes(), partitions) as usize];
        let fits = *left > 0;
        *left = left.saturating_sub(1);
        fits
    };
    (0..)
        .map(|number| format!("srv-{number:06}"))
        .filter(|name| has_room(name))
        .take(count as usize)
        .collect()
}

/// The first `count` series of a server, in the order of a frame's values.
pub fn layout(server: &str, count: u32) -> Vec<Series> {
    let instance = format!("{server}:9100");
    (0..count).map(|index| series(index).with("instance", instance.as_str())).collect()
}

/// Where Kafka's Java clients put a key, and librdkafka with `murmur2_random`.
fn partition(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// As in `org.apache.kafka.common.utils.Utils`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mix = |word: u32| {
        let word = word.wrapping_mul(M);
        (word ^ (word >> 24)).wrapping_mul(M)
    };
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_mul(M) ^ mix(u32::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
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
        let layout = layout("srv", 1_000);
        let distinct: BTreeSet<_> = layout.iter().map(|series| (&series.metric, &series.labels)).collect();
        assert_eq!(distinct.len(), 1_000);
    }

    #[test]
    fn keys_are_hashed_as_the_java_client_does() {
        // from the client's own test
        for (key, hash) in
            [("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)]
        {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn every_partition_has_as_many_servers() {
        let names = server_names(1_000, 8);
        for wanted in 0..8 {
            assert_eq!(names.iter().filter(|name| partition(name.as_bytes(), 8) == wanted).count(), 125);
        }
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
