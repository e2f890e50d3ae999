//! What goes wrong in a simulated fleet: `KIND:SERVER:START:LENGTH`.

use std::{fmt, str::FromStr, time::Duration};

use tidewatch_service_kit::config::duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    CpuSpike,
    MemoryLeak,
    DiskFull,
    NetworkFlood,
    Silence,
}

const KINDS: [(&str, Kind); 5] = [
    ("cpu-spike", Kind::CpuSpike),
    ("memory-leak", Kind::MemoryLeak),
    ("disk-full", Kind::DiskFull),
    ("network-flood", Kind::NetworkFlood),
    ("silence", Kind::Silence),
];

/// One thing that goes wrong on one server for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incident {
    pub(crate) kind: Kind,
    server: String,
    start: Duration,
    length: Duration,
}

impl Incident {
    /// Whether it is on, `since_start` seconds into the run.
    pub(crate) fn hits(&self, server: &str, since_start: f64) -> bool {
        let start = self.start.as_secs_f64();
        self.server == server && since_start >= start && since_start < start + self.length.as_secs_f64()
    }
}

impl FromStr for Incident {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split(':').collect();
        let [kind, server, start, length] = parts[..] else {
            return Err(format!(
                "`{text}` is not KIND:SERVER:START:LENGTH, for example cpu-spike:sim-0003:60s:30s"
            ));
        };
        let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == kind) else {
            let names: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
            return Err(format!("`{kind}` is none of {}", names.join(", ")));
        };
        Ok(Self {
            kind: *kind,
            server: server.to_owned(),
            start: duration(start)?,
            length: duration(length)?,
        })
    }
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("?", |(name, _)| *name);
        write!(f, "{name} on {} from {:?} for {:?}", self.server, self.start, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_is_parsed_or_told_why_not() {
        let incident: Incident = "silence:sim-0001:1m:30s".parse().unwrap();
        assert_eq!(incident.to_string(), "silence on sim-0001 from 60s for 30s");
        for bad in ["", "silence:sim-0001:1m", "fire:sim-0001:1m:1m", "silence:sim-0001:1:1m"] {
            assert!(bad.parse::<Incident>().is_err(), "{bad}");
        }
    }
}
