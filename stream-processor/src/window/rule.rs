//! The protocol's rules, each of which the tests break once.

/// What the tests break on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "broken by tests only"))]
pub(super) enum Rule {
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
