//! An alert in words: what was seen, what was expected, and in which way it is new.
//!
//! In: a table, an alert on one of its rows. Out: a sentence or two.

use std::fmt::Write as _;

use tidewatch_analyzer::{
    detect::{Band, Oddness},
    incident::words::{number, oddness},
};

use super::{
    judge::{Alert, Cause},
    table::Table,
};

/// Series named at most.
const NAMED: usize = 5;

pub(super) fn explain(file: &str, table: &Table, alert: &Alert, score: f64, by_server: bool) -> String {
    let mut text = format!("{file}  {}  score {}  ", table.times[alert.row], number(score));
    if by_server {
        let (odd, all) = (alert.causes.len(), table.series.len());
        let _ = write!(text, "{odd} of {all} series are odd at once: ");
    }
    let causes: Vec<String> = alert.causes.iter().take(NAMED).map(|cause| part(table, cause)).collect();
    text += &causes.join("; ");
    if alert.causes.len() > NAMED {
        let _ = write!(text, "; and {} more", alert.causes.len() - NAMED);
    }
    text
}

fn part(table: &Table, cause: &Cause) -> String {
    let mut text = format!("{} was {}", table.series[cause.series].name, number(cause.value));
    let judgement = cause.opinion.judgement;
    if judgement.is_warm() {
        let Band { low, high, .. } = judgement.band();
        let _ = write!(text, ", {} to {} was expected", number(low), number(high));
    }
    // what is loud shows by its value and its band
    let way = cause.opinion.oddness();
    if way != Oddness::Loud {
        let _ = write!(text, ", and {}", oddness(way));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{judge, tests::sample};

    #[test]
    fn a_series_alert_says_what_was_expected() {
        let table = sample(3, &[(1, 90.0)]);
        let verdicts = judge::each(&table, false);
        let text = explain("web.csv", &table, &verdicts.alerts[0], verdicts.rows[700].score, false);
        assert!(text.starts_with("web.csv  42000  score "), "{text}");
        assert!(text.contains("m1 was 14") && text.contains(" was expected"), "{text}");
        assert!(!text.contains("m0") && !text.contains("m2"), "{text}");
    }

    #[test]
    fn a_server_alert_names_its_oddest_series_first() {
        let odd: Vec<(u32, f64)> = (0..7).map(|series| (series, 20.0 + f64::from(series))).collect();
        let table = sample(8, &odd);
        let verdicts = judge::server(&table, false);
        let text = explain("a", &table, &verdicts.alerts[0], verdicts.rows[700].score, true);
        assert!(text.contains("7 of 8 series are odd at once: m"), "{text}");
        assert!(text.ends_with("; and 2 more"), "{text}");
    }
}
