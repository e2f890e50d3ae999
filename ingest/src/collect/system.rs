//! Load, time, file handles, and what the host is.

use std::io;

use super::{
    sheet::Sheet,
    source::{Source, number},
};

/// The host's name as the kernel has it.
pub(super) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().trim().to_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

pub(super) fn collect(source: &mut Source, sheet: &mut Sheet, now: i64) -> io::Result<()> {
    sheet.gauge("node_time_seconds", "seconds", &[], now as f64 / 1e3);
    uname(sheet);
    loadavg(&source.proc("loadavg")?, sheet);
    file_nr(&source.proc("sys/fs/file-nr")?, sheet);
    Ok(())
}

fn uname(sheet: &mut Sheet) {
    let uname = rustix::system::uname();
    let labels = [
        ("domainname", uname.domainname().to_string_lossy()),
        ("machine", uname.machine().to_string_lossy()),
        ("nodename", uname.nodename().to_string_lossy()),
        ("release", uname.release().to_string_lossy()),
        ("sysname", uname.sysname().to_string_lossy()),
        ("version", uname.version().to_string_lossy()),
    ];
    let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_ref())).collect();
    sheet.gauge("node_uname_info", "", &labels, 1.0);
}

fn loadavg(text: &str, sheet: &mut Sheet) {
    let mut words = text.split_ascii_whitespace();
    for name in ["node_load1", "node_load5", "node_load15"] {
        sheet.gauge(name, "", &[], number(words.next()));
    }
}

/// Allocated, free (always 0 since Linux 2.6), the most there may be.
fn file_nr(text: &str, sheet: &mut Sheet) {
    let mut words = text.split_ascii_whitespace();
    sheet.gauge("node_filefd_allocated", "", &[], number(words.next()));
    sheet.gauge("node_filefd_maximum", "", &[], number(words.nth(1)));
}
