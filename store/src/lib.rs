//! The shape of PostgreSQL (history) and of Redis (hot answers): the sink writes it, the visualizer reads it and writes what
//! people say.
//!
//! ```text
//! sink -> write:: (rows + offsets, one transaction) -> PostgreSQL -> history:: -> visualizer
//!      -> hot::writer (after the commit)            -> Redis      -> hot::     -> visualizer
//! ```
//! Invariant: what Redis answers as exact equals what PostgreSQL would answer.

pub mod config;
pub mod error;
pub mod history;
pub mod hot;
pub mod merge;
pub mod people;
pub mod rows;
#[cfg(feature = "testing")]
pub mod testing;
pub mod triage;
pub mod write;

pub use config::{Store, StoreConfig};
pub use error::Error;
pub use history::{
    Across, AlertQuery, AnomalyQuery, FleetPoint, HistogramQuery, History, IncidentQuery, JOIN_MS,
    MAX_WINDOWS, MetricsQuery, NamesQuery, OverTime, ReduceQuery, Reduced, ServerRef, TrackedQuery, migrate,
};
pub use hot::{Freshness, Hot, Recent};
pub use people::{People, PeoplePatch};
pub use rows::{
    AnomalyRow, ExpectationRow, HistogramRow, MetricRow, PackedTier, SeriesMeta, Server, StoredAlert, Tier,
    WindowRow,
};
pub use triage::{Acknowledgement, Incident, NewSilence, Scope, Silence, SilenceState, TrackedAlert, joined};
