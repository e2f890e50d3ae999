//! A fleet that does not exist: what each of its servers measures at each instant.
//!
//! In: seed, server, time. Out: a frame. Everything is a function of these three, so a run can be repeated and a reader
//! can compute what it must have been sent. Counters are integrals of their rates, in closed form: no state.

use tidewatch_schemas::{MetricFrame, Series};

use super::incident::{Incident, Kind};

const CORES: u64 = 4;
const MEMORY: f64 = 16.0 * 1_073_741_824.0;
const DISK: f64 = 200e9;
const DAY_SECONDS: f64 = 86_400.0;

/// Shape of the fleet.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) seed: u64,
    pub(crate) servers: usize,
    pub(crate) incidents: Vec<Incident>,
    layout: Vec<Series>,
}

/// A uniform number in [0, 1) that depends on its arguments alone.
fn hash(seed: u64, a: u64, b: u64) -> f64 {
    let mut z = seed ^ a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Smooth noise in [-1, 1]: values at multiples of `period`, joined by a cosine.
fn wander(seed: u64, stream: u64, seconds: f64, period: f64) -> f64 {
    let x = seconds / period;
    let (low, part) = (x.floor(), x - x.floor());
    let value = |k: f64| 2.0 * hash(seed, stream, k as i64 as u64) - 1.0;
    let blend = 0.5 - 0.5 * (part * std::f64::consts::PI).cos();
    value(low) * (1.0 - blend) + value(low + 1.0) * blend
}

/// What one server does at one instant.
struct Load {
    busy: f64,
    memory: f64,
    disk: f64,
    network: f64,
}

impl Fleet {
    /// With at least `series` a server: application gauges fill up what the host does not have.
    pub(crate) fn new(seed: u64, servers: usize, series: usize, incidents: Vec<Incident>) -> Self {
        let mut fleet = Self { seed, servers, incidents, layout: layout() };
        for extra in fleet.layout.len()..series {
            fleet.layout.push(Series::gauge("app_queue_depth", "").with("queue", format!("q{extra:05}")));
        }
        fleet
    }

    /// `sim-0001`, ...
    pub(crate) fn name(server: usize) -> String {
        format!("sim-{:04}", server + 1)
    }

    /// Series of one server.
    pub(crate) fn width(&self) -> usize {
        self.layout.len()
    }

    /// The frame of a server at a time, `since_start` seconds into the run; `None` while an incident silences it.
    pub(crate) fn frame(
        &self,
        server: usize,
        at_ms: i64,
        since_start: f64,
        sequence: i64,
    ) -> Option<MetricFrame> {
        let name = Self::name(server);
        let active = |kind| self.incidents.iter().any(|i| i.kind == kind && i.hits(&name, since_start));
        if active(Kind::Silence) {
            return None;
        }
        let seconds = at_ms as f64 / 1_000.0;
        let mut load = self.load(server, seconds);
        if active(Kind::CpuSpike) {
            load.busy = 0.985 + 0.01 * hash(self.seed, server as u64, at_ms as u64);
            load.network *= 0.3;
        }
        if active(Kind::MemoryLeak) {
            load.memory = 0.97;
        }
        if active(Kind::DiskFull) {
            load.disk = 0.97;
        }
        if active(Kind::NetworkFlood) {
            load.network *= 40.0;
        }
        let mut frame = MetricFrame {
            server: name,
            sequence,
            collected_at: at_ms,
            layout_id: 0,
            layout: self.layout.clone(),
            values: self.host_values(server, seconds, &load),
            histograms: Vec::new(),
        };
        for extra in frame.values.len()..self.layout.len() {
            let stream = (server * 100_000 + extra) as u64;
            frame.values.push((40.0 + 20.0 * wander(self.seed, stream, seconds, 60.0)).round());
        }
        for series in &mut frame.layout {
            if series.metric == "tidewatch_host_info" {
                let (high, low) = (server / 250, server % 250 + 1);
                series.labels.insert("ip_address".into(), format!("10.77.{high}.{low}"));
            }
        }
        Some(frame)
    }

    fn load(&self, server: usize, seconds: f64) -> Load {
        let s = server as u64;
        let own = |k| hash(self.seed, s, k);
        let noise = |k, period| wander(self.seed, s * 64 + k, seconds, period);
        let day = 0.5 - 0.5 * ((seconds / DAY_SECONDS + own(1)) * std::f64::consts::TAU).cos();
        let busy = 0.06 + 0.3 * own(2) + 0.25 * day + 0.05 * noise(3, 120.0) + 0.03 * noise(4, 7.0);
        Load {
            busy: busy.clamp(0.01, 0.94),
            memory: (0.35 + 0.4 * own(5) + 0.02 * noise(6, 600.0)).clamp(0.05, 0.94),
            disk: (0.2 + 0.55 * own(7) + 0.002 * noise(8, 3_600.0)).clamp(0.01, 0.89),
            network: (2e6 + 4e7 * own(9)) * (0.3 + day) * (1.0 + 0.2 * noise(10, 30.0)),
        }
    }

    /// In the order of `layout()`.
    fn host_values(&self, server: usize, seconds: f64, load: &Load) -> Vec<f64> {
        // a counter at time t: its usual rate times t, plus what is different now; it never falls because the
        // difference is bounded by the rate over the shortest interval
        let since = seconds - (hash(self.seed, server as u64, 77) * 30.0 + 1.0) * DAY_SECONDS * 20.0;
        let uptime = since.rem_euclid(30.0 * DAY_SECONDS);
        let mut values = Vec::with_capacity(self.layout.len());
        values.push(1.0);
        for core in 0..CORES {
            let share = 0.8 + 0.4 * hash(self.seed, server as u64, 200 + core);
            let user = uptime * 0.18 * share;
            let system = uptime * 0.05 * share;
            let iowait = uptime * 0.01 * share;
            values.extend([user, system, iowait, uptime - user - system - iowait]);
        }
        let tasks = load.busy * CORES as f64;
        values.extend([tasks, tasks * 0.95, tasks * 0.9]);
        let available = MEMORY * (1.0 - load.memory);
        values.extend([MEMORY, available, available * 0.6, MEMORY * 0.02]);
        values.extend([uptime * 4.1e5, uptime * 1.3e6, uptime * 0.02]);
        values.extend([DISK, DISK * (1.0 - load.disk), DISK * (1.0 - load.disk)]);
        values.extend([uptime * 2.2e6, uptime * 1.7e6]);
        values.extend([uptime * 0.004, uptime * 0.002, uptime * 0.0001]);
        values.extend([(1.0 + tasks).round(), 0.0, seconds - uptime]);
        values.extend([load.busy * 100.0, load.memory * 100.0, load.network, load.disk * 100.0]);
        values
    }
}

/// The host's series: node_exporter's names, and the collector's own summary gauges.
fn layout() -> Vec<Series> {
    let info = Series::gauge("tidewatch_host_info", "")
        .with("os", "simulated")
        .with("kernel", "none")
        .with("cores", CORES.to_string())
        .with("memory_bytes", format!("{MEMORY:.0}"))
        .with("collector_version", tidewatch_service_kit::service::VERSION)
        .with("ip_address", "10.77.0.1");
    let mut layout = vec![info];
    for core in 0..CORES {
        for mode in ["user", "system", "iowait", "idle"] {
            let series = Series::counter("node_cpu_seconds_total", "seconds");
            layout.push(series.with("cpu", core.to_string()).with("mode", mode));
        }
    }
    layout.extend(["node_load1", "node_load5", "node_load15"].map(|name| Series::gauge(name, "")));
    layout.extend(
        ["MemTotal", "MemAvailable", "Cached", "Buffers"]
            .map(|name| Series::gauge(format!("node_memory_{name}_bytes"), "bytes")),
    );
    let disk = |name: &str, unit: &str| Series::counter(name, unit).with("device", "vda");
    layout.extend([
        disk("node_disk_read_bytes_total", "bytes"),
        disk("node_disk_written_bytes_total", "bytes"),
        disk("node_disk_io_time_seconds_total", "seconds"),
    ]);
    for name in ["size", "avail", "free"] {
        let series = Series::gauge(format!("node_filesystem_{name}_bytes"), "bytes");
        layout.push(series.with("device", "/dev/vda1").with("fstype", "ext4").with("mountpoint", "/"));
    }
    for direction in ["receive", "transmit"] {
        let series = Series::counter(format!("node_network_{direction}_bytes_total"), "bytes");
        layout.push(series.with("device", "eth0"));
    }
    layout.extend(
        ["cpu", "io", "memory"]
            .map(|name| Series::counter(format!("node_pressure_{name}_waiting_seconds_total"), "seconds")),
    );
    layout.extend(["node_procs_running", "node_procs_blocked"].map(|name| Series::gauge(name, "")));
    layout.push(Series::gauge("node_boot_time_seconds", "seconds"));
    layout.extend([
        Series::gauge("tidewatch_host_cpu_busy_percent", "percent"),
        Series::gauge("tidewatch_host_memory_used_percent", "percent"),
        Series::gauge("tidewatch_host_network_bytes_per_second", "bytes_per_second"),
        Series::gauge("tidewatch_host_filesystem_used_percent", "percent").with("mountpoint", "/"),
    ]);
    layout
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(seed: u64) -> Fleet {
        Fleet::new(
            seed,
            3,
            60,
            vec!["cpu-spike:sim-0002:10s:5s".parse().unwrap(), "silence:sim-0003:0s:2s".parse().unwrap()],
        )
    }

    const AT: i64 = 1_795_000_000_000;

    #[test]
    fn a_frame_depends_on_seed_server_and_time_alone() {
        let (a, b) = (fleet(1).frame(0, AT, 5.0, 9).unwrap(), fleet(1).frame(0, AT, 5.0, 9).unwrap());
        assert_eq!(a, b);
        assert_eq!((a.layout.len(), a.values.len()), (60, 60));
        assert!(a.values.iter().all(|v| v.is_finite()));
        assert_ne!(a.values, fleet(2).frame(0, AT, 5.0, 9).unwrap().values);
    }

    #[test]
    fn counters_grow() {
        let fleet = fleet(1);
        let (a, b) = (fleet.frame(0, AT, 0.0, 1).unwrap(), fleet.frame(0, AT + 1_000, 1.0, 2).unwrap());
        for (i, series) in a.layout.iter().enumerate() {
            if series.kind == tidewatch_schemas::SeriesKind::Counter {
                assert!(b.values[i] >= a.values[i], "{}", series.metric);
            }
        }
    }

    #[test]
    fn incidents_hit_their_server_in_their_time() {
        let fleet = fleet(1);
        let busy = |server, since| {
            let frame: MetricFrame = fleet.frame(server, AT, since, 1).unwrap();
            let i = frame.layout.iter().position(|s| s.metric == "tidewatch_host_cpu_busy_percent").unwrap();
            frame.values[i]
        };
        assert!(busy(1, 9.9) < 95.0 && busy(1, 10.0) > 98.0 && busy(1, 15.0) < 95.0);
        assert!(busy(0, 10.0) < 95.0);
        assert!(fleet.frame(2, AT, 1.9, 1).is_none() && fleet.frame(2, AT, 2.0, 1).is_some());
    }
}
