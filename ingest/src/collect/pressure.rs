//! `/proc/pressure`: time in which tasks waited for the processor, memory or disks (PSI). Absent on old kernels.

use std::io;

use super::{
    sheet::Sheet,
    source::{Source, number},
};

/// File, and the names for its `some` and `full` lines. The kernel keeps no meaningful `full` for the processor.
const FILES: [(&str, Option<&str>, Option<&str>); 4] = [
    ("pressure/cpu", Some("node_pressure_cpu_waiting_seconds_total"), None),
    (
        "pressure/io",
        Some("node_pressure_io_waiting_seconds_total"),
        Some("node_pressure_io_stalled_seconds_total"),
    ),
    (
        "pressure/memory",
        Some("node_pressure_memory_waiting_seconds_total"),
        Some("node_pressure_memory_stalled_seconds_total"),
    ),
    ("pressure/irq", None, Some("node_pressure_irq_stalled_seconds_total")),
];

pub(super) fn collect(source: &mut Source, sheet: &mut Sheet) -> io::Result<()> {
    for (file, some, full) in FILES {
        let text = match source.proc(file) {
            Ok(text) => text,
            // present but switched off at boot
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => {
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for (line, name) in [("some", some), ("full", full)] {
            if let Some(name) = name
                && let Some(seconds) = total(&text, line)
            {
                sheet.counter(name, "seconds", &[], seconds);
            }
        }
    }
    Ok(())
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=31107060`: the total, in seconds.
fn total(text: &str, line: &str) -> Option<f64> {
    let found = text.lines().find_map(|l| l.strip_prefix(line))?;
    let micros = found.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="))?;
    Some(number(Some(micros)) / 1e6)
}
