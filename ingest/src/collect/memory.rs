//! `/proc/meminfo`, all of it, and paging from `/proc/vmstat`.

use std::{fmt::Write, io};

use super::{
    sheet::Sheet,
    source::{Source, number},
};

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MemoryUse {
    pub(super) total: f64,
    pub(super) available: f64,
}

pub(super) fn collect(source: &mut Source, sheet: &mut Sheet) -> io::Result<MemoryUse> {
    Ok(meminfo(&source.proc("meminfo")?, sheet))
}

pub(super) fn collect_vmstat(source: &mut Source, sheet: &mut Sheet) -> io::Result<()> {
    vmstat(&source.proc("vmstat")?, sheet);
    Ok(())
}

/// `Active(anon):  5 kB` is `node_memory_Active_anon_bytes`; a line without a unit keeps its name.
fn meminfo(text: &str, sheet: &mut Sheet) -> MemoryUse {
    let mut memory = MemoryUse { total: f64::NAN, available: f64::NAN };
    let mut name = String::with_capacity(64);
    for line in text.lines() {
        let Some((key, rest)) = line.split_once(':') else { continue };
        let mut words = rest.split_ascii_whitespace();
        let amount = number(words.next());
        name.clear();
        name.push_str("node_memory_");
        for c in key.chars() {
            match c {
                '(' => name.push('_'),
                ')' => {}
                other => name.push(other),
            }
        }
        if words.next() == Some("kB") {
            // cannot fail: a String takes everything
            let _ = name.write_str("_bytes");
            let bytes = amount * 1024.0;
            match key {
                "MemTotal" => memory.total = bytes,
                "MemAvailable" => memory.available = bytes,
                _ => {}
            }
            sheet.gauge(&name, "bytes", &[], bytes);
        } else {
            sheet.gauge(&name, "", &[], amount);
        }
    }
    memory
}

fn vmstat(text: &str, sheet: &mut Sheet) {
    let mut name = String::with_capacity(64);
    for line in text.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        // those that node_exporter sends by default
        let wanted = key.starts_with("oom_kill")
            || key.starts_with("pgpg")
            || key.starts_with("pswp")
            || (key.starts_with("pg") && key.contains("fault"));
        if wanted {
            name.clear();
            name.push_str("node_vmstat_");
            name.push_str(key);
            sheet.counter(&name, "", &[], number(Some(value.trim())));
        }
    }
}
