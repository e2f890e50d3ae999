//! The server as a whole: what moved together, and the learned alert that says so.
//!
//! In: the verdict on a window and its series that are odd. Out: the alert, once, again when clearly more has moved, and its
//! end. Invariant: the series that moved first stays the alert's own.

use tidewatch_schemas::Alert;

use super::Server;
use crate::{
    analysis::voice::Voice,
    detect::{
        Opinion, Verdict,
        together::{FROM, LOUDER, MOST},
    },
    incident::{self, Breadth, Odd, Over, Record, Window, server_fingerprint},
    rules::{Hold, LEARNED, Pace, Transition},
};

/// The learned alert resolves after so many quiet windows.
const QUIET_WINDOWS: i64 = 6;

/// A series that is odd in a window, or nearly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub(super) slot: u32,
    pub(super) value: f64,
    pub(super) opinion: Opinion,
    /// What was known of it before.
    pub(super) before: Record,
}

impl Server {
    pub(super) fn watch_together(
        &mut self,
        server: &str,
        window: Window,
        verdict: Verdict,
        mut odd: Vec<Moved>,
        out: &mut Voice,
    ) {
        self.course.pass(window);
        // stable: equal ones stay in the order of the layout
        odd.sort_by(|a, b| b.opinion.size().total_cmp(&a.opinion.size()));
        let outside = odd.iter().filter(|moved| moved.opinion.is_odd());
        let outside: Vec<Moved> = outside.copied().collect();
        for moved in &outside {
            self.note(window, moved);
        }
        let breadth = Breadth { watched: self.slots.len(), outside: outside.len(), score: verdict.raw };
        let holds = match self.learned {
            Hold::Idle => verdict.score >= 1.0,
            // it spoke and had to wait
            Hold::Pending { .. } => verdict.raw >= 1.0,
            Hold::Firing { .. } => verdict.raw >= 1.0 / LOUDER,
        };
        let pace = Pace { hold_ms: 0, keep_ms: QUIET_WINDOWS * (window.end - window.start) };
        match self.learned.step(holds, window.start, window.end, pace) {
            Some(Transition::Fire { starts_at }) => {
                // those that made the verdict have moved, even if none of them is outside of its own band
                let surprised = odd.iter().filter(|moved| moved.opinion.size() > FROM);
                surprised.take(MOST).for_each(|moved| self.note(window, moved));
                self.course.begin(window, verdict.raw);
                let mut alert = incident::learned(server, &self.course, breadth, starts_at, window);
                self.bars.explain(&mut alert, window.start);
                if !self.open.fire(alert, out) {
                    self.learned.postpone();
                    self.course.wait();
                }
            }
            Some(Transition::Resolve { ends_at }) => {
                self.course.end();
                let fingerprint = server_fingerprint(LEARNED, server);
                self.open.resolve(&fingerprint, ends_at, window.end, Over::Calm, out);
            }
            None if holds => self.say_again(server, window, verdict, breadth, out),
            None => {}
        }
    }

    /// The open alert once more, if clearly more has come.
    fn say_again(
        &mut self,
        server: &str,
        window: Window,
        verdict: Verdict,
        breadth: Breadth,
        out: &mut Voice,
    ) {
        let Some(before) = self.course.again(window, verdict.raw) else { return };
        let (course, bars) = (&self.course, &self.bars);
        let next = |alert: &Alert| {
            let mut next = incident::again(alert, course, breadth, before, window.end)?;
            bars.explain(&mut next, window.start);
            Some(next)
        };
        self.open.say_again(&server_fingerprint(LEARNED, server), next, out);
    }

    fn note(&mut self, window: Window, moved: &Moved) {
        let opinion = &moved.opinion;
        let odd = Odd {
            series: &self.series[moved.slot as usize].series,
            value: moved.value,
            band: opinion.judgement.band(),
            size: opinion.size(),
            score: opinion.raw,
            oddness: opinion.oddness(),
        };
        self.course.note(window, &odd, moved.before);
    }
}
