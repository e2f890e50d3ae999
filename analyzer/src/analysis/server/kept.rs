//! A server's state as bytes, and back under the rules that hold by then.
//!
//! Invariant: under the same rules the server that comes back is the one that was kept, to the bit; under others, what a rule
//! that is still the same has begun goes on, as when rules change.

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{Server, Watched};
use crate::{
    analysis::{Open, names::Names, said::Memory},
    feedback::Bars,
    rules::{Identity, RuleSet},
    snapshot::{Keep, keep_fields},
};

keep_fields!(Watched { series, joined, record, before, seen, rules });

/// A server that came back, not under any rules yet.
#[derive(Debug)]
pub(in crate::analysis) struct Remembered {
    server: Server,
    /// The rules that it was kept under, by number.
    rules: Vec<Identity>,
}

impl Server {
    /// All that the windows so far and what was said have made of it; what follows from that and the rules is left out.
    pub(in crate::analysis) fn keep(&self, rules: &RuleSet) -> Vec<u8> {
        let Self {
            last,
            heard_at,
            series,
            index: _,
            hasher: _,
            slots,
            ratios: _,
            figures: _,
            together,
            bars: _,
            learned,
            course,
            silence: _,
            missing,
            awaits: _,
            open,
            told,
        } = self;
        let mut out = Vec::new();
        rules.identities().keep(&mut out);
        last.keep(&mut out);
        heard_at.keep(&mut out);
        series.keep(&mut out);
        slots.keep(&mut out);
        together.keep(&mut out);
        learned.keep(&mut out);
        course.keep(&mut out);
        missing.keep(&mut out);
        open.keep(&mut out);
        told.keep(&mut out);
        out
    }
}

impl Remembered {
    /// `None` when the bytes are no server.
    pub(in crate::analysis) fn read(mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        let rules = Keep::recall(from)?;
        let server = Server {
            last: Keep::recall(from)?,
            heard_at: Keep::recall(from)?,
            series: Keep::recall(from)?,
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            slots: Keep::recall(from)?,
            ratios: Vec::new(),
            figures: Vec::new(),
            together: Keep::recall(from)?,
            bars: Bars::default(),
            learned: Keep::recall(from)?,
            course: Keep::recall(from)?,
            silence: Vec::new(),
            missing: Keep::recall(from)?,
            awaits: false,
            open: Open::recall(from)?,
            told: Keep::recall(from)?,
        };
        let is_in_place = server.slots.iter().all(|slot| (*slot as usize) < server.series.len());
        (from.is_empty() && is_in_place).then_some(Self { server, rules })
    }

    /// The server under the rules that hold now; `memory` is what the alert topic has of it.
    pub(in crate::analysis) fn under(
        self,
        rules: &RuleSet,
        names: &mut Names,
        name: &str,
        memory: Memory,
    ) -> Server {
        let Self { mut server, rules: before } = self;
        for watched in &mut server.series {
            watched.series = names.of(&watched.series);
        }
        server.open.remember(memory);
        server.reindex();
        server.set_rules(rules, &rules.kept_of(&before), name);
        // other rules find alerts that were never said
        if *rules.identities() == before {
            server.follow_topic();
        }
        server
    }
}
