//! What people say of a server, apart from what its collector says. In: a patch. Out: what is kept, and the labels that are
//! shown. Pure.
//!
//! Keeps: whatever the collector says later, what people said stands. The labels that are shown change as a JSON merge patch
//! (RFC 7396) has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidewatch_schemas::Labels;

/// What people say of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    /// What they call it.
    pub display_name: Option<String>,
    /// Their labels; `None` takes the collector's away.
    pub labels: BTreeMap<String, Option<String>>,
}

/// What becomes of something that people said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Change<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

/// A change of what people say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeoplePatch {
    pub display_name: Change<String>,
    /// By label its new value, or `None` for one that goes. Cleared: the collector's are all there is.
    pub labels: Change<BTreeMap<String, Option<String>>>,
}

impl People {
    /// The labels that are shown: theirs over the collector's.
    pub fn over(&self, collector: &Labels) -> Labels {
        let mut shown = collector.clone();
        for (name, value) in &self.labels {
            match value {
                Some(value) => shown.insert(name.clone(), value.clone()),
                None => shown.remove(name),
            };
        }
        shown
    }

    /// `collector` are the collector's labels: one that goes is remembered only if it would come back otherwise.
    pub fn patch(&mut self, patch: &PeoplePatch, collector: &Labels) {
        match &patch.display_name {
            Change::Keep => {}
            Change::Clear => self.display_name = None,
            Change::Set(name) => self.display_name = Some(name.clone()),
        }
        match &patch.labels {
            Change::Keep => {}
            Change::Clear => self.labels.clear(),
            Change::Set(changes) => {
                for (name, value) in changes {
                    if value.is_some() || collector.contains_key(name) {
                        self.labels.insert(name.clone(), value.clone());
                    } else {
                        self.labels.remove(name);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collector() -> impl Strategy<Value = Labels> {
        prop::collection::btree_map("[a-d]", "[x-z]", 0..4)
    }

    fn changes() -> impl Strategy<Value = BTreeMap<String, Option<String>>> {
        prop::collection::btree_map("[a-d]", prop::option::of("[p-r]"), 0..4)
    }

    fn set(labels: &BTreeMap<String, Option<String>>) -> PeoplePatch {
        PeoplePatch { labels: Change::Set(labels.clone()), ..PeoplePatch::default() }
    }

    /// RFC 7396, 2: for an object of texts.
    fn merged(mut target: Labels, patch: &BTreeMap<String, Option<String>>) -> Labels {
        for (name, value) in patch {
            match value {
                Some(value) => target.insert(name.clone(), value.clone()),
                None => target.remove(name),
            };
        }
        target
    }

    proptest! {
        #[test]
        fn the_labels_that_are_shown_change_as_the_patch_says(
            collector in collector(), before in prop::collection::vec(changes(), 0..4), patch in changes()
        ) {
            let mut people = People::default();
            for changes in &before {
                people.patch(&set(changes), &collector);
            }
            let shown = people.over(&collector);
            people.patch(&set(&patch), &collector);
            prop_assert_eq!(people.over(&collector), merged(shown, &patch));
            // nothing is remembered that changes nothing
            prop_assert!(people.labels.iter().all(|(name, value)| value.is_some() || collector.contains_key(name)));
        }

        #[test]
        fn what_people_said_stands_whatever_the_collector_says_later(
            first in collector(), patch in changes(), later in collector()
        ) {
            let mut people = People::default();
            people.patch(&set(&patch), &first);
            let shown = people.over(&later);
            for (name, value) in &people.labels {
                prop_assert_eq!(shown.get(name), value.as_ref());
            }
            people.patch(&PeoplePatch { labels: Change::Clear, ..PeoplePatch::default() }, &later);
            prop_assert_eq!(people.over(&later), later);
        }
    }

    #[test]
    fn a_name_is_kept_set_and_cleared() {
        let mut people = People::default();
        let mut patch = |display_name| {
            people.patch(&PeoplePatch { display_name, ..PeoplePatch::default() }, &Labels::new());
            people.display_name.clone()
        };
        assert_eq!(patch(Change::Set("Till 4".into())).as_deref(), Some("Till 4"));
        assert_eq!(patch(Change::Keep).as_deref(), Some("Till 4"));
        assert_eq!(patch(Change::Clear), None);
    }
}
