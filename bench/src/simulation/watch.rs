//! Shows a plan's windows to whoever watches, in the order of time, and keeps what is said.
//!
//! In: a plan, a watcher. Out: alarms. Keeps: a window is shown when it has ended, and after the windows of all servers the
//! clock is told, as often as the analyzer's own loop does it when it has nothing to do.

use std::sync::Arc;

use tidewatch_analyzer::{
    analysis::{Analysis, Output, Said, Sight, Taken},
    rules::RuleSet,
};
use tidewatch_schemas::{AggregateFrame, AlertStatus};

use super::{Host, Plan, start_of};

/// Something that was said of a server: the beginning of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    pub server: String,
    /// When it was said, milliseconds since 1970.
    pub at: i64,
    pub rule: String,
}

/// Whoever is shown the fleet.
pub trait Watcher {
    /// A window that ended at `now`.
    fn window(&mut self, frame: &AggregateFrame, now: i64, said: &mut Vec<Alarm>);
    /// All windows that ended at `now` were shown; of a silent server there was none.
    fn tick(&mut self, now: i64, said: &mut Vec<Alarm>);
}

/// Everything that is said while a plan happens.
pub fn run(plan: &Plan, watcher: &mut impl Watcher) -> Vec<Alarm> {
    let host = |number| Host::new(plan.seed, number, plan.incident_of(number).cloned());
    let mut hosts: Vec<Host> = (0..plan.extent.servers).map(host).collect();
    let mut said = Vec::new();
    for window in 0..plan.extent.windows {
        let now = start_of(window + 1);
        for host in &mut hosts {
            if let Some(frame) = host.window(window) {
                watcher.window(frame, now, &mut said);
            }
        }
        watcher.tick(now, &mut said);
    }
    said
}

/// The analyzer's core, live from the first window on.
#[derive(Debug)]
pub struct Analyst {
    analysis: Analysis,
    out: Vec<Output>,
    /// Values that were judged.
    pub values: u64,
    /// Windows of single series that were odd.
    pub anomalies: u64,
}

impl Analyst {
    pub fn new(rules: RuleSet) -> Self {
        let mut analysis = Analysis::new(Arc::new(rules));
        analysis.go_live(Said::default());
        Self { analysis, out: Vec::new(), values: 0, anomalies: 0 }
    }

    fn hear(&mut self, now: i64, said: &mut Vec<Alarm>) {
        for output in self.out.drain(..) {
            match output {
                Output::Alert(alert) if alert.status == AlertStatus::Firing => {
                    said.push(Alarm { server: alert.server, at: now, rule: alert.rule });
                }
                Output::Anomaly(_) => self.anomalies += 1,
                _ => {}
            }
        }
    }
}

impl Watcher for Analyst {
    fn window(&mut self, frame: &AggregateFrame, now: i64, said: &mut Vec<Alarm>) {
        if let Taken::Judged(values) = self.analysis.step(frame, now, &mut self.out) {
            self.values += values as u64;
        }
        self.hear(now, said);
    }

    fn tick(&mut self, now: i64, said: &mut Vec<Alarm>) {
        self.analysis.tick(now, Sight::Clear, Some(start_of(0)), &mut self.out);
        self.hear(now, said);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidewatch_analyzer::rules::parse;

    use super::*;
    use crate::simulation::{Kind, Score, incident::tests::EXTENT};

    fn analyst() -> Analyst {
        let rules = "rules: [{name: silent, absent: server, for: 60s}]";
        Analyst::new(parse(rules, Path::new("test")).unwrap())
    }

    #[test]
    fn the_core_hears_a_server_fall_silent() {
        let mut plan = Plan::new(2, EXTENT).unwrap();
        plan.incidents.retain(|incident| incident.kind == Kind::Silence);
        plan.extent.windows = plan.incidents[0].windows.end + 10;
        let mut analyst = analyst();
        let said = run(&plan, &mut analyst);
        let silent: Vec<_> = said.iter().filter(|alarm| alarm.rule == "silent").collect();
        assert_eq!(silent.len(), 1, "{silent:?}");
        let outcome = &Score::new(&plan, &said).outcomes[0];
        assert!(outcome.alerts >= 1);
        let found = outcome.found.as_ref().unwrap();
        assert!(found.seconds <= 60.0, "{found:?}");
        assert!(analyst.values > 100_000);
    }

    #[test]
    fn the_same_seed_says_the_same() {
        let said = |seed| {
            let mut plan = Plan::new(seed, EXTENT).unwrap();
            plan.extent.windows = 700;
            let mut analyst = analyst();
            (run(&plan, &mut analyst), analyst.values, analyst.anomalies)
        };
        assert_eq!(said(5), said(5));
        assert_ne!(said(5), said(6));
    }
}
