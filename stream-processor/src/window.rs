//! The window protocol for one partition: no Kafka, no clock, no tokio. Records of the log go in, in order; windows that
//! closed come out; a commit says where a successor has to start reading to know the same.
//!
//! What may not be broken (the four rules): a commit holds nothing back that is not a window (late frames go out as their
//! own deltas); the floor is restored; records below H rebuild windows but emit nothing; no commit while the position is below H.
//! And: every trigger is a function of the log's prefix, so whoever replays it decides the same.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use tidewatch_schemas::{
    AggregateFrame, AggregateKind, Reason, ServerName,
    validate::{MAX_VALUE, check_server_name, check_time, check_value},
};

use crate::{
    aggregate::Cell,
    columns::Columns,
    commit::Committed,
    encode::{Output, Rows, SeriesList},
    filter::Filter,
    layout::{Hasher, Layouts, Refusal, Shape, write_layout},
    read::{self, FrameView},
};

mod sequences;
mod server;
mod settings;
mod span;

use server::{Brought, Context, Scratch, Server};
use settings::Tiers;
pub use settings::{Setup, WindowSettings};

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
    Frame(FrameView<'a>),
    /// A window of a shorter tier, to be rolled up.
    Window(&'a AggregateFrame),
    /// Moves the append clock and nothing else.
    Tick,
    /// Was no frame: moves the append clock, and is refused.
    Unreadable(Reason),
}

impl Input<'_> {
    fn server(&self) -> Option<&str> {
        match self {
            Self::Frame(frame) => Some(frame.server),
            Self::Window(window) => Some(&window.server),
            Self::Tick | Self::Unreadable(_) => None,
        }
    }
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

/// What a commit takes: the windows closed since the last one, and the state to store with the offset.
#[derive(Debug)]
pub struct Cut {
    pub output: Output,
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
    setup: Setup,
    tiers: Tiers,
    /// What to change to once the replay is through.
    next_setup: Option<Setup>,
    /// The next offset to be read.
    position: i64,
    high_water: i64,
    floor: i64,
    /// Running maximum of the append times.
    clock: i64,
    names: HashMap<Box<str>, u32>,
    /// By number; a vacant one stands in `vacant`.
    servers: Vec<Server>,
    vacant: Vec<u32>,
    hasher: Hasher,
    layouts: Layouts,
    /// By end of the span (a window of the longest tier).
    beginnings: BTreeMap<i64, Beginning>,
    /// The span that was touched last has its beginning.
    begun: i64,
    output: Output,
    values: Vec<f64>,
    transformed: Vec<f64>,
    scratch: Scratch,
    #[cfg(test)]
    broken: Option<Rule>,
}

impl PartitionWindows {
    /// A partition of which nothing was committed: `position` is the first offset to be read.
    pub fn begin(partition: i32, position: i64, setup: Setup) -> Self {
        Self {
            partition,
            tiers: Tiers::new(&setup.settings.tiers_ms),
            layouts: Layouts::new(setup.filter.clone()),
            setup,
            next_setup: None,
            position,
            high_water: position,
            floor: NEVER,
            clock: NEVER,
            names: HashMap::new(),
            servers: Vec::new(),
            vacant: Vec::new(),
            hasher: Hasher::new(),
            beginnings: BTreeMap::new(),
            begun: NEVER,
            output: Output::default(),
            values: Vec::new(),
            transformed: Vec::new(),
            scratch: Scratch::default(),
            #[cfg(test)]
            broken: None,
        }
    }

    /// What the last commit says; reading has to start at its low water. `filter` is the one that the commit names. When
    /// `next` differs from the commit's setup, the replay runs under the commit's, what is open then goes out as partial
    /// windows, and `next` rules from there.
    pub fn restore(partition: i32, committed: &Committed, filter: Filter, next: Setup) -> Self {
        let setup = Setup { settings: committed.settings.clone(), filter };
        let differ = setup.settings != next.settings;
        Self {
            next_setup: differ.then_some(next),
            high_water: committed.high_water,
            floor: committed.floor_at_low,
            clock: committed.clock_at_low,
            ..Self::begin(partition, committed.low_water, setup)
        }
    }

    /// Takes the next record. Offsets may have holes (transaction markers) but never go back.
    pub fn step(&mut self, record: Record<'_>) -> Verdict {
        debug_assert!(record.offset >= self.position, "the log does not go back");
        if self.next_setup.is_some() {
            self.change_setup();
        }
        let before = Beginning { offset: record.offset, clock: self.clock, floor: self.floor };
        self.clock = self.clock.max(record.append_time);
        let mut known = record.input.server().and_then(|name| self.names.get(name).copied());
        // who speaks is not idle: else its own frame could close and reopen a window under one identity
        if let Some(known) = known.filter(|_| !self.breaks(Rule::SpeakerNotIdle)) {
            self.servers[known as usize].last_append = self.clock;
        }
        if self.raise_floor(record.offset) {
            known = record.input.server().and_then(|name| self.names.get(name).copied());
        }
        if before.clock.div_euclid(1_000) != self.clock.div_euclid(1_000) {
            self.close_idle(record.offset);
        }
        let verdict = match record.input {
            Input::Tick => Verdict::Ticked,
            Input::Unreadable(reason) => Verdict::Refused(Refusal::new(reason, "not a frame")),
            Input::Frame(frame) => {
                self.take_frame(before, record.append_time, &frame, known).unwrap_or_else(Verdict::Refused)
            }
            Input::Window(window) => {
                self.take_window(before, record.append_time, window, known).unwrap_or_else(Verdict::Refused)
            }
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
        self.servers.iter().any(Server::has_open_windows)
    }

    /// Windows open, and servers known.
    pub fn size(&self) -> (usize, usize) {
        (self.servers.iter().map(Server::open_windows).sum(), self.names.len())
    }

    /// The append clock; `None` before the first record.
    pub fn clock(&self) -> Option<i64> {
        (self.clock != NEVER).then_some(self.clock)
    }

    /// Bytes of the windows gathered since the last cut.
    pub fn pending(&self) -> usize {
        self.output.size()
    }

    /// What to commit now; `None` while the replay is not through (rule 4).
    pub fn cut(&mut self) -> Option<Cut> {
        if self.position < self.high_water && !self.breaks(Rule::NoCommitInReplay) {
            return None;
        }
        self.change_setup();
        let low = self.low_water();
        self.high_water = self.position;
        let output = std::mem::take(&mut self.output);
        #[cfg(test)]
        let output = if self.breaks(Rule::LateInItsCommit) { self.hold_back(output) } else { output };
        Some(Cut {
            output,
            committed: Committed {
                high_water: self.position,
                low_water: low.offset,
                clock_at_low: low.clock,
                floor_at_low: low.floor,
                settings: self.setup.settings.clone(),
            },
        })
    }

    /// L, with what was known before it: the first record that contributes to any span above the floor, closed ones too.
    fn low_water(&self) -> Beginning {
        let counts = |end: &i64| {
            !self.breaks(Rule::LowWaterOfAllWindows)
                || self.servers.iter().any(|server| server.has_open_windows_in(*end))
        };
        let all = self.beginnings.iter().filter(|(end, _)| counts(end));
        let low = all.map(|(_, beginning)| *beginning).min_by_key(|beginning| beginning.offset);
        low.unwrap_or(Beginning { offset: self.position, clock: self.clock, floor: self.floor })
    }

    fn take_frame(
        &mut self,
        here: Beginning,
        append_time: i64,
        frame: &FrameView<'_>,
        known: Option<u32>,
    ) -> Result<Verdict, Refusal> {
        check_head(frame.server, known, frame.collected_at, append_time)?;
        let predicted = known
            .and_then(|known| self.servers[known as usize].predict(frame, self.hasher).map(|e| (known, e)));
        let (extent, series) = match predicted {
            Some((known, entry)) => self.servers[known as usize].extent(entry),
            None => read::layout_extent(frame.body).map_err(undecodable)?,
        };
        let (layout, values) = frame.body.split_at(extent);
        read::values(values, &mut self.values).map_err(undecodable)?;
        if series == 0 && frame.layout_id != 0 {
            let message = format!("layout {} was never announced", frame.layout_id);
            return Err(Refusal::new(Reason::UnknownLayout, message));
        }
        if self.values.len() != series {
            let message = format!("{} values for {series} series", self.values.len());
            return Err(Refusal::new(Reason::LayoutMismatch, message));
        }
        if series == 0 {
            return Err(Refusal::new(Reason::NoMetrics, "a frame without values"));
        }
        let late = self.is_late(frame.collected_at);
        if late && !self.setup.settings.backfill {
            return Ok(Verdict::Late);
        }
        let found = match predicted {
            Some(found) => Ok(found),
            None => self.find(frame.server, known, layout)?,
        };
        let shape = match &found {
            Ok((known, entry)) => self.servers[*known as usize].shape(*entry),
            Err((_, shape)) => shape,
        };
        let plan = shape.plan.clone();
        if let Some(plan) = plan {
            plan.apply(&self.values, &mut self.transformed);
            std::mem::swap(&mut self.values, &mut self.transformed);
        }
        let values = std::mem::take(&mut self.values);
        let all_good = values.iter().fold(true, |good, value| good & (value.abs() <= MAX_VALUE));
        let time = frame.collected_at;
        let brought = Values { time, values: &values, all_good };
        let verdict = if late {
            self.backfill(here.offset, frame.server, &found, time, &brought)
        } else {
            let (known, entry) = self.learn(frame.server, known, found, layout.len());
            self.count(here, known, entry, (time, time), frame.sequence, &brought)
        };
        self.values = values;
        verdict
    }

    fn take_window(
        &mut self,
        here: Beginning,
        append_time: i64,
        window: &AggregateFrame,
        known: Option<u32>,
    ) -> Result<Verdict, Refusal> {
        let time = window.window_start;
        check_head(&window.server, known, time, append_time)?;
        let shortest = self.setup.settings.shortest();
        if !window.is_consistent() || window.window_ms >= shortest || shortest % window.window_ms != 0 {
            return Err(Refusal::new(Reason::LayoutMismatch, "a window that is no part of one of this tier"));
        }
        let late = self.is_late(time);
        if late && !self.setup.settings.backfill {
            return Ok(Verdict::Late);
        }
        let mut layout = Vec::with_capacity(window.layout.len() * 64);
        write_layout(&mut layout, &window.layout);
        let found = self.find(&window.server, known, &layout)?;
        let rows = (0..window.layout.len()).map(|row| Cell::of_row(window, row)).collect();
        let brought = Cells { start: time, rows };
        if late {
            return self.backfill(here.offset, &window.server, &found, time, &brought);
        }
        let (known, entry) = self.learn(&window.server, known, found, layout.len());
        // unique within the span: a record of the log makes one window a record at most
        let child = time.rem_euclid(self.setup.settings.longest()) / window.window_ms;
        let sequence = (window.origin.offset << 12 | child & 0xFFF).saturating_add(1);
        self.count(here, known, entry, (time, window.window_end()), sequence, &brought)
    }

    fn is_late(&self, time: i64) -> bool {
        window_end(time, self.setup.settings.shortest()) <= self.floor
    }

    /// The server's entry for a layout, or the shape to make one of.
    fn find(&mut self, server: &str, known: Option<u32>, layout: &[u8]) -> Result<Found, Refusal> {
        let hash = self.hasher.hash(layout);
        if let Some(known) = known
            && let Some(entry) = self.servers[known as usize].find(hash, 0)
        {
            return Ok(Ok((known, entry)));
        }
        Ok(Err((hash, self.layouts.shape(server, hash, layout).map_err(undecodable)?)))
    }

    fn learn(&mut self, name: &str, known: Option<u32>, found: Found, extent: usize) -> (u32, u32) {
        found.unwrap_or_else(|(hash, shape)| {
            let known = known.unwrap_or_else(|| self.admit(name));
            let most = self.setup.settings.max_series as usize;
            (known, self.servers[known as usize].learn(hash, extent, 0, shape, most))
        })
    }

    /// A number for a server that was not known.
    fn admit(&mut self, name: &str) -> u32 {
        let server = Server::new(name, self.clock);
        let number = if let Some(number) = self.vacant.pop() {
            self.servers[number as usize] = server;
            number
        } else {
            self.servers.push(server);
            (self.servers.len() - 1) as u32
        };
        self.names.insert(name.into(), number);
        number
    }

    fn count(
        &mut self,
        here: Beginning,
        known: u32,
        entry: u32,
        times: (i64, i64),
        sequence: i64,
        brought: &impl Brought,
    ) -> Result<Verdict, Refusal> {
        let span_end = window_end(times.0, self.setup.settings.longest());
        if self.begun != span_end {
            // even a frame that turns out to hold nothing good leaves its mark on the span
            self.beginnings.entry(span_end).or_insert(here);
            self.begun = span_end;
        }
        let live = self.emits(here.offset);
        let tolerant = self.breaks(Rule::NoRepeats);
        let context = context(self.partition, &self.setup, &self.tiers, self.hasher, here.offset, self.clock);
        let server = &mut self.servers[known as usize];
        let span = server.span(span_end, self.tiers.count());
        if !server.is_new(span, sequence) && !tolerant {
            let message = format!("sequence {sequence} of {} was counted before", server.name);
            return Err(Refusal::new(Reason::Duplicate, message));
        }
        let emit = live.then_some(&mut self.output);
        Ok(server.take(&context, span, entry, times, brought, &mut self.scratch, emit))
    }

    /// What is too late for any window, as deltas of its own. Nobody remembers its sequence any more.
    fn backfill(
        &mut self,
        offset: i64,
        server: &str,
        found: &Found,
        time: i64,
        brought: &impl Brought,
    ) -> Result<Verdict, Refusal> {
        if !self.emits(offset) {
            return Ok(Verdict::Late);
        }
        let shape = match found {
            Ok((known, entry)) => self.servers[*known as usize].shape(*entry),
            Err((_, shape)) => shape,
        };
        let (bad, _) = shape.layout.bad();
        let mut series = SeriesList::default();
        series.append(&shape.layout, None);
        let context = context(self.partition, &self.setup, &self.tiers, self.hasher, offset, self.clock);
        for tier in &self.tiers.0 {
            let end = window_end(time, tier.ms);
            let mut columns = Columns::default();
            columns.grow(brought.len(), series.has_counters());
            for index in 0..brought.len().min(context.settings.max_series as usize) {
                if bad.binary_search(&(index as u32)).is_err() && brought.check(index) == Ok(true) {
                    brought.add(index, end - tier.ms, index, &mut columns);
                }
            }
            let rows = Rows { columns: &columns, series: &series, slots: None };
            self.output.push(server, &context.identity(end, tier.ms, AggregateKind::Delta), &rows);
        }
        Ok(Verdict::Late)
    }

    /// Whether what is decided at this offset has not been emitted before.
    fn emits(&self, offset: i64) -> bool {
        offset >= self.high_water || self.breaks(Rule::SilentBelowHighWater)
    }

    /// C = append clock - maximum lateness, rounded down to a window; closes what it passes and forgets it. Whether it rose.
    fn raise_floor(&mut self, offset: i64) -> bool {
        let settings = &self.setup.settings;
        let shortest = settings.shortest();
        let floor = self.clock.saturating_sub(settings.lateness_ms).div_euclid(shortest) * shortest;
        if floor <= self.floor {
            return false;
        }
        self.floor = floor;
        let passed = |server: &Server| server.next_end <= floor;
        self.close_servers(offset, AggregateKind::Final, floor, passed);
        for (number, server) in self.servers.iter_mut().enumerate() {
            if !server.name.is_empty() && !server.forget_until(floor) {
                self.names.remove(&server.name);
                *server = Server::new("", NEVER);
                self.vacant.push(number as u32);
            }
        }
        self.beginnings = self.beginnings.split_off(&(floor + 1));
        self.begun = NEVER;
        true
    }

    fn close_idle(&mut self, offset: i64) {
        let limit = self.clock.saturating_sub(self.setup.settings.idle_ms);
        let idle = |server: &Server| server.has_open_windows() && server.last_append < limit;
        self.close_servers(offset, AggregateKind::Final, i64::MAX - 1, idle);
    }

    /// In the order of their names: the output has to be the same for everybody who replays.
    fn close_servers(
        &mut self,
        offset: i64,
        kind: AggregateKind,
        time: i64,
        which: impl Fn(&Server) -> bool,
    ) {
        let all = self.servers.iter().enumerate().filter(|(_, server)| which(server));
        let mut numbers: Vec<usize> = all.map(|(number, _)| number).collect();
        numbers.sort_by(|a, b| self.servers[*a].name.cmp(&self.servers[*b].name));
        let live = self.emits(offset);
        let context = context(self.partition, &self.setup, &self.tiers, self.hasher, offset, self.clock);
        for number in numbers {
            self.servers[number].close(&context, kind, time, live.then_some(&mut self.output));
        }
    }

    /// The setup changes at H: what is open goes out as partial windows, which merge with what comes later.
    fn change_setup(&mut self) {
        if self.position < self.high_water {
            return;
        }
        let Some(next) = self.next_setup.take() else { return };
        let offset = self.high_water - 1;
        self.high_water = offset;
        self.close_servers(offset, AggregateKind::Delta, i64::MAX - 1, Server::has_open_windows);
        self.high_water = offset + 1;
        self.names.clear();
        self.servers.clear();
        self.vacant.clear();
        self.beginnings.clear();
        self.begun = NEVER;
        self.tiers = Tiers::new(&next.settings.tiers_ms);
        self.layouts = Layouts::new(next.filter.clone());
        self.setup = next;
    }

    #[cfg(test)]
    fn breaks(&self, rule: Rule) -> bool {
        self.broken == Some(rule)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests break rules on purpose")]
    const fn breaks(&self, _: Rule) -> bool {
        false
    }
}

/// What the tests break on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "broken by tests only"))]
pub(crate) enum Rule {
    /// Rule 1: late deltas go out with the next commit, or hold L back.
    LateInItsCommit,
    /// Rule 2: clock and floor are restored.
    FloorRestored,
    /// Rule 3.
    SilentBelowHighWater,
    /// Rule 4.
    NoCommitInReplay,
    /// L covers windows above the floor, closed ones too.
    LowWaterOfAllWindows,
    /// Repeats of (server, sequence) are dropped.
    NoRepeats,
    /// A server that speaks is not idle.
    SpeakerNotIdle,
    /// The predecessor is fenced before what is committed is read.
    FencedBeforeRead,
}

/// A server's number and its entry for a layout; or the layout's hash and shape, if it never sent that.
type Found = Result<(u32, u32), (u128, Shape)>;

fn context<'a>(
    partition: i32,
    setup: &'a Setup,
    tiers: &'a Tiers,
    hasher: Hasher,
    offset: i64,
    clock: i64,
) -> Context<'a> {
    Context { settings: &setup.settings, tiers, hasher, partition, offset, clock }
}

fn undecodable(error: read::ReadError) -> Refusal {
    Refusal::new(Reason::Undecodable, error.to_string())
}

/// A frame's values, NaN where there is none.
struct Values<'a> {
    time: i64,
    values: &'a [f64],
    all_good: bool,
}

