//! The window protocol for one partition: no Kafka, no clock, no tokio. Records of the log go in, in order; windows that
//! closed come out; a commit says where a successor has to start reading to know the same.
//!
//! What may not be broken (the four rules): a commit holds nothing back that is not a window (late frames go out as their
//! own deltas); the floor is restored; records below H rebuild windows but emit nothing; no commit while the position is below H.
//! And: every trigger is a function of the log's prefix, so whoever replays it decides the same.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;
use tidewatch_schemas::{AggregateKind, Reason};

use crate::{
    aggregate::Cell,
    commit::Committed,
    encode::Output,
    filter::Filter,
    layout::{Announced, Hasher, Layouts, Refusal},
    read::{self, FrameView, WindowView},
};

mod brought;
mod histograms;
mod rule;
mod sequences;
mod server;
mod settings;
mod span;
mod take;

use rule::Rule;
use server::{Context, Scratch, Server};
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
    Window(WindowView<'a>),
    /// Moves the append clock and nothing else.
    Tick,
    /// Was no frame: moves the append clock, and is refused.
    Unreadable(Reason),
}

impl Input<'_> {
    fn server(&self) -> Option<&str> {
        match self {
            Self::Frame(frame) => Some(frame.server),
            Self::Window(window) => Some(window.server),
            Self::Tick | Self::Unreadable(_) => None,
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to count: a tick.
    Ticked,
    /// Every good sample is in a window (`samples` of them, a histogram being one); `refused` says what was wrong with others.
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

/// A window of the longest tier, as far as the partition as a whole is concerned. Like all that is remembered of it, a
/// function of the records from its first one on.
#[derive(Debug, Clone, Copy)]
struct Begun {
    beginning: Beginning,
    /// How many have a span of this end.
    servers: u32,
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
    begun: BTreeMap<i64, Begun>,
    output: Output,
    values: Vec<f64>,
    transformed: Vec<f64>,
    cells: Vec<Option<Cell>>,
    scratch: Scratch,
    #[cfg(any(test, feature = "broken"))]
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
            begun: BTreeMap::new(),
            output: Output::default(),
            values: Vec::new(),
            transformed: Vec::new(),
            cells: Vec::new(),
            scratch: Scratch::default(),
            #[cfg(all(test, not(feature = "broken")))]
            broken: None,
            #[cfg(feature = "broken")]
            broken: Rule::of_environment(),
        }
    }

    /// What the last commit says; reading has to start at its low water. `filter` is the one that the commit names. When
    /// `next` differs from the commit's setup, the replay runs under the commit's, what is open then goes out as partial
    /// windows, and `next` rules from there.
    pub fn restore(partition: i32, committed: &Committed, filter: Filter, next: Setup) -> Self {
        let setup = Setup { settings: committed.settings.clone(), filter };
        let differ = setup.settings != next.settings;
        let mut windows = Self {
            next_setup: differ.then_some(next),
            high_water: committed.high_water,
            floor: committed.floor_at_low,
            clock: committed.clock_at_low,
            ..Self::begin(partition, committed.low_water, setup)
        };
        if windows.breaks(Rule::FloorRestored) {
            windows.forget_floor();
        }
        windows
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
                self.take_window(before, record.append_time, &window, known).unwrap_or_else(Verdict::Refused)
            }
        };
        self.position = record.offset + 1;
        verdict
    }

    /// Whether what the last step decided still has to be said: `false` while replaying what a commit already covers.
    pub fn is_live(&self) -> bool {
        self.position > self.high_water
    }

    /// The id of a layout that this frame names and nobody has announced here.
    #[inline]
    pub fn missing_layout(&self, frame: &FrameView<'_>) -> Option<i64> {
        frame.named_layout().filter(|id| self.layouts.announced(*id).is_none())
    }

    /// What frames mean by an id: a layout's bytes as a frame would hold them.
    pub fn announce(&mut self, id: i64, layout: &Arc<[u8]>) {
        let (hash, bytes) = (self.hasher.hash(layout), Arc::clone(layout));
        let series = read::layout_extent(layout).map_or(0, |(_, series)| series);
        self.layouts.announce(id, Announced { hash, series, bytes });
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
        #[cfg(any(test, feature = "broken"))]
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
        let all = self.begun.iter().filter(|(end, _)| counts(end));
        let low = all.map(|(_, begun)| begun.beginning).min_by_key(|beginning| beginning.offset);
        low.unwrap_or(Beginning { offset: self.position, clock: self.clock, floor: self.floor })
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
        self.close_servers(offset, self.emits(offset), AggregateKind::Final, floor, passed);
        for (number, server) in self.servers.iter_mut().enumerate() {
            if !server.name.is_empty() && !server.forget_until(floor) {
                self.names.remove(&server.name);
                *server = Server::new("", NEVER);
                self.vacant.push(number as u32);
            }
        }
        self.begun = self.begun.split_off(&(floor + 1));
        true
    }

    fn close_idle(&mut self, offset: i64) {
        let limit = self.clock.saturating_sub(self.setup.settings.idle_ms);
        let idle = |server: &Server| server.has_open_windows() && server.last_append < limit;
        self.close_servers(offset, self.emits(offset), AggregateKind::Final, i64::MAX - 1, idle);
    }

    /// In the order of their names: the output has to be the same for everybody who replays.
    fn close_servers(
        &mut self,
        offset: i64,
        live: bool,
        kind: AggregateKind,
        time: i64,
        which: impl Fn(&Server) -> bool,
    ) {
        let all = self.servers.iter().enumerate().filter(|(_, server)| which(server));
        let mut numbers: Vec<usize> = all.map(|(number, _)| number).collect();
        numbers.sort_by(|a, b| self.servers[*a].name.cmp(&self.servers[*b].name));
        let context = context(self.partition, &self.setup, &self.tiers, self.hasher, offset, self.clock);
        for number in numbers {
            self.servers[number].close(&context, kind, time, live.then_some(&mut self.output));
        }
    }

    /// Another setup from the next record on, or from H on if the replay is not through.
    pub fn change_to(&mut self, next: Setup) {
        let differs = next.settings != self.setup.settings;
        self.next_setup = differs.then_some(next);
    }

    /// The setup changes here: what is open goes out as partial windows, which merge with what comes later.
    fn change_setup(&mut self) {
        if self.position < self.high_water {
            return;
        }
        let Some(next) = self.next_setup.take() else { return };
        let last = self.position - 1;
        self.close_servers(last, true, AggregateKind::Delta, i64::MAX - 1, Server::has_open_windows);
        self.names.clear();
        self.servers.clear();
        self.vacant.clear();
        self.begun.clear();
        self.tiers = Tiers::new(&next.settings.tiers_ms);
        self.layouts.change_filter(next.filter.clone());
        self.setup = next;
    }

    /// What breaking rule 2 means.
    fn forget_floor(&mut self) {
        (self.clock, self.floor) = (NEVER, NEVER);
    }

    /// What breaking rule 1 means: deltas stay behind for the next commit.
    #[cfg(any(test, feature = "broken"))]
    fn hold_back(&mut self, output: Output) -> Output {
        let (now, later) = output.split_deltas();
        self.output = later;
        now
    }

    #[cfg(any(test, feature = "broken"))]
    fn breaks(&self, rule: Rule) -> bool {
        self.broken == Some(rule)
    }

    #[cfg(not(any(test, feature = "broken")))]
    #[expect(clippy::unused_self, reason = "tests break rules on purpose")]
    const fn breaks(&self, _: Rule) -> bool {
        false
    }
}

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

#[cfg(test)]
mod tests;
