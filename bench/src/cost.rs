//! What a piece of work costs: CPU time of this thread, memory of this process.

use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// CPU time that this thread has used, seconds: what others do on the machine does not count.
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Memory of this process that is in use.
pub fn resident_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let line = line.ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_time_and_memory() {
        let (began, before) = (cpu_seconds(), resident_bytes().unwrap());
        let work: Vec<u64> = (0..4_000_000).map(|n| std::hint::black_box(n) * 3).collect();
        assert!(cpu_seconds() > began);
        assert!(resident_bytes().unwrap() > before + 16_000_000);
        assert_eq!(work.len(), 4_000_000);
    }
}
