//! Whether PostgreSQL and Redis are there. In: a ping of each now and then. Out: health, and one log line when one goes or
//! comes back.
//!
//! Keeps: once PostgreSQL was reached the service stays ready, since it answers from memory while PostgreSQL is away.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidewatch_service_kit::health::Component;

use crate::app::App;

const PERIOD: Duration = Duration::from_secs(1);

/// Runs until the wish to stop.
pub(crate) async fn watch(app: Arc<App>, health: Component) {
    health.waiting("postgresql");
    tokio::join!(watch_redis(&app), watch_postgres(&app, &health));
}

async fn watch_redis(app: &App) {
    while app.shutdown.sleep(PERIOD).await {
        let away = !app.store.hot.ping().await;
        if app.redis_away.swap(away, Ordering::Relaxed) != away {
            if away {
                tracing::warn!("redis is away, answers come from postgresql");
            } else {
                tracing::info!("redis is back");
            }
        }
    }
}

async fn watch_postgres(app: &App, health: &Component) {
    let mut reached = false;
    let mut away = false;
    loop {
        match app.store.history.ping().await {
            Ok(()) => {
                if !reached {
                    health.ready();
                } else if away {
                    tracing::info!("postgresql is back");
                }
                (reached, away) = (true, false);
            }
            Err(error) => {
                // before the first time it is only not there yet
                if reached && !away {
                    tracing::warn!(%error, "postgresql is away, answers come from memory");
                } else if !reached {
                    health.waiting(format!("postgresql ({error})"));
                }
                away = true;
            }
        }
        if !app.shutdown.sleep(PERIOD).await {
            return;
        }
    }
}
