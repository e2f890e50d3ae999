//! The collector on a made-up host whose every figure is known, and on the one that runs the test.

use std::{collections::BTreeMap, fs, path::Path};

use tidewatch_schemas::SeriesKind;
use tidewatch_service_kit::config::assemble;

use super::*;
use crate::publish::Encoded;

const FILES: [(&str, &str); 16] = [
    (
        "proc/stat",
        "cpu  300 20 100 1500 50 0 10 20 5 0\ncpu0 100 10 50 800 20 0 5 10 5 0\ncpu1 200 10 50 700 30 0 5 10 0 0\n\
         intr 5000 1 2 3\nctxt 7000\nbtime 1700000000\nprocesses 900\nprocs_running 3\nprocs_blocked 1\nsoftirq 1 2\n",
    ),
    ("proc/loadavg", "0.50 0.25 0.10 2/345 6789\n"),
    (
        "proc/meminfo",
        "MemTotal:       1000 kB\nMemFree:  100 kB\nMemAvailable:   250 kB\nActive(anon):  7 kB\nSwapTotal: 20 kB\nHugePages_Total:   4\n",
    ),
    (
        "proc/vmstat",
        "nr_free_pages 5\npgpgin 11\npswpin 12\npswpout 13\npgfault 14\npgmajfault 15\noom_kill 16\n",
    ),
    ("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 total=1\n"),
    ("proc/pressure/io", "some avg10=0.00 total=1000000\nfull avg10=0.00 total=500000\n"),
    (
        "proc/diskstats",
        " 253 0 vda 10 1 16 2000 20 2 32 3000 1 4000 5000 6 7 8 9000 10 11000\n 253 1 vda1 1 1 1 1 1 1 1 1 1 1 1\n   7 0 loop0 1 1 1 1 1 1 1 1 1 1 1\n",
    ),
    (
        "proc/net/dev",
        "Inter-|   Receive                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed\n    lo:  900 9 0 0 0 0 0 0  900 9 0 0 0 0 0 0\n  eth0: 1000 10 1 2 0 0 0 3 2000 20 4 5 0 0 0 0\n",
    ),
    ("proc/1/mounts", "/dev/vda1 / ext4 rw 0 0\ntmpfs /gone tmpfs rw 0 0\nproc /proc proc rw 0 0\n"),
    ("proc/1/stat", "1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 100 0 0\n"),
    ("proc/22/stat", "22 (a) b) R 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 5 0 100 0 0\n"),
    ("proc/sys/fs/file-nr", "1984\t0\t200000\n"),
    ("proc/sys/kernel/pid_max", "32768\n"),
    ("sys/class/net/eth0/operstate", "up\n"),
    ("sys/class/net/lo/operstate", "unknown\n"),
    ("root/etc/os-release", "NAME=x\nPRETTY_NAME=\"Some Linux 1\"\n"),
];

