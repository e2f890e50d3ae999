//! Counters, gauges and histograms of one process, registered under their full names.
//!
//! Names are `tidewatch_<service>_<noun>_<unit>[_total]`; each service keeps its own in its `metrics.rs`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

/// Where a service's metrics are registered; one for each process.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    registry: Registry,
    /// Vectors that several services of a process fill, each under labels of its own.
    shared: Arc<Mutex<BTreeMap<String, IntGaugeVec>>>,
}

/// Buckets in seconds from a millisecond to a minute.
pub const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

impl Metrics {
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Registers; a second registration of a name is a mistake of ours, said once and not fatal.
    fn register<C: Collector + Clone + 'static>(&self, name: &str, made: prometheus::Result<C>) -> C {
        match made {
            Ok(collector) => {
                if let Err(error) = self.registry.register(Box::new(collector.clone())) {
                    tracing::error!(name, %error, "register metric");
                }
                collector
            }
            // names are literals of ours: a bad one is found by the first test that starts the service
            Err(error) => unreachable!("metric {name}: {error}"),
        }
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(name, IntCounter::new(name, help))
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(name, IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(name, IntGauge::new(name, help))
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(name, IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// Gauges that several services of a process fill: registered by the first who asks.
    pub fn shared_gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.entry(name.to_owned()).or_insert_with(|| self.gauges(name, help, labels)).clone()
    }

    pub fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(name, Gauge::new(name, help))
    }

    pub fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.register(name, GaugeVec::new(Opts::new(name, help), labels))
    }

    /// A histogram of seconds.
    pub fn seconds(&self, name: &str, help: &str) -> Histogram {
        self.register(name, Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec())))
    }

    /// Everything in Prometheus' text format.
    pub fn encode(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
