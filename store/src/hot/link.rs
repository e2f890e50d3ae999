//! The connection to Redis: made again by the client when it breaks, and by us when the client has given up.
//!
//! redis 1.8's `ConnectionManager` makes a new connection after an I/O error only. One that fails while it is set up for
//! another reason (an answer cut off in the middle, a password that was wrong for a while) it keeps with its error, for ever.
//! Invariant: after [`Link::renew`] the next call connects anew, whatever became of the last connection.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use redis::{
    Client,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use crate::Error;

pub(super) struct Link {
    client: Client,
    config: ConnectionManagerConfig,
    manager: Mutex<ConnectionManager>,
}

impl Link {
    /// Connects to nothing yet. Has to be called inside a tokio runtime.
    pub(super) fn new(url: &str, timeout: Duration) -> Result<Self, Error> {
        let client = Client::open(url).map_err(Error::RedisUrl)?;
        // one try for each call: the breaker decides how often, and each call has a time limit of its own
        let patience = timeout.max(Duration::from_secs(1));
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(10));
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config.clone());
        Ok(Self { client, config, manager: Mutex::new(manager.map_err(Error::RedisUrl)?) })
    }

    pub(super) fn connection(&self) -> ConnectionManager {
        self.manager.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives the connection up for one that is made by the next call.
    pub(super) fn renew(&self) {
        match ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone()) {
            Ok(manager) => *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = manager,
            Err(error) => tracing::debug!(%error, "make another connection to redis"),
        }
    }
}
