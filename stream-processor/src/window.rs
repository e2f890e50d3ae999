//! The window protocol for one partition: no Kafka, no clock, no tokio. Records of the log go in, in order; windows that
//! closed come out; a commit says where a successor has to start reading to know the same.
//!
//! What may not be broken (the four rules): a commit holds nothing back that is not a window (late frames go out as their
//! own deltas); the floor is restored; records below H rebuild windows but emit nothing; no commit while the position is below H.
//! And: every trigger is a function of the log's prefix, so whoever replays it decides the same.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use tidewatch_schemas::{
    AggregateFrame, Limits, MetricFrame, Reason, ServerName,
    validate::{check_server_name, check_time},
};

use crate::commit::Committed;

mod server;

use server::Server;

/// What decides when a window closes. Part of every commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSettings {
    /// Lengths of the windows, ascending; each divides the next.
    pub tiers_ms: Vec<i64>,
    /// A window closes when its server's own time passes its end by this.
    pub grace_ms: i64,
    /// ... or when its server has been silent for so long on the append clock.
    pub idle_ms: i64,
    /// ... or when the append clock passes its end by this: nothing later is merged.
    pub lateness_ms: i64,
    /// Series of one server in one window of the longest tier; more are refused.
    pub max_series: u32,
}

impl Default for WindowSettings {
    fn default() -> Self {
        Self {
            tiers_ms: vec![10_000, 60_000],
            grace_ms: 2_000,
            idle_ms: 15_000,
            lateness_ms: 120_000,
            max_series: 20_000,
        }
    }
}

impl WindowSettings {
    fn shortest(&self) -> i64 {
        self.tiers_ms.first().copied().unwrap_or(10_000)
    }

    fn longest(&self) -> i64 {
        self.tiers_ms.last().copied().unwrap_or(60_000)
    }
}

/// The end of the window of length `tier` that holds `time`.
pub(crate) fn window_end(time: i64, tier: i64) -> i64 {
    (time.div_euclid(tier) + 1) * tier
}

/// One record of the log, as far as windows care.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub offset: i64,
    /// The broker's stamp, milliseconds since 1970.
    pub append_time: i64,
    pub input: Input<'a>,
}

#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    Frame(&'a MetricFrame),
    /// Moves the append clock and nothing else.
    Tick,
    /// Was no frame: moves the append clock, and is refused.
    Unreadable(Reason),
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to count: a tick.
    Ticked,
    /// Every good sample is in a window (`samples` of them); `refused` says what was wrong with others.
    Counted { samples: usize, refused: Option<Refusal> },
    /// Below the floor: for the late topic.
    Late,
    /// Nothing of it counts: for the dead letter.
    Refused(Refusal),
}

/// Why something was refused, for a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
}

impl Refusal {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What a commit takes: the windows closed since the last one, and the state to store with the offset.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    pub windows: Vec<AggregateFrame>,
    pub committed: Committed,
}

/// The first record that contributes to a span: where a replay for it has to start.
#[derive(Debug, Clone, Copy)]
struct Beginning {
    offset: i64,
    /// The append clock and the floor before that record.
    clock: i64,
    floor: i64,
}

/// Append time of a partition of which nothing was seen yet.
const NEVER: i64 = i64::MIN;

/// The windows of one partition.
#[derive(Debug)]
pub struct PartitionWindows {
    partition: i32,
    settings: WindowSettings,
    /// Settings to change to once the replay is through.
    next_settings: Option<WindowSettings>,
    limits: Limits,
    /// The next offset to be read.
    position: i64,
    high_water: i64,
    floor: i64,
    /// Running maximum of the append times.
    clock: i64,
    servers: HashMap<String, Server>,
    /// By end of the span (a window of the longest tier).
    beginnings: BTreeMap<i64, Beginning>,
    closed: Vec<AggregateFrame>,
}

impl PartitionWindows {
    /// A partition of which nothing was committed: `position` is the first offset to be read.
    pub fn begin(partition: i32, position: i64, settings: WindowSettings) -> Self {
        Self {
            partition,
            settings,
            next_settings: None,
            limits: Limits::default(),
            position,
            high_water: position,
            floor: NEVER,
            clock: NEVER,
            servers: HashMap::new(),
            beginnings: BTreeMap::new(),
            closed: Vec::new(),
        }
    }

