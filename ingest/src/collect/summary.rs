//! Few gauges that say how the host is, ready for a fleet of them; and what it is.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    address, cpu::CpuTimes, filesystem::Filesystems, memory::MemoryUse, network::Network, sheet::Sheet,
    source::Source,
};

/// An address may change, but not often.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct Summary {
    root: PathBuf,
    before: Option<CpuTimes>,
    facts: Option<Facts>,
}

#[derive(Debug)]
struct Facts {
    known_at: Instant,
    address: IpAddr,
    os: String,
    kernel: String,
}

impl Summary {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), before: None, facts: None }
    }

    pub(super) fn collect(
        &mut self,
        source: &mut Source,
        sheet: &mut Sheet,
        cpu: &CpuTimes,
        memory: &MemoryUse,
    ) {
        let busy = self.before.replace(*cpu).and_then(|before| busy_percent(&before, cpu));
        sheet.gauge("tidewatch_host_cpu_busy_percent", "percent", &[], busy.unwrap_or(f64::NAN));
        let used = 100.0 * (1.0 - memory.available / memory.total);
        sheet.gauge("tidewatch_host_memory_used_percent", "percent", &[], used);
        if self.facts.as_ref().is_none_or(|facts| facts.known_at.elapsed() >= LOOK_AGAIN) {
            self.facts = Some(Facts::find(source, &self.root));
        }
        if let Some(facts) = &self.facts {
            let (address, cores) = (facts.address.to_string(), cpu.cores.to_string());
            let memory = format!("{:.0}", memory.total);
            let labels = [
                ("collector_version", env!("CARGO_PKG_VERSION")),
                ("cores", &cores),
                ("ip_address", &address),
                ("kernel", &facts.kernel),
                ("memory_bytes", &memory),
                ("os", &facts.os),
            ];
            sheet.gauge("tidewatch_host_info", "", &labels, 1.0);
        }
    }
}

/// What the network and the file systems add.
pub(super) fn rates(sheet: &mut Sheet, network: &Network, filesystems: &Filesystems) {
    let rate = network.rate().unwrap_or(f64::NAN);
    sheet.gauge("tidewatch_host_network_bytes_per_second", "bytes_per_second", &[], rate);
    for (mountpoint, percent) in filesystems.used() {
        let labels = [("mountpoint", mountpoint.as_str())];
        sheet.gauge("tidewatch_host_filesystem_used_percent", "percent", &labels, *percent);
    }
}

/// Waiting for a disk is idle time: the processor could have worked.
fn busy_percent(before: &CpuTimes, now: &CpuTimes) -> Option<f64> {
    let total = now.total - before.total;
    // the kernel's idle counter is known to step back by a tick
    let idle = (now.idle - before.idle).clamp(0.0, total.max(0.0));
    (total > 0.0).then(|| 100.0 * (1.0 - idle / total))
}

impl Facts {
    fn find(source: &mut Source, root: &Path) -> Self {
        let uname = rustix::system::uname();
        let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
        let release = [root.join("etc/os-release"), root.join("usr/lib/os-release")];
        let os = release.iter().find_map(|path| pretty_name(&source.read(path).ok()?));
        Self {
            known_at: Instant::now(),
            address: address::find(source),
            os: os.unwrap_or_else(|| text(uname.sysname())),
            kernel: text(uname.release()),
        }
    }
}

/// `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"`.
fn pretty_name(text: &str) -> Option<String> {
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim().trim_matches(['"', '\'']).to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_what_is_not_idle() {
        let at = |total, idle| CpuTimes { total, idle, cores: 2 };
        assert_eq!(busy_percent(&at(1_000.0, 500.0), &at(1_200.0, 650.0)), Some(25.0));
        assert_eq!(busy_percent(&at(1_000.0, 500.0), &at(1_100.0, 499.0)), Some(100.0));
        assert_eq!(busy_percent(&at(1_000.0, 500.0), &at(1_000.0, 500.0)), None);
        assert_eq!(busy_percent(&at(1_000.0, 500.0), &at(10.0, 5.0)), None, "a restarted container");
    }

    #[test]
    fn the_system_has_a_name() {
        let text = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(pretty_name(text).as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(pretty_name("ID=x\n"), None);
    }
}