fn made_up(folder: &Path) -> Host {
    for (file, text) in FILES {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let at = |name: &str| folder.join(name).display().to_string();
    host(&[
        ("server-name", "made-up"),
        ("proc-root", &at("proc")),
        ("sys-root", &at("sys")),
        ("host-root", &at("root")),
    ])
}

fn host(set: &[(&str, &str)]) -> Host {
    let config = assemble::<Config>("ingest", set).unwrap();
    Host::new(&config, Metrics::new(&tidewatch_service_kit::Metrics::default()))
}

/// `name{label="value",..}` to kind and value.
fn by_name(frame: &MetricFrame) -> BTreeMap<String, (SeriesKind, f64)> {
    assert_eq!(frame.layout.len(), frame.values.len());
    let all: BTreeMap<_, _> = frame
        .layout
        .iter()
        .zip(&frame.values)
        .map(|(series, value)| {
            let labels: Vec<_> = series.labels.iter().map(|(name, text)| format!("{name}={text}")).collect();
            (format!("{}{{{}}}", series.metric, labels.join(",")), (series.kind, *value))
        })
        .collect();
    assert_eq!(all.len(), frame.layout.len(), "no series comes twice");
    all
}

#[test]
fn every_figure_of_a_made_up_host_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = made_up(folder.path());
    let frame = by_name(host.scrape(1_700_000_100_000));
    let (c, g) = (SeriesKind::Counter, SeriesKind::Gauge);
    for (name, kind, value) in [
        ("node_cpu_seconds_total{cpu=1,mode=idle}", c, 7.0),
        ("node_cpu_seconds_total{cpu=0,mode=steal}", c, 0.1),
        ("node_cpu_guest_seconds_total{cpu=0,mode=user}", c, 0.05),
        ("node_context_switches_total{}", c, 7_000.0),
        ("node_intr_total{}", c, 5_000.0),
        ("node_forks_total{}", c, 900.0),
        ("node_boot_time_seconds{}", g, 1_700_000_000.0),
        ("node_procs_running{}", g, 3.0),
        ("node_procs_blocked{}", g, 1.0),
        ("node_time_seconds{}", g, 1_700_000_100.0),
        ("node_load15{}", g, 0.1),
        ("node_memory_MemTotal_bytes{}", g, 1_024_000.0),
        ("node_memory_Active_anon_bytes{}", g, 7_168.0),
        ("node_memory_HugePages_Total{}", g, 4.0),
        ("node_vmstat_pswpin{}", c, 12.0),
        ("node_vmstat_pgmajfault{}", c, 15.0),
        ("node_vmstat_oom_kill{}", c, 16.0),
        ("node_pressure_cpu_waiting_seconds_total{}", c, 2.5),
        ("node_pressure_io_stalled_seconds_total{}", c, 0.5),
        ("node_disk_read_bytes_total{device=vda}", c, 8_192.0),
        ("node_disk_written_bytes_total{device=vda}", c, 16_384.0),
        ("node_disk_io_now{device=vda}", g, 1.0),
        ("node_disk_io_time_seconds_total{device=vda}", c, 4.0),
        ("node_disk_flush_requests_time_seconds_total{device=vda}", c, 11.0),
        ("node_network_receive_multicast_total{device=eth0}", c, 3.0),
        ("node_network_transmit_drop_total{device=eth0}", c, 5.0),
        ("node_network_up{device=eth0}", g, 1.0),
        ("node_network_up{device=lo}", g, 0.0),
        ("node_filesystem_readonly{device=/dev/vda1,fstype=ext4,mountpoint=/}", g, 0.0),
        ("node_filesystem_device_error{device=tmpfs,fstype=tmpfs,mountpoint=/gone}", g, 1.0),
        ("node_filefd_allocated{}", g, 1_984.0),
        ("node_filefd_maximum{}", g, 200_000.0),
        ("node_processes_pids{}", g, 2.0),
        ("node_processes_threads{}", g, 6.0),
        ("node_processes_state{state=R}", g, 1.0),
        ("node_processes_state{state=Z}", g, 0.0),
        ("node_processes_max_processes{}", g, 32_768.0),
        ("tidewatch_host_memory_used_percent{}", g, 75.0),
    ] {
        assert_eq!(frame.get(name), Some(&(kind, value)), "{name}");
    }
    assert!(
        !frame
            .keys()
            .any(|name| name.contains("vda1,mode") || name.contains("loop0") || name.contains("pages"))
    );
    assert!(frame["tidewatch_host_cpu_busy_percent{}"].1.is_nan(), "one scrape makes no rate");
    let info = frame.keys().find(|name| name.starts_with("tidewatch_host_info")).unwrap();
    assert!(info.contains("cores=2,") && info.contains("memory_bytes=1024000,os=Some Linux 1"), "{info}");
}

#[test]
fn rates_come_with_the_second_scrape() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = made_up(folder.path());
    let first = host.scrape(1).sequence;
    fs::write(folder.path().join("proc/stat"), "cpu  375 20 100 1575 100 0 10 20 5 0\n").unwrap();
    let grown = FILES[7].1.replace("1000 10", "61000 10") + "  new0: 5000000 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
    fs::write(folder.path().join("proc/net/dev"), grown).unwrap();
    thread::sleep(Duration::from_millis(50));
    let second = host.scrape(2);
    assert_eq!(second.sequence, first + 1);
    let frame = by_name(second);
    assert_eq!(frame["tidewatch_host_cpu_busy_percent{}"].1, 37.5);
    let rate = frame["tidewatch_host_network_bytes_per_second{}"].1;
    assert!(rate > 0.0 && rate <= 60_000.0 / 0.05, "only eth0 has grown: {rate}");
    assert!(!frame.contains_key("node_cpu_seconds_total{cpu=0,mode=idle}"), "cores that are gone are gone");
}

#[test]
fn what_is_missing_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = made_up(folder.path());
    for file in ["proc/stat", "proc/diskstats", "proc/1/mounts", "proc/pressure/io"] {
        fs::remove_file(folder.path().join(file)).unwrap();
    }
    let frame = by_name(host.scrape(1));
    assert!(frame.contains_key("node_memory_MemTotal_bytes{}"));
    assert!(frame.contains_key("node_pressure_cpu_waiting_seconds_total{}"));
    assert!(!frame.contains_key("node_procs_running{}"));
}

