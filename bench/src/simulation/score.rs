//! What was said against what went wrong.
//!
//! In: a plan, alarms. Out: for each incident whether it was found, how soon, and how many alerts it made; and the alerts that
//! no incident made. Invariant: an alarm belongs to one incident or is false.

use std::collections::BTreeMap;

use super::{Alarm, Kind, Plan, WINDOWS_A_DAY, number, start_of};

/// An alert that is said within this time after an incident's end is the incident's: it says that things went back.
const AFTERMATH_MS: i64 = 15 * 60_000;

/// How an incident was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// From its beginning to the first alert.
    pub seconds: f64,
    /// The rule of that alert.
    pub rule: String,
}

/// What became of one incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub kind: Kind,
    pub servers: usize,
    /// Start and end, milliseconds since 1970.
    pub starts_at: i64,
    pub ends_at: i64,
    /// `None` = nothing was said of it while it was on.
    pub found: Option<Found>,
    /// Alerts on its servers while it was on and in its aftermath.
    pub alerts: usize,
}

/// The sum over the incidents of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sum {
    pub incidents: usize,
    pub found: usize,
    /// Of those that were found, from the soonest to the latest.
    pub seconds: Vec<f64>,
    /// Of each incident, in rising order.
    pub alerts: Vec<usize>,
}

/// The whole of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    pub outcomes: Vec<Outcome>,
    /// Alerts that no incident made, by rule.
    pub false_alerts: BTreeMap<String, usize>,
    pub server_days: f64,
}

impl Score {
    /// `alarms` in the order of time.
    pub fn new(plan: &Plan, alarms: &[Alarm]) -> Self {
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(plan.incidents.len());
        let mut place_of: BTreeMap<u32, usize> = BTreeMap::new();
        for (place, incident) in plan.incidents.iter().enumerate() {
            place_of.extend(incident.servers.iter().map(|&server| (server, place)));
            outcomes.push(Outcome {
                kind: incident.kind,
                servers: incident.servers.len(),
                starts_at: start_of(incident.windows.start),
                ends_at: start_of(incident.windows.end),
                found: None,
                alerts: 0,
            });
        }
        let mut false_alerts: BTreeMap<String, usize> = BTreeMap::new();
        for alarm in alarms {
            let place = number(&alarm.server).and_then(|server| place_of.get(&server).copied());
            match place.filter(|&place| outcomes[place].made(alarm)) {
                Some(place) => outcomes[place].add(alarm),
                None => *false_alerts.entry(alarm.rule.clone()).or_default() += 1,
            }
        }
        let windows = plan.extent.windows as f64 * f64::from(plan.extent.servers);
        Self { outcomes, false_alerts, server_days: windows / WINDOWS_A_DAY as f64 }
    }

    pub fn of(&self, kind: Kind) -> Sum {
        let mut sum = Sum::default();
        for outcome in self.outcomes.iter().filter(|outcome| outcome.kind == kind) {
            sum.incidents += 1;
            sum.alerts.push(outcome.alerts);
            sum.seconds.extend(outcome.found.as_ref().map(|found| found.seconds));
        }
        sum.found = sum.seconds.len();
        sum.alerts.sort_unstable();
        sum.seconds.sort_by(f64::total_cmp);
        sum
    }

    pub fn false_a_server_day(&self) -> f64 {
        self.false_alerts.values().sum::<usize>() as f64 / self.server_days
    }
}

impl Outcome {
    /// Whether it is the cause. The first window of an incident is known when it has ended.
    fn made(&self, alarm: &Alarm) -> bool {
        self.starts_at < alarm.at && alarm.at <= self.ends_at + AFTERMATH_MS
    }

    fn add(&mut self, alarm: &Alarm) {
        self.alerts += 1;
        // what is said of the way back does not find anything
        if self.found.is_none() && alarm.at <= self.ends_at {
            let seconds = (alarm.at - self.starts_at) as f64 / 1_000.0;
            self.found = Some(Found { seconds, rule: alarm.rule.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use tidewatch_schemas::AggregateFrame;

    use super::*;
    use crate::simulation::{Watcher, incident::tests::EXTENT, name, run};

    /// Says something of every window it is shown, or of none.
    struct Says(bool);

    impl Watcher for Says {
        fn window(&mut self, frame: &AggregateFrame, now: i64, said: &mut Vec<Alarm>) {
            if self.0 {
                said.push(Alarm { server: frame.server.clone(), at: now, rule: "always".into() });
            }
        }

        fn tick(&mut self, _: i64, _: &mut Vec<Alarm>) {}
    }

    fn plan() -> Plan {
        Plan::new(1, EXTENT).unwrap()
    }

    fn alarm(server: u32, at: i64) -> Alarm {
        Alarm { server: name(server), at, rule: "r".into() }
    }

    #[test]
    fn one_that_never_speaks_finds_nothing_and_is_never_wrong() {
        let plan = plan();
        let score = Score::new(&plan, &run(&plan, &mut Says(false)));
        for kind in Kind::ALL {
            assert_eq!(score.of(kind), Sum { incidents: 1, alerts: vec![0], ..Sum::default() });
        }
        assert_eq!((score.false_a_server_day(), score.server_days), (0.0, 15.0));
    }

    #[test]
    fn one_that_always_speaks_finds_all_but_silence_and_is_always_wrong() {
        let plan = plan();
        let said = run(&plan, &mut Says(true));
        let score = Score::new(&plan, &said);
        for kind in Kind::ALL {
            let sum = score.of(kind);
            if kind == Kind::Silence {
                // nothing is shown of it but what came before and after
                assert_eq!(sum.found, 0);
                assert!(sum.alerts[0] > 0, "its aftermath");
            } else {
                assert_eq!((sum.found, sum.seconds), (1, vec![10.0]), "{}", kind.name());
            }
        }
        let right: usize = score.outcomes.iter().map(|outcome| outcome.alerts).sum();
        let wrong: usize = score.false_alerts.values().sum();
        assert_eq!(right + wrong, said.len());
        assert!(score.false_a_server_day() > 0.8 * WINDOWS_A_DAY as f64, "{}", score.false_a_server_day());
    }

    #[test]
    fn an_alarm_belongs_to_its_servers_incident_and_to_its_time() {
        let plan = plan();
        let incident = &plan.incidents[0];
        let server = incident.servers[0];
        let other = (0..EXTENT.servers).find(|&server| plan.incident_of(server).is_none()).unwrap();
        let (start, end) = (start_of(incident.windows.start), start_of(incident.windows.end));
        let scored = |alarms: &[Alarm]| {
            let score = Score::new(&plan, alarms);
            let outcome = &score.outcomes[0];
            let seconds = outcome.found.as_ref().map(|found| found.seconds);
            (seconds, outcome.alerts, score.false_alerts.values().sum::<usize>())
        };
        assert_eq!(scored(&[alarm(server, start)]), (None, 0, 1), "before it began");
        assert_eq!(scored(&[alarm(server, start + 30_000)]), (Some(30.0), 1, 0));
        assert_eq!(scored(&[alarm(other, start + 30_000)]), (None, 0, 1), "another server");
        assert_eq!(scored(&[alarm(server, end + 60_000)]), (None, 1, 0), "only its aftermath was heard");
        assert_eq!(scored(&[alarm(server, end + AFTERMATH_MS + 1)]), (None, 0, 1));
        let twice = [alarm(server, start + 20_000), alarm(server, start + 40_000)];
        assert_eq!(scored(&twice), (Some(20.0), 2, 0));
    }
}