impl Brought for Values<'_> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn check(&self, index: usize) -> Result<bool, Reason> {
        let value = self.values[index];
        if value.is_nan() { Ok(false) } else { check_value(value).map(|()| true) }
    }

    fn all_good(&self) -> bool {
        self.all_good
    }

    #[inline]
    fn add(&self, index: usize, start: i64, slot: usize, columns: &mut Columns) {
        columns.add(slot, (self.time - start) as i32, self.values[index]);
    }

    #[inline]
    fn add_all(&self, start: i64, first: usize, columns: &mut Columns) {
        match self.values {
            [value] => columns.add(first, (self.time - start) as i32, *value),
            values => columns.add_run(first, (self.time - start) as i32, values),
        }
    }
}

/// The rows of a window record; `None` where a row is none.
struct Cells {
    start: i64,
    rows: Vec<Option<Cell>>,
}

impl Brought for Cells {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn check(&self, index: usize) -> Result<bool, Reason> {
        if self.rows[index].is_some() { Ok(true) } else { Err(Reason::NotANumber) }
    }

    fn all_good(&self) -> bool {
        self.rows.iter().all(Option::is_some)
    }

    fn add(&self, index: usize, start: i64, slot: usize, columns: &mut Columns) {
        if let Some(row) = &self.rows[index] {
            let mut cell = columns.cell(slot);
            cell.merge(&row.moved((self.start - start) as i32));
            columns.put(slot, &cell);
        }
    }

    fn add_all(&self, start: i64, first: usize, columns: &mut Columns) {
        (0..self.rows.len()).for_each(|index| self.add(index, start, first + index, columns));
    }
}

/// What makes a whole record useless, whatever it holds.
fn check_head(server: &str, known: Option<u32>, time: i64, append_time: i64) -> Result<(), Refusal> {
    if known.is_none() {
        check_server_name(server).map_err(|reason| {
            let most = ServerName::MAX_BYTES;
            Refusal::new(reason, format!("server name has to be 1 to {most} bytes of readable text"))
        })?;
    }
    check_time(time, append_time).map_err(|reason| {
        Refusal::new(reason, format!("collected_at {time} against append time {append_time}"))
    })
}

#[cfg(test)]
mod tests;
