//! Whether a service can work, and what it waits for: what `/readyz` answers.
//!
//! Invariant: a component that was named and never said ready is waiting.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The state of all components of a process, cloned into each.
#[derive(Debug, Clone, Default)]
pub struct Health {
    components: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

impl Health {
    /// Names a part that has to be ready before the service is.
    pub fn component(&self, name: impl Into<String>) -> Component {
        let component = Component { health: self.clone(), name: name.into() };
        component.waiting("starting");
        component
    }

    /// What is waited for, by component; empty = ready.
    pub fn waiting(&self) -> Vec<(String, String)> {
        let components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        components.iter().filter_map(|(name, why)| Some((name.clone(), why.clone()?))).collect()
    }

    pub fn is_ready(&self) -> bool {
        self.waiting().is_empty()
    }
}

/// One part of a service.
#[derive(Debug, Clone)]
pub struct Component {
    health: Health,
    name: String,
}

impl Component {
    pub fn ready(&self) {
        self.set(None);
    }

    /// `why` completes "waits for": what the part lacks.
    pub fn waiting(&self, why: impl Into<String>) {
        self.set(Some(why.into()));
    }

    fn set(&self, state: Option<String>) {
        let mut components = self.health.components.lock().unwrap_or_else(PoisonError::into_inner);
        components.insert(self.name.clone(), state);
    }
}
