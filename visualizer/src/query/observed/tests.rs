//! When PostgreSQL is asked for histograms: without one, so that whoever asks fails.

use tidewatch_service_kit::{Deps, Shutdown, breaker, config::assemble};
use tidewatch_store::Store;

use super::*;
use crate::live;

/// On a port where nobody listens.
fn without_postgresql() -> App {
    let settings = [
        ("postgres-url", "postgres://tidewatch@127.0.0.1:9/tidewatch"),
        ("postgres-connect-timeout", "500ms"),
    ];
    let (config, deps): (crate::Config, _) =
        (assemble("visualizer", &settings).expect("settings"), Deps::default());
    let breakers = breaker::gauges(&deps.metrics);
    let store = Store::new(&config.store, "visualizer", &deps.metrics, &breakers).expect("store");
    let metrics = crate::metrics::Metrics::new(&deps.metrics);
    App::new(&config, store, metrics, live::Events::default(), Shutdown::new(), || 7)
}

/// As it was read a moment ago.
async fn knows(app: &App, names: &[&str]) {
    app.histogram_names.outdate().await;
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let known = app.histogram_names.get(SHARED, busy, async { Ok(names) }).await;
    assert!(known.is_ok());
}

#[tokio::test]
async fn postgresql_is_asked_for_histograms_only_where_a_name_may_be_one() {
    let app = without_postgresql();
    let asked = async |metrics: &[&str], mode| {
        let metrics: Vec<String> = metrics.iter().map(|name| (*name).to_owned()).collect();
        app.histograms(1, &metrics, mode).await.is_err()
    };
    knows(&app, &[]).await;
    assert!(!asked(&[], Mode::Fresh).await, "there is no histogram");
    assert!(!asked(&["load"], Mode::Fresh).await);
    knows(&app, &["took"]).await;
    assert!(!asked(&["load", "took_sum"], Mode::Fresh).await, "none is named");
    assert!(!asked(&["took"], Mode::LastKnown).await);
    assert!(asked(&["load", "took"], Mode::Fresh).await);
    assert!(asked(&[], Mode::Fresh).await, "all are asked for");
}

#[test]
fn with_too_many_names_any_may_be_a_histograms() {
    let names: Vec<String> = (0..=MAX_NAMES).map(|n| format!("n{n}")).collect();
    assert!(may_observe(&names, &["load".to_owned()]));
    assert!(!may_observe(&names[1..], &["load".to_owned()]));
}