#[test]
fn this_machine_is_seen_and_its_counters_grow() {
    let mut host = host(&[]);
    let first = by_name(host.scrape(now_ms()));
    thread::sleep(Duration::from_millis(100));
    let frame = host.scrape(now_ms());
    let encoded = Encoded::of(frame).unwrap();
    let second = by_name(frame);
    for name in [
        "node_cpu_seconds_total{cpu=0,mode=idle}",
        "node_load1{}",
        "node_memory_MemAvailable_bytes{}",
        "node_boot_time_seconds{}",
        "node_processes_pids{}",
        "node_network_receive_bytes_total{device=lo}",
    ] {
        assert!(second.contains_key(name), "{name}");
    }
    let busy = second["tidewatch_host_cpu_busy_percent{}"].1;
    assert!((0.0..=100.0).contains(&busy), "{busy}");
    let root =
        second.keys().find(|n| n.starts_with("node_filesystem_size_bytes") && n.ends_with("mountpoint=/}"));
    assert!(second[root.unwrap()].1 > 0.0);
    assert!(second["node_context_switches_total{}"].1 > first["node_context_switches_total{}"].1);
    for (name, (kind, value)) in &first {
        if *kind == SeriesKind::Counter
            && let Some((_, later)) = second.get(name)
        {
            // the kernel's own idle and iowait counters are known to step back a little
            assert!(later >= &(value - 0.1), "{name}: {value} then {later}");
        }
    }
    assert!(encoded.bytes.len() < crate::frame_size::MAX_FRAME);
    assert!(encoded.samples > 100);
}

#[test]
fn every_name_is_in_the_list_people_read() {
    let list = include_str!("../../../docs/metrics/host.md");
    let folder = tempfile::tempdir().unwrap();
    for mut host in [made_up(folder.path()), host(&[])] {
        for series in &host.scrape(now_ms()).layout {
            // one for each line that the kernel has
            let family =
                series.metric.starts_with("node_memory_") || series.metric.starts_with("node_vmstat_");
            assert!(family || list.contains(&format!("`{}`", series.metric)), "{}", series.metric);
        }
    }
}

#[test]
fn scrapes_are_aligned_to_the_clock() {
    for interval in [Duration::from_millis(250), Duration::from_secs(10)] {
        let wait = until_next(interval);
        assert!(wait > Duration::ZERO && wait <= interval + Duration::from_millis(1));
        let at =
            (SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + wait).as_millis() % interval.as_millis();
        assert!(at < 60, "{at}");
    }
}

#[test]
fn a_request_is_collected_at_once_and_those_around_it_are_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    made_up(folder.path());
    let at = |name: &str| folder.path().join(name).display().to_string();
    let config = assemble::<Config>(
        "ingest",
        &[
            ("server-name", "made-up"),
            ("collect-interval", "1h"),
            ("proc-root", &at("proc")),
            ("sys-root", &at("sys")),
            ("host-root", &at("root")),
        ],
    )
    .unwrap();
    let registry = tidewatch_service_kit::Metrics::default();
    let metrics = Metrics::new(&registry);
    let count = |name: &str| -> u64 {
        let text = registry.encode();
        let line = text.lines().find(|line| line.starts_with(&format!("tidewatch_ingest_{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let collected = "collect_requests_total{outcome=\"collected\"}";
    let coalesced = "collect_requests_total{outcome=\"coalesced\"}";
    let backlog = Arc::new(Backlog::new(&config, metrics.clone()));
    let layouts = Arc::new(Layouts::new(&config, metrics.clone()));
    let running = start(&config, layouts, backlog, metrics).unwrap();
    assert_eq!(running.server(), "made-up");
    // in the second before the hour the tick answers; else the first request that is a second behind the start
    let (asking, begun, mut asked) = (running.asking(), Instant::now(), 0);
    while count("backlog_frames") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing is collected");
        asking.ask();
        asked += 1;
        thread::sleep(Duration::from_millis(100));
    }
    while count(collected) + count(coalesced) < asked {
        assert!(begun.elapsed() < Duration::from_secs(20), "not all of {asked} are counted");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(asked > 1 && count(coalesced) >= asked - count(collected), "{asked} were asked for");
    assert!(count(collected) <= 1 && count("backlog_frames") == 1, "one frame, however many ask");
    drop(running);
    asking.ask();
}
