//! The wish to stop, handed to every task.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Cloned into every task; once triggered it stays so.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn trigger(&self) {
        self.0.cancel();
    }

    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns when the wish is there.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// A wish of its own that this one includes.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Sleeps; `false` when the wish came first.
    pub async fn sleep(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.0.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    /// Triggers on SIGTERM or SIGINT.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            tracing::info!("stop asked for by signal");
            shutdown.trigger();
        });
        Ok(())
    }
}