    /// What the last commit says; reading has to start at its low water. When `settings` differ from the commit's, the
    /// replay runs under the commit's, what is open then goes out as partial windows, and `settings` rule from there.
    pub fn restore(partition: i32, committed: &Committed, settings: WindowSettings) -> Self {
        let differ = committed.settings != settings;
        Self {
            settings: committed.settings.clone(),
            next_settings: differ.then_some(settings),
            high_water: committed.high_water,
            floor: committed.floor_at_low,
            clock: committed.clock_at_low,
            ..Self::begin(partition, committed.low_water, committed.settings.clone())
        }
    }

    /// Takes the next record. Offsets may have holes (transaction markers) but never go back.
    pub fn step(&mut self, record: Record<'_>) -> Verdict {
        debug_assert!(record.offset >= self.position, "the log does not go back");
        self.change_settings();
        let before = Beginning { offset: record.offset, clock: self.clock, floor: self.floor };
        self.clock = self.clock.max(record.append_time);
        // who speaks is not idle: else its own frame could close and reopen a window under one identity
        if let Input::Frame(frame) = record.input
            && let Some(server) = self.servers.get_mut(frame.server.as_str())
        {
            server.last_append = self.clock;
        }
        self.raise_floor(record.offset);
        if before.clock.div_euclid(1_000) != self.clock.div_euclid(1_000) {
            self.close_idle(record.offset);
        }
        let verdict = match record.input {
            Input::Tick => Verdict::Ticked,
            Input::Unreadable(reason) => Verdict::Refused(Refusal::new(reason, "not a frame")),
            Input::Frame(frame) => self.take(before, record.append_time, frame),
        };
        self.position = record.offset + 1;
        verdict
    }

    /// Whether what the last step decided still has to be said: `false` while replaying what a commit already covers.
    pub fn is_live(&self) -> bool {
        self.position > self.high_water
    }

    /// The next offset to be read.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Records still to be replayed before anything is emitted.
    pub fn replay_left(&self) -> i64 {
        (self.high_water - self.position).max(0)
    }

    /// Whether a silent partition needs ticks: some window waits to be closed.
    pub fn has_open_windows(&self) -> bool {
        self.servers.values().any(Server::has_open_windows)
    }

    /// Windows open, and servers known.
    pub fn size(&self) -> (usize, usize) {
        (self.servers.values().map(Server::open_windows).sum(), self.servers.len())
    }

    /// The append clock; `None` before the first record.
    pub fn clock(&self) -> Option<i64> {
        (self.clock != NEVER).then_some(self.clock)
    }

    /// Records and windows gathered since the last cut.
    pub fn pending(&self) -> usize {
        self.closed.len()
    }

    /// What to commit now; `None` while the replay is not through (rule 4).
    pub fn cut(&mut self) -> Option<Cut> {
        if self.position < self.high_water {
            return None;
        }
        self.change_settings();
        let low = self.beginnings.values().min_by_key(|beginning| beginning.offset);
        let low =
            low.copied().unwrap_or(Beginning { offset: self.position, clock: self.clock, floor: self.floor });
        self.high_water = self.position;
        Some(Cut {
            windows: std::mem::take(&mut self.closed),
            committed: Committed {
                high_water: self.position,
                low_water: low.offset,
                clock_at_low: low.clock,
                floor_at_low: low.floor,
                settings: self.settings.clone(),
            },
        })
    }

    fn take(&mut self, here: Beginning, append_time: i64, frame: &MetricFrame) -> Verdict {
        if let Err(refusal) = check(append_time, frame) {
            return Verdict::Refused(refusal);
        }
        if window_end(frame.collected_at, self.settings.shortest()) <= self.floor {
            return Verdict::Late;
        }
        let span_end = window_end(frame.collected_at, self.settings.longest());
        let offset = here.offset;
        let live = offset >= self.high_water;
        let server = self.servers.entry_ref(frame.server.as_str()).or_insert_with(|| Server::new(self.clock));
        let context = server::Context {
            settings: &self.settings,
            limits: &self.limits,
            partition: self.partition,
            offset,
        };
        // even a frame that turns out to hold nothing good leaves its mark on the span
        self.beginnings.entry(span_end).or_insert(here);
        server.take(&context, span_end, frame, live.then_some(&mut self.closed))
    }

