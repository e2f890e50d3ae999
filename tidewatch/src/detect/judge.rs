//! The detector over a table, row by row: the very code that the analyzer runs.
//!
//! In: a table. Out: a score for each row, what each alert is about, and the bands if they are wanted. Keeps: nothing looks
//! ahead; a row without any value scores 0.

use tidewatch_analyzer::detect::{Band, Joined, JoinedServer, Judgement, Opinion};

use super::table::Table;

/// Usual large errors from which a series is named as part of a server's alert.
const NAMED_FROM: f64 = 1.5;

/// What is said of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    pub(super) score: f64,
    /// The one that contributed most, if any did.
    pub(super) series: Option<usize>,
}

impl Row {
    pub(super) fn is_alert(self) -> bool {
        self.score >= 1.0
    }
}

/// A series' part in an alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cause {
    pub(super) series: usize,
    pub(super) value: f64,
    pub(super) opinion: Opinion,
}

#[derive(Debug, PartialEq)]
pub(super) struct Alert {
    pub(super) row: usize,
    /// The most important first.
    pub(super) causes: Vec<Cause>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Verdicts {
    pub(super) rows: Vec<Row>,
    pub(super) alerts: Vec<Alert>,
    /// By series and row; empty unless wanted.
    pub(super) bands: Vec<Vec<Option<Band>>>,
}

impl Verdicts {
    fn new(table: &Table, with_bands: bool) -> Self {
        let bands =
            if with_bands { vec![vec![None; table.seconds.len()]; table.series.len()] } else { vec![] };
        Self { rows: Vec::with_capacity(table.seconds.len()), alerts: Vec::new(), bands }
    }

    fn keep_band(&mut self, series: usize, row: usize, judgement: &Judgement) {
        if let Some(bands) = self.bands.get_mut(series).filter(|_| judgement.is_warm()) {
            bands[row] = Some(judgement.band());
        }
    }
}

/// Each series for itself; the score of a row is its oddest series'.
pub(super) fn each(table: &Table, with_bands: bool) -> Verdicts {
    let mut verdicts = Verdicts::new(table, with_bands);
    let mut states = vec![Joined::default(); table.series.len()];
    for (row, &seconds) in table.seconds.iter().enumerate() {
        let mut said = Row { score: 0.0, series: None };
        let mut causes = Vec::new();
        for (series, state) in states.iter_mut().enumerate() {
            let value = table.series[series].values[row];
            let Some(opinion) = state.step(seconds, value) else { continue };
            verdicts.keep_band(series, row, &opinion.judgement);
            if opinion.score > said.score {
                said = Row { score: opinion.score, series: Some(series) };
            }
            if opinion.score >= 1.0 {
                causes.push((opinion.score, Cause { series, value, opinion }));
            }
        }
        verdicts.rows.push(said);
        if said.is_alert() {
            verdicts.alerts.push(Alert { row, causes: sorted(causes) });
        }
    }
    verdicts
}

/// All series as one server.
pub(super) fn server(table: &Table, with_bands: bool) -> Verdicts {
    let mut verdicts = Verdicts::new(table, with_bands);
    let mut state = JoinedServer::new(table.series.len(), table.interval());
    let mut values = vec![f64::NAN; table.series.len()];
    let mut causes = Vec::new();
    for (row, &seconds) in table.seconds.iter().enumerate() {
        for (value, series) in values.iter_mut().zip(&table.series) {
            *value = series.values[row];
        }
        causes.clear();
        let (verdict, first) = state.step(seconds, &values, |series, opinion| {
            verdicts.keep_band(series, row, &opinion.judgement);
            if opinion.size() > NAMED_FROM {
                causes.push((opinion.size(), Cause { series, value: values[series], opinion }));
            }
        });
        let said = Row { score: verdict.score, series: first };
        verdicts.rows.push(said);
        if said.is_alert() {
            verdicts.alerts.push(Alert { row, causes: sorted(std::mem::take(&mut causes)) });
        }
    }
    verdicts
}

/// Stable: equal ones stay in the order of the file.
fn sorted(mut causes: Vec<(f64, Cause)>) -> Vec<Cause> {
    causes.sort_by(|a, b| b.0.total_cmp(&a.0));
    causes.into_iter().map(|(_, cause)| cause).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::tests::sample;

    #[test]
    fn an_alert_names_its_series() {
        let verdicts = each(&sample(3, &[(1, 90.0)]), true);
        assert_eq!(verdicts.rows.len(), 1_000);
        let rows: Vec<usize> = verdicts.alerts.iter().map(|alert| alert.row).collect();
        assert_eq!(rows, [700]);
        assert_eq!(verdicts.rows[700].series, Some(1));
        assert_eq!(verdicts.alerts[0].causes.len(), 1);
        assert!(verdicts.bands[1][100].is_none(), "it warms up");
        let band = verdicts.bands[1][700].unwrap();
        assert!(band.low < 51.0 && 51.0 < band.high && band.high < 140.0, "{band:?}");
        assert!(each(&sample(3, &[(1, 90.0)]), false).bands.is_empty());
    }

    #[test]
    fn a_server_is_odd_when_several_series_are() {
        assert!(server(&sample(6, &[(1, 10.0)]), false).alerts.is_empty());
        let verdicts = server(&sample(6, &[(1, 10.0), (2, 9.0), (4, 30.0), (5, 8.0)]), false);
        assert_eq!(verdicts.alerts.len(), 1);
        assert_eq!((verdicts.alerts[0].row, verdicts.rows[700].series), (700, Some(4)));
        let named: Vec<usize> = verdicts.alerts[0].causes.iter().map(|cause| cause.series).collect();
        assert_eq!((named.len(), named[0]), (4, 4));
    }

    #[test]
    fn missing_values_say_nothing() {
        let mut gap = sample(2, &[]);
        gap.series[0].values[100..900].fill(f64::NAN);
        gap.series[1].values.fill(f64::NAN);
        let verdicts = each(&gap, false);
        assert!(verdicts.rows[100..900].iter().all(|row| row.score == 0.0 && row.series.is_none()));
        assert_eq!(verdicts.rows.len(), 1_000);
    }

    #[test]
    fn a_prefix_scores_like_the_whole() {
        let whole = sample(6, &[(1, 10.0), (2, 9.0), (4, 30.0)]);
        let mut part = sample(6, &[(1, 10.0), (2, 9.0), (4, 30.0)]);
        part.times.truncate(750);
        part.seconds.truncate(750);
        part.series.iter_mut().for_each(|series| series.values.truncate(750));
        assert_eq!(each(&whole, false).rows[..750], each(&part, false).rows[..]);
        assert_eq!(server(&whole, false).rows[..750], server(&part, false).rows[..]);
    }
}
