//! `/proc/stat`: time of each core by mode, and the kernel's own counters.

use std::io;

use super::{
    sheet::Sheet,
    source::{Source, number},
};

/// The kernel's clock tick as user space sees it: 1/100 s on every architecture of Linux.
const TICKS: f64 = 100.0;

const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// All cores together, in ticks since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct CpuTimes {
    pub(super) total: f64,
    pub(super) idle: f64,
    pub(super) cores: usize,
}

pub(super) fn collect(source: &mut Source, sheet: &mut Sheet) -> io::Result<CpuTimes> {
    Ok(stat(&source.proc("stat")?, sheet))
}

fn stat(text: &str, sheet: &mut Sheet) -> CpuTimes {
    let mut times = CpuTimes::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(key) = words.next() else { continue };
        match key {
            "cpu" => {
                let ticks: Vec<f64> = words.take(MODES.len()).map(|word| number(Some(word))).collect();
                times.total = ticks.iter().filter(|t| !t.is_nan()).sum();
                times.idle = ticks.get(3).unwrap_or(&0.0) + ticks.get(4).unwrap_or(&0.0);
            }
            "ctxt" => sheet.counter("node_context_switches_total", "", &[], number(words.next())),
            "processes" => sheet.counter("node_forks_total", "", &[], number(words.next())),
            // only the first number, the sum: the line holds one for each interrupt
            "intr" => sheet.counter("node_intr_total", "", &[], number(words.next())),
            "btime" => sheet.gauge("node_boot_time_seconds", "seconds", &[], number(words.next())),
            "procs_running" => sheet.gauge("node_procs_running", "", &[], number(words.next())),
            "procs_blocked" => sheet.gauge("node_procs_blocked", "", &[], number(words.next())),
            _ => {
                if let Some(core) = key.strip_prefix("cpu") {
                    times.cores += 1;
                    for mode in MODES {
                        let seconds = number(words.next()) / TICKS;
                        sheet.counter(
                            "node_cpu_seconds_total",
                            "seconds",
                            &[("cpu", core), ("mode", mode)],
                            seconds,
                        );
                    }
                    for mode in ["user", "nice"] {
                        let seconds = number(words.next()) / TICKS;
                        let labels = [("cpu", core), ("mode", mode)];
                        sheet.counter("node_cpu_guest_seconds_total", "seconds", &labels, seconds);
                    }
                }
            }
        }
    }
    times
}
