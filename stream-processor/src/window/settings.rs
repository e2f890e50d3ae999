//! What decides when a window closes and what it holds, and the arithmetic of tiers.

use crate::filter::Filter;

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
    /// Servers of one partition in one window of the longest tier; more are refused.
    pub max_servers: u32,
    /// Whether what is later than that is counted after all, as deltas.
    pub backfill: bool,
    /// Which filter stands before the windows: its fingerprint.
    pub filter: u64,
}

impl Default for WindowSettings {
    fn default() -> Self {
        Self {
            tiers_ms: vec![10_000, 60_000],
            grace_ms: 2_000,
            idle_ms: 15_000,
            lateness_ms: 120_000,
            max_series: 20_000,
            max_servers: 20_000,
            backfill: false,
            filter: 0,
        }
    }
}

impl WindowSettings {
    pub(crate) fn shortest(&self) -> i64 {
        self.tiers_ms.first().copied().unwrap_or(10_000)
    }

    pub(crate) fn longest(&self) -> i64 {
        self.tiers_ms.last().copied().unwrap_or(60_000)
    }
}

/// Settings, and the filter that they name.
#[derive(Debug, Clone)]
pub struct Setup {
    pub settings: WindowSettings,
    pub filter: Filter,
}

impl Setup {
    /// Settings under a filter; their fingerprint of it is set here.
    pub fn new(settings: WindowSettings, filter: Filter) -> Self {
        Self { settings: WindowSettings { filter: filter.fingerprint(), ..settings }, filter }
    }
}

impl From<WindowSettings> for Setup {
    fn from(settings: WindowSettings) -> Self {
        Self::new(settings, Filter::none())
    }
}

/// One tier's windows within a span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tier {
    pub(super) ms: i64,
    /// Where its windows begin in a span's list.
    base: usize,
    span_ms: i64,
}

impl Tier {
    /// The index of the window that ends at `end`.
    #[inline]
    pub(super) fn window(&self, span_end: i64, end: i64) -> usize {
        self.base + ((end - (span_end - self.span_ms)) / self.ms) as usize - 1
    }
}

#[derive(Debug, Clone)]
pub(super) struct Tiers(pub(super) Vec<Tier>);

impl Tiers {
    pub(super) fn new(tiers_ms: &[i64]) -> Self {
        let span_ms = tiers_ms.last().copied().unwrap_or(60_000);
        let mut base = 0;
        let tier = |&ms: &i64| {
            let tier = Tier { ms, base, span_ms };
            base += (span_ms / ms) as usize;
            tier
        };
        Self(tiers_ms.iter().map(tier).collect())
    }

    /// Windows of all tiers in a span.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|tier| (tier.span_ms / tier.ms) as usize).sum()
    }

    /// Tier, end and index of each window of a span.
    pub(super) fn windows(&self, span_end: i64) -> impl Iterator<Item = (i64, i64, usize)> {
        self.0.iter().flat_map(move |tier| {
            (0..(tier.span_ms / tier.ms))
                .map(move |i| (tier.ms, span_end - tier.span_ms + (i + 1) * tier.ms, tier.base + i as usize))
        })
    }
}