    /// C = append clock - maximum lateness, rounded down to a window; closes what it passes and forgets it.
    fn raise_floor(&mut self, offset: i64) {
        let shortest = self.settings.shortest();
        let floor = self.clock.saturating_sub(self.settings.lateness_ms).div_euclid(shortest) * shortest;
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        self.for_each_server(offset, |server, context, emit| server.close_until(context, floor, emit));
        self.servers.retain(|_, server| server.forget_until(floor));
        self.beginnings = self.beginnings.split_off(&(floor + 1));
    }

    fn close_idle(&mut self, offset: i64) {
        let limit = self.clock.saturating_sub(self.settings.idle_ms);
        self.for_each_server(offset, |server, context, emit| {
            if server.last_append < limit {
                server.close_until(context, i64::MAX, emit);
            }
        });
    }

    /// In the order of their names: the output has to be the same for everybody who replays.
    fn for_each_server(
        &mut self,
        offset: i64,
        mut act: impl FnMut(&mut Server, &server::Context<'_>, Option<&mut Vec<AggregateFrame>>),
    ) {
        let context = server::Context {
            settings: &self.settings,
            limits: &self.limits,
            partition: self.partition,
            offset,
        };
        let live = offset >= self.high_water;
        let closed = self.closed.len();
        for (name, server) in &mut self.servers {
            let before = self.closed.len();
            act(server, &context, live.then_some(&mut self.closed));
            for frame in &mut self.closed[before..] {
                frame.server.clone_from(name);
            }
        }
        self.closed[closed..].sort_by(|a, b| {
            (&a.server, a.window_ms, a.window_start).cmp(&(&b.server, b.window_ms, b.window_start))
        });
    }

    /// Settings change at H: what is open goes out as partial windows, which merge with what comes later.
    fn change_settings(&mut self) {
        if self.position < self.high_water {
            return;
        }
        let Some(next) = self.next_settings.take() else { return };
        let offset = self.high_water - 1;
        let context = server::Context {
            settings: &self.settings,
            limits: &self.limits,
            partition: self.partition,
            offset,
        };
        let mut partial = Vec::new();
        for (name, server) in &mut self.servers {
            let before = partial.len();
            server.close_partial(&context, &mut partial);
            for frame in &mut partial[before..] {
                frame.server.clone_from(name);
            }
        }
        partial.sort_by(|a, b| {
            (&a.server, a.window_ms, a.window_start).cmp(&(&b.server, b.window_ms, b.window_start))
        });
        self.closed.extend(partial);
        self.servers.clear();
        self.beginnings.clear();
        self.settings = next;
    }
}

/// What makes a whole frame useless.
fn check(append_time: i64, frame: &MetricFrame) -> Result<(), Refusal> {
    check_server_name(&frame.server).map_err(|reason| {
        Refusal::new(
            reason,
            format!("server name has to be 1 to {} bytes of readable text", ServerName::MAX_BYTES),
        )
    })?;
    check_time(frame.collected_at, append_time).map_err(|reason| {
        let message = format!("collected_at {} against append time {append_time}", frame.collected_at);
        Refusal::new(reason, message)
    })?;
    if frame.layout_id != 0 && frame.layout.is_empty() {
        return Err(Refusal::new(
            Reason::UnknownLayout,
            format!("layout {} was never announced", frame.layout_id),
        ));
    }
    if frame.layout.len() != frame.values.len() {
        let message = format!("{} values for {} series", frame.values.len(), frame.layout.len());
        return Err(Refusal::new(Reason::LayoutMismatch, message));
    }
    if frame.layout.is_empty() {
        return Err(Refusal::new(Reason::NoMetrics, "a frame without values"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
