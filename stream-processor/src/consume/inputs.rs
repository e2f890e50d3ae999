//! What is read: the frames, and for each rollup the windows of the tier below it.

use std::ops::Index;

use crate::{
    Config,
    filter::Filter,
    window::{Setup, WindowSettings},
};

/// What the records of a topic are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Frames,
    Windows,
}

#[derive(Debug)]
pub(super) struct Input {
    pub(super) topic: String,
    pub(super) kind: Kind,
    pub(super) setup: Setup,
}

/// The frames first, then the tiers in their order.
#[derive(Debug)]
pub(super) struct Inputs(Vec<Input>);

impl Inputs {
    pub(super) fn new(config: &Config, filter: &Filter) -> Self {
        let topics = config.kafka.topics();
        let base = config.window_settings();
        let mut below = base.longest();
        let mut all = vec![Input {
            topic: topics.raw(),
            kind: Kind::Frames,
            setup: Setup::new(base.clone(), filter.clone()),
        }];
        for (level, rollup) in (2..).zip(config.rollups_ms()) {
            let settings = WindowSettings {
                tiers_ms: vec![rollup],
                // a server's windows come in order: the last one of a span ends it
                grace_ms: 0,
                idle_ms: base.idle_ms + 2 * below,
                lateness_ms: base.lateness_ms * level,
                max_series: base.max_series,
                max_servers: base.max_servers,
                // windows come once each, however late
                backfill: true,
                filter: 0,
            };
            all.push(Input { topic: topics.window(below), kind: Kind::Windows, setup: settings.into() });
            below = rollup;
        }
        Self(all)
    }

    /// Another filter for the frames.
    pub(super) fn filter(&mut self, filter: &Filter) {
        let frames = &mut self.0[0].setup;
        *frames = Setup::new(frames.settings.clone(), filter.clone());
    }

    pub(super) fn topics(&self) -> Vec<&str> {
        self.0.iter().map(|input| input.topic.as_str()).collect()
    }

    #[inline]
    pub(super) fn position(&self, topic: &str) -> Option<usize> {
        self.0.iter().position(|input| input.topic == topic)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Input> {
        self.0.iter()
    }
}

impl Index<usize> for Inputs {
    type Output = Input;

    fn index(&self, index: usize) -> &Input {
        &self.0[index]
    }
}
