//! A forecast on one series: the trend of its values, and the alert while a limit comes near.
//!
//! In: the value of each window. Out: alerts that begin and end, as those of a threshold. Invariant: an alert that was said
//! goes on until it is known to be over, also when the trend is younger than the alert.

use tidewatch_schemas::Series;

use super::watch::{At, Watch};
use crate::{
    incident::{self, Foretold, Over, Window},
    rules::{Forecast, Rule, Transition},
    trend::{Ask, Minute, Outlook, Trend},
};

/// What a watch keeps for it.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    trend: Trend,
    outlook: Outlook,
    /// Whether the alert fired after the last window.
    fired: bool,
}

impl At<'_> {
    /// A forecast on a series that is in the window.
    pub(super) fn foresee(
        &mut self,
        rule: &Rule,
        forecast: &Forecast,
        watch: &mut Watch,
        series: &Series,
        value: f64,
    ) {
        let Forecast { beyond, within_ms } = forecast;
        let ask = Ask { limit: beyond.limit, side: beyond.side, within_ms: *within_ms };
        let firing = watch.hold.is_firing();
        let mut foresight = watch.foresight.take().unwrap_or_default();
        foresight.learn(ask, self.window, value, firing);
        // what fires needs no range any more
        let foretold = if firing { None } else { foresight.foretell(ask, value) };
        let holds = if firing { foresight.outlook.holds() } else { foretold.is_some() };
        match (watch.step(rule, holds, self.window), foretold) {
            (Some(Transition::Fire { starts_at }), Some(foretold)) => {
                let (server, window) = (self.server, self.window);
                let alert = incident::forecast(rule, forecast, server, series, foretold, starts_at, window);
                if !self.open.fire(alert, self.out) {
                    watch.hold.postpone();
                }
            }
            (Some(Transition::Resolve { ends_at }), _) => {
                self.resolve(rule, series, ends_at, Over::Averted(series, value, forecast));
            }
            _ => {}
        }
        foresight.fired = watch.hold.is_firing();
        watch.foresight = Some(foresight);
    }
}

impl Foresight {
    /// Takes the value of a window.
    fn learn(&mut self, ask: Ask, window: Window, value: f64, firing: bool) {
        if firing && !self.fired {
            // said before this trend began
            self.outlook.go_on();
        }
        if let Some(mean) = self.trend.step(window.start, value) {
            let minute = Minute { end_ms: window.start, mean, noise: self.trend.noise(), firing };
            self.outlook.step(ask, self.trend.course().as_ref(), minute);
        }
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

crate::snapshot::keep_fields!(Foresight { trend, outlook, fired });
