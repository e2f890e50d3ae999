//! The series that the host collector publishes, and how each of them follows from a server's load.

use tidewatch_schemas::Series;

use super::{Chance, Load};

const GIB: f64 = 1_073_741_824.0;
const MEMORY: f64 = 16.0 * GIB;
const DISK: f64 = 200e9;
const CORES: f64 = 4.0;
/// A context switch for so many bytes of traffic, about.
const BYTES_A_SWITCH: f64 = 4_000.0;

/// How one series follows from the load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Column {
    reads: Reads,
    /// Its own noise, as a share of its value.
    noise: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Reads {
    Constant(f64),
    CpuPercent,
    MemoryPercent,
    /// This much less full than the first file system.
    DiskPercent(f64),
    DiskFree(f64),
    Traffic,
    /// This share of the traffic.
    OneWay(f64),
    LoadAverage,
    MemoryAvailable,
    MemoryCached,
    Switches,
    Interrupts,
    Forks,
    Running,
    Blocked,
    OpenFiles,
    Written,
    /// Little, and only now and then.
    Read,
    DiskTime,
    Errors,
    WaitForCpu,
    WaitForDisk,
    /// Seconds of one processor in a mode, a second: this share of what it is busy.
    Mode(f64),
    Idle,
}

impl Column {
    pub(super) fn noise(self) -> f64 {
        self.noise
    }

    /// Whether it is one of those that an incident holds fast.
    pub(super) fn is_sensor(self) -> bool {
        use Reads::{CpuPercent, LoadAverage, OneWay, Running, Switches, Traffic};
        matches!(self.reads, CpuPercent | LoadAverage | OneWay(_) | Running | Switches | Traffic)
    }

    /// A gauge's mean, a counter's rate a second. `draw` is normal.
    pub(super) fn value(self, load: &Load, draw: f64) -> f64 {
        let tasks = load.cpu * CORES;
        let near = (1.0 + self.noise * draw).max(0.0);
        match self.reads {
            Reads::Constant(value) => value,
            Reads::CpuPercent => 100.0 * load.cpu,
            Reads::MemoryPercent => 100.0 * load.memory,
            Reads::DiskPercent(less) => 100.0 * (load.disk - less).max(0.02),
            Reads::DiskFree(less) => {
                (DISK * (1.0 - (load.disk - less).max(0.02)) / 4_096.0).round() * 4_096.0
            }
            Reads::Traffic => load.network,
            Reads::OneWay(share) => load.network * share * near,
            Reads::LoadAverage => (100.0 * (tasks + 4.0 * load.waiting) * near).round() / 100.0,
            Reads::MemoryAvailable => (MEMORY * (1.0 - load.memory) / 1_024.0).round() * 1_024.0,
            Reads::MemoryCached => MEMORY * 0.5 * (1.0 - load.memory) * near,
            Reads::Switches => (300.0 + 2_000.0 * tasks + load.network / BYTES_A_SWITCH) * near,
            Reads::Interrupts => (500.0 + 900.0 * tasks + load.network / 3_000.0) * near,
            Reads::Forks => (2.0 + 3.0 * load.cpu) * near,
            Reads::Running => (1.0 + tasks * near).round(),
            Reads::Blocked => (6.0 * load.waiting * near).round(),
            Reads::OpenFiles => (1_200.0 + load.network / 2e4 + 32.0 * draw).round().max(0.0),
            Reads::Written => load.writes * near,
            Reads::Read => {
                if draw > 1.5 {
                    4_096.0 * (100.0 * (draw - 1.5)).round()
                } else {
                    0.0
                }
            }
            Reads::DiskTime => (load.waiting * 0.8 * near).min(1.0),
            Reads::Errors => {
                if draw > 2.7 {
                    0.1
                } else {
                    0.0
                }
            }
            Reads::WaitForCpu => (0.5 * load.cpu.powi(3) * near).min(1.0),
            Reads::WaitForDisk => (load.waiting * near).min(1.0),
            Reads::Mode(share) => load.cpu * share * near,
            Reads::Idle => 1.0 - load.cpu,
        }
    }
}

/// The series of a server: 28 of every one, up to 11 more that only some have.
pub(super) fn columns(chance: Chance) -> Vec<(Series, Column)> {
    let mut all = summary();
    all.extend(system(chance));
    all.extend(devices());
    if chance.uniform(1) < 0.5 {
        all.extend(file_system("/var", "/dev/vdb1", chance.between(2, 0.02, 0.14)));
    }
    if chance.uniform(3) < 0.3 {
        all.push(counter("node_vmstat_pswpin", "", Reads::Constant(0.0), 0.0));
    }
    for cpu in 0..chance.between(4, 0.0, 3.0) as u32 {
        let number = cpu.to_string();
        let mode = |mode: &str, reads: Reads, noise: f64| {
            let labels = [("cpu", number.as_str()), ("mode", mode)];
            labelled(counter("node_cpu_seconds_total", "seconds", reads, noise), &labels)
        };
        all.extend([
            mode("user", Reads::Mode(0.7), 0.08),
            mode("system", Reads::Mode(0.25), 0.08),
            mode("iowait", Reads::WaitForDisk, 0.2),
            mode("idle", Reads::Idle, 0.0),
        ]);
    }
    all
}

