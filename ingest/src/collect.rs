//! First stage for this host: its proc and sys file systems in, one frame for each scrape out, by the clock and when asked.
//!
//! Metric and label names are node_exporter's, so that people's rules and dashboards fit. Runs on a thread of its own:
//! file reads block. Invariant: a part that fails is counted and costs its own series only; sequences only grow.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tidewatch_schemas::MetricFrame;

use crate::{
    announce::Layouts,
    backlog::Backlog,
    config::Config,
    metrics::{Metrics, Outcome},
    requests::pace::Pace,
};

mod address;
mod cpu;
mod disk;
mod filesystem;
mod memory;
mod network;
mod pressure;
mod processes;
mod sheet;
mod source;
mod statvfs;
mod summary;
mod system;

use sheet::Sheet;
use source::Source;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// What the collector's thread is told.
#[derive(Debug)]
enum Word {
    Collect,
    Stop,
}

/// Keeps the collector's thread going; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    words: mpsc::Sender<Word>,
    server: String,
}

impl Running {
    /// Whom it collects.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn asking(&self) -> Asking {
        Asking(self.words.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // an error only says that it ended already
        let _ = self.words.send(Word::Stop);
    }
}

/// Asks the collector's thread to collect at once; without effect when it has ended.
#[derive(Debug)]
pub(crate) struct Asking(mpsc::Sender<Word>);

impl Asking {
    pub(crate) fn ask(&self) {
        let _ = self.0.send(Word::Collect);
    }
}

/// Starts the collector's thread.
pub(crate) fn start(
    config: &Config,
    layouts: Arc<Layouts>,
    backlog: Arc<Backlog>,
    metrics: Metrics,
) -> io::Result<Running> {
    let (words, heard) = mpsc::channel();
    let mut host = Host::new(config, metrics.clone());
    let interval = config.collect_interval;
    let server = host.server().to_owned();
    tracing::info!(server, ?interval, "collect this host");
    thread::Builder::new().name("collect".into()).spawn(move || {
        let mut pace = Pace::default();
        // rates need a scrape before the first one that counts
        host.scrape(now_ms());
        loop {
            pace.ended(Instant::now());
            if !wait(&heard, interval, &pace, &metrics) {
                return;
            }
            host.scrape(now_ms());
            match layouts.encode(host.frame(), host.layout_changed()) {
                Ok(frame) => backlog.push(frame),
                Err(error) => tracing::error!(error, "encode frame of this host"),
            }
        }
    })?;
    Ok(Running { words, server })
}

/// Until the next tick, or a request that needs a collection of its own; `false` at the wish to stop.
fn wait(heard: &mpsc::Receiver<Word>, interval: Duration, pace: &Pace, metrics: &Metrics) -> bool {
    let tick = Instant::now() + until_next(interval);
    loop {
        let left = tick.saturating_duration_since(Instant::now());
        // however many ask, no tick is missed
        if left.is_zero() {
            return true;
        }
        match heard.recv_timeout(left) {
            Err(mpsc::RecvTimeoutError::Timeout) => return true,
            Ok(Word::Collect) if pace.needs(Instant::now(), tick) => {
                metrics.record_collect_request(Outcome::Collected);
                return true;
            }
            Ok(Word::Collect) => metrics.record_collect_request(Outcome::Coalesced),
            Ok(Word::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return false,
        }
    }
}

/// Time to the next multiple of `interval` on the wall clock.
fn until_next(interval: Duration) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let step = interval.as_micros().max(1);
    // a little more, so that a scrape never falls in front of the boundary it belongs to
    Duration::from_micros((step - now % step) as u64) + Duration::from_millis(1)
}

/// A host to scrape, with what one scrape remembers for the next.
#[derive(Debug)]
pub struct Host {
    source: Source,
    sheet: Sheet,
    processes: processes::Processes,
    filesystems: filesystem::Filesystems,
    network: network::Network,
    summary: summary::Summary,
    metrics: Metrics,
    /// Parts that failed already, to say so once.
    failed: Vec<&'static str>,
}

impl Host {
    pub fn new(config: &Config, metrics: Metrics) -> Self {
        let server =
            config.server_name.as_ref().map_or_else(system::host_name, |name| name.as_str().to_owned());
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        Self {
            source: Source::new(&config.proc_root, &config.sys_root),
            // unique over restarts: no host is restarted more than a million times a second
            sheet: Sheet::new(server, started as i64),
            processes: processes::Processes::default(),
            filesystems: filesystem::Filesystems::new(&config.host_root),
            network: network::Network::default(),
            summary: summary::Summary::new(&config.host_root),
            metrics,
            failed: Vec::new(),
        }
    }

    pub fn server(&self) -> &str {
        self.sheet.server()
    }

    /// What the last scrape brought.
    pub fn frame(&self) -> &MetricFrame {
        self.sheet.frame()
    }

    /// Whether it brought other series than the one before.
    pub fn layout_changed(&self) -> bool {
        self.sheet.changed()
    }

    /// One scrape; the frame is good until the next.
    pub fn scrape(&mut self, now: i64) -> &MetricFrame {
        let started = Instant::now();
        self.sheet.begin(now);
        let (source, sheet) = (&mut self.source, &mut self.sheet);
        let cpu = cpu::collect(source, sheet);
        let memory = memory::collect(source, sheet);
        let disk = disk::collect(source, sheet);
        let filesystem = self.filesystems.collect(source, sheet);
        let network = self.network.collect(source, sheet);
        let parts = [
            ("system", system::collect(source, sheet, now)),
            ("vmstat", memory::collect_vmstat(source, sheet)),
            ("pressure", pressure::collect(source, sheet)),
            ("processes", self.processes.collect(source, sheet)),
        ];
        if let (Ok(cpu), Ok(memory)) = (&cpu, &memory) {
            self.summary.collect(source, sheet, cpu, memory);
        }
        summary::rates(sheet, &self.network, &self.filesystems);
        let more = [
            ("cpu", cpu.map(drop)),
            ("memory", memory.map(drop)),
            ("disk", disk),
            ("filesystem", filesystem),
            ("network", network),
        ];
        for (part, result) in parts.into_iter().chain(more) {
            self.note(part, result);
        }
        if self.sheet.end() > 0 {
            self.note("series", Err(io::Error::other("more series than a frame may hold")));
        }
        self.metrics.record_scrape(started.elapsed(), self.sheet.frame().values.len());
        self.sheet.frame()
    }

    /// What this kernel does not offer is no failure; anything else is counted, and said the first time.
    fn note(&mut self, part: &'static str, result: io::Result<()>) {
        let Err(error) = result else { return };
        if error.kind() == io::ErrorKind::NotFound {
            tracing::trace!(part, %error, "collect");
            return;
        }
        self.metrics.record_collect_error(part);
        if !self.failed.contains(&part) {
            self.failed.push(part);
            tracing::warn!(part, %error, "collect part of this host");
        }
    }
}

#[cfg(test)]
mod tests;
