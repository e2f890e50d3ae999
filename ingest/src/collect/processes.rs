//! How many processes and threads there are, and in which states. One file for each process, so not at every scrape.

use std::{
    fs,
    io::{self, Read},
    time::{Duration, Instant},
};

use super::{
    sheet::Sheet,
    source::{Source, number},
};

/// Counted anew after so long; in between the last count is repeated.
const PERIOD: Duration = Duration::from_secs(10);

/// Running, sleeping, waiting for disk, zombie, stopped, traced, idle kernel thread.
const STATES: [&str; 7] = ["D", "I", "R", "S", "T", "Z", "t"];

#[derive(Debug, Default)]
pub(super) struct Processes {
    counted_at: Option<Instant>,
    pids: usize,
    threads: u64,
    states: [u64; STATES.len()],
    path: String,
    bytes: Vec<u8>,
}

impl Processes {
    pub(super) fn collect(&mut self, source: &mut Source, sheet: &mut Sheet) -> io::Result<()> {
        if self.counted_at.is_none_or(|at| at.elapsed() >= PERIOD) {
            self.count(source)?;
            self.counted_at = Some(Instant::now());
        }
        sheet.gauge("node_processes_pids", "", &[], self.pids as f64);
        sheet.gauge("node_processes_threads", "", &[], self.threads as f64);
        for (state, count) in STATES.iter().zip(self.states) {
            sheet.gauge("node_processes_state", "", &[("state", state)], count as f64);
        }
        let most = source.proc("sys/kernel/pid_max")?;
        sheet.gauge("node_processes_max_processes", "", &[], number(Some(most.trim())));
        Ok(())
    }

    fn count(&mut self, source: &Source) -> io::Result<()> {
        (self.pids, self.threads, self.states) = (0, 0, [0; STATES.len()]);
        for entry in fs::read_dir(source.proc_root())? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) else {
                continue;
            };
            self.path.clear();
            self.path.push_str(pid);
            self.path.push_str("/stat");
            self.bytes.clear();
            // a process may end while we look: then it does not count
            let read = fs::File::open(source.proc_root().join(&self.path))
                .and_then(|mut file| file.read_to_end(&mut self.bytes));
            if read.is_err() {
                continue;
            }
            let Some((state, threads)) = state_and_threads(&self.bytes) else { continue };
            self.pids += 1;
            self.threads += threads;
            if let Some(at) = STATES.iter().position(|known| known.as_bytes() == [state]) {
                self.states[at] += 1;
            }
        }
        Ok(())
    }
}

/// `17 (a (b) c) S 1 ...`: the name may hold anything, so the fields start behind the last bracket.
fn state_and_threads(stat: &[u8]) -> Option<(u8, u64)> {
    let end = stat.iter().rposition(|&b| b == b')')?;
    let mut fields = stat[end + 1..].split(|&b| b == b' ').filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let threads = std::str::from_utf8(fields.nth(16)?).ok()?.parse().ok()?;
    Some((state, threads))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_brackets() {
        let stat = b"17 (a) S (b)) R 1 17 17 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 42 0 100 0 0\n";
        assert_eq!(state_and_threads(stat), Some((b'R', 42)));
        assert_eq!(state_and_threads(b"17 (a"), None);
        assert_eq!(state_and_threads(b"17 (a) R"), None);
    }
}
