//! A forecast on one series: the trend of its values, and the alert while a limit comes near.
//!
//! In: the value of each window. Out: transitions, as those of a threshold. Invariant: an alert that was said goes on until it is
//! known to be over, also when the trend is younger than the alert.

use tidewatch_schemas::Series;

use super::{Open, Output};
use crate::{
    incident::{self, Foretold, Over, Window, fingerprint},
    rules::{Forecast, Hold, Pace, Rule, Transition},
    trend::{Ask, Minute, Outlook, Trend},
};

/// What a forecast is about.
pub(super) struct About<'a> {
    pub(super) rule: &'a Rule,
    pub(super) forecast: &'a Forecast,
    pub(super) server: &'a str,
    pub(super) series: &'a Series,
    pub(super) window: Window,
}

/// What it keeps.
#[derive(Debug, Clone, Default)]
pub(super) struct Foresight {
    trend: Trend,
    outlook: Outlook,
    /// Whether the alert fired after the last window.
    fired: bool,
}

impl Foresight {
    pub(super) fn step(
        &mut self,
        about: &About<'_>,
        value: f64,
        hold: &mut Hold,
        open: &mut Open,
        out: &mut Vec<Output>,
    ) {
        let &About { rule, forecast, server, series, window } = about;
        let ask =
            Ask { limit: forecast.beyond.limit, side: forecast.beyond.side, within_ms: forecast.within_ms };
        if hold.is_firing() && !self.fired {
            // said before this trend began
            self.outlook.go_on();
        }
        if let Some(mean) = self.trend.step(window.start, value) {
            let (noise, firing) = (self.trend.noise(), hold.is_firing());
            let minute = Minute { end_ms: window.start, mean, noise, firing };
            self.outlook.step(ask, self.trend.course().as_ref(), minute);
        }
        // what fires needs no range any more
        let firing = hold.is_firing();
        let foretold = if firing { None } else { self.foretell(ask, value) };
        let holds = if firing { self.outlook.holds() } else { foretold.is_some() };
        let pace = Pace { hold_ms: rule.hold_ms, keep_ms: rule.keep_ms };
        match (hold.step(holds, window.start, window.end, pace), foretold) {
            (Some(Transition::Fire { starts_at }), Some(foretold)) => {
                let alert = incident::forecast(rule, forecast, server, series, foretold, starts_at, window);
                open.fire(alert, out);
            }
            (Some(Transition::Resolve { ends_at }), _) => {
                let fingerprint = fingerprint(&rule.name, server, &series.labels);
                let over = Over::Averted(series, value, forecast);
                open.resolve(&fingerprint, ends_at, window.end, over, out);
            }
            _ => {}
        }
        self.fired = hold.is_firing();
    }

    /// What can be said now, if there is anything to say.
    fn foretell(&self, ask: Ask, value: f64) -> Option<Foretold> {
        if !self.outlook.holds() {
            return None;
        }
        let course = self.trend.course()?;
        Some(Foretold { value, course, reach: course.until(ask)? })
    }
}
