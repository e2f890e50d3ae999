//! Settings of the analyzer. A rules file is read with them: a wrong one is refused before anything starts.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use tidewatch_service_kit::{config::duration, kafka::KafkaConfig};

use crate::{
    Error,
    analysis::HELD_MS,
    rulebook::{Rulebook, RulesFile},
    rules::RuleSet,
};

/// How alerts and anomalies are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AlertsFormat {
    /// Single-object encoding, by the schemas of `schemas/avro`.
    Avro,
    /// An object of the same members.
    Json,
}

#[derive(Debug, Clone, Args)]
pub struct Config {
    #[command(flatten)]
    pub kafka: KafkaConfig,
    /// Name of this instance: unique in the group, the same after a restart; the host's name unless given
    #[arg(long = "analyzer-instance", env = "TIDEWATCH_ANALYZER_INSTANCE", value_name = "NAME")]
    pub instance: Option<String>,
    /// YAML file of rules (limits, forecasts, changes, ratios, scores, absence), taken over without a restart when it
    /// changes; the built-in ones unless given
    #[arg(long, env = "TIDEWATCH_ANALYZER_RULES", value_name = "FILE", value_parser = read_rules)]
    pub rules: Option<RulesFile>,
    /// How much of metrics.10s a new owner of a partition reads again to know the servers that have no snapshot it can use
    #[arg(long, env = "TIDEWATCH_ANALYZER_REPLAY", default_value = "2h", value_parser = duration)]
    pub replay: Duration,
    /// How often a server's whole state is written to analyzer.state, by the time of its windows; servers take turns. A new
    /// owner reads again what came since
    #[arg(long, env = "TIDEWATCH_ANALYZER_SNAPSHOT_EVERY", default_value = "10m", value_parser = duration)]
    pub snapshot_every: Duration,
    /// Time between commits; an alert does not wait for it
    #[arg(long = "analyzer-commit-interval", env = "TIDEWATCH_ANALYZER_COMMIT_INTERVAL", default_value = "1s", value_parser = duration)]
    pub commit_interval: Duration,
    /// How alerts and anomalies are written into their topics: avro, or json for subscribers that have no Avro
    #[arg(long, env = "TIDEWATCH_ANALYZER_ALERTS_FORMAT", default_value = "avro", value_enum)]
    pub alerts_format: AlertsFormat,
}

fn read_rules(path: &str) -> Result<RulesFile, String> {
    RulesFile::read(Path::new(path))
}

impl Config {
    pub(crate) fn rulebook(&self) -> Result<Rulebook, Error> {
        Ok(Rulebook::open(self.rules.clone(), Instant::now())?)
    }

    /// Long enough for every condition that may be under watch, what it is compared with, and what is held open, however
    /// short it was set.
    pub(crate) fn replay_ms(&self, rules: &RuleSet) -> i64 {
        let needed = 2 * rules.longest_wait_ms() + rules.longest_span_ms() + HELD_MS + 600_000;
        (self.replay.as_millis() as i64).max(needed)
    }

    /// The instance's name; the host's unless told otherwise.
    pub(crate) fn instance(&self) -> String {
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
        self.instance
            .clone()
            .or_else(|| host().ok())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "analyzer".into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tidewatch_service_kit::config::assemble;

    use super::*;

    #[test]
    fn a_wrong_rules_file_is_refused_with_the_settings() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "rules:\n  - name: a\n    metric: m\n    abov: 1").unwrap();
        let path = file.path().display().to_string();
        let error = assemble::<Config>("analyzer", &[("rules", &path)]).unwrap_err().to_string();
        assert!(error.contains(&format!("{path}:4: ")) && error.contains("abov"), "{error}");
        assert!(assemble::<Config>("analyzer", &[("rules", "/nowhere.yaml")]).is_err());
    }

    #[test]
    fn alerts_are_avro_unless_json_is_asked_for() {
        let format = |set: &[(&'static str, &str)]| {
            assemble::<Config>("analyzer", set).map(|config| config.alerts_format).ok()
        };
        assert_eq!(format(&[]), Some(AlertsFormat::Avro));
        assert_eq!(format(&[("alerts-format", "json")]), Some(AlertsFormat::Json));
        assert_eq!(format(&[("alerts-format", "xml")]), None);
    }

    #[test]
    fn the_replay_covers_every_wait() {
        let config: Config = assemble("analyzer", &[("replay", "1m")]).unwrap();
        let book = config.rulebook().unwrap();
        assert!(config.replay_ms(book.rules()) >= 600_000 + 2 * 300_000);
        let long = "rules: [{name: a, metric: m, change_over: 6h, for: 1h, above: 1}]";
        let rules = crate::rules::parse(long, Path::new("x")).unwrap();
        assert_eq!(config.replay_ms(&rules), 600_000 + HELD_MS + (2 + 6) * 3_600_000);
    }
}