fn gauge(metric: &str, unit: &str, reads: Reads, noise: f64) -> (Series, Column) {
    (Series::gauge(metric, unit), Column { reads, noise })
}

fn counter(metric: &str, unit: &str, reads: Reads, noise: f64) -> (Series, Column) {
    (Series::counter(metric, unit), Column { reads, noise })
}

fn labelled((mut series, column): (Series, Column), labels: &[(&str, &str)]) -> (Series, Column) {
    for (label, value) in labels {
        series = series.with(*label, *value);
    }
    (series, column)
}

/// What the collector sums up itself.
fn summary() -> Vec<(Series, Column)> {
    let info = gauge("tidewatch_host_info", "", Reads::Constant(1.0), 0.0);
    let memory = format!("{MEMORY:.0}");
    let labels = [("os", "simulated"), ("kernel", "none"), ("cores", "4"), ("memory_bytes", memory.as_str())];
    vec![
        gauge("tidewatch_host_cpu_busy_percent", "percent", Reads::CpuPercent, 0.0),
        gauge("tidewatch_host_memory_used_percent", "percent", Reads::MemoryPercent, 0.0),
        labelled(info, &labels),
        gauge("tidewatch_host_network_bytes_per_second", "bytes_per_second", Reads::Traffic, 0.0),
    ]
}

fn system(chance: Chance) -> Vec<(Series, Column)> {
    let booted = chance.between(0, 1.76e9, 1.79e9).round();
    vec![
        gauge("node_load1", "", Reads::LoadAverage, 0.05),
        gauge("node_load5", "", Reads::LoadAverage, 0.02),
        gauge("node_memory_MemTotal_bytes", "bytes", Reads::Constant(MEMORY), 0.0),
        gauge("node_memory_MemAvailable_bytes", "bytes", Reads::MemoryAvailable, 0.0),
        gauge("node_memory_Cached_bytes", "bytes", Reads::MemoryCached, 0.002),
        counter("node_context_switches_total", "", Reads::Switches, 0.05),
        counter("node_intr_total", "", Reads::Interrupts, 0.04),
        counter("node_forks_total", "", Reads::Forks, 0.3),
        gauge("node_procs_running", "", Reads::Running, 0.3),
        gauge("node_procs_blocked", "", Reads::Blocked, 0.5),
        gauge("node_boot_time_seconds", "seconds", Reads::Constant(booted), 0.0),
        gauge("node_filefd_allocated", "", Reads::OpenFiles, 0.0),
        counter("node_pressure_cpu_waiting_seconds_total", "seconds", Reads::WaitForCpu, 0.2),
        counter("node_pressure_io_waiting_seconds_total", "seconds", Reads::WaitForDisk, 0.2),
        counter("node_pressure_memory_stalled_seconds_total", "seconds", Reads::Constant(0.0), 0.0),
    ]
}

fn devices() -> Vec<(Series, Column)> {
    let on = |device: &str, column| labelled(column, &[("device", device)]);
    let mut all = vec![
        on("vda", counter("node_disk_read_bytes_total", "bytes", Reads::Read, 0.0)),
        on("vda", counter("node_disk_written_bytes_total", "bytes", Reads::Written, 0.05)),
        on("vda", counter("node_disk_io_time_seconds_total", "seconds", Reads::DiskTime, 0.15)),
        on("vda", gauge("node_disk_io_now", "", Reads::Blocked, 0.5)),
        on("eth0", counter("node_network_receive_bytes_total", "bytes", Reads::OneWay(0.4), 0.03)),
        on("eth0", counter("node_network_transmit_bytes_total", "bytes", Reads::OneWay(0.6), 0.03)),
        on("eth0", counter("node_network_receive_errs_total", "", Reads::Errors, 0.0)),
    ];
    all.extend(file_system("/", "/dev/vda1", 0.0));
    all
}

fn file_system(mountpoint: &str, device: &str, less: f64) -> [(Series, Column); 2] {
    let used = gauge("tidewatch_host_filesystem_used_percent", "percent", Reads::DiskPercent(less), 0.0);
    let free = gauge("node_filesystem_avail_bytes", "bytes", Reads::DiskFree(less), 0.0);
    let place = [("device", device), ("fstype", "ext4"), ("mountpoint", mountpoint)];
    [labelled(used, &[("mountpoint", mountpoint)]), labelled(free, &place)]
}
