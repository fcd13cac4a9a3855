//! What every handler can reach.

use std::ops::Deref;
use std::sync::Arc;

use veriboot_store::{Store, Tx};

use crate::attest::AttestState;
use crate::background::Wakes;
use crate::heartbeat::Heart;
use crate::install::AgentDownload;
use crate::metrics::Metrics;
use crate::notify::Notify;
use crate::tls::Identity;
use crate::{ApiError, Clock, Config};

/// Handle to what the service's parts share; cheap to clone.
#[derive(Clone, Debug)]
pub struct AppState(Arc<Shared>);

/// What the service's parts share.
#[derive(Debug)]
pub struct Shared {
    /// The database.
    pub store: Store,
    /// The configuration, checked.
    pub config: Config,
    /// The clock.
    pub clock: Clock,
    /// Counters.
    pub metrics: Metrics,
    /// Signs of life of this replica.
    pub heart: Heart,
    /// Notifications and streams of events.
    pub notify: Notify,
    /// Background work that a request leaves to do.
    pub wakes: Wakes,
    /// `https://HOST[:PORT]` without a slash at the end: how others reach this service, and the issuer of results.
    pub public_url: String,
    /// What others need to recognise this service: CA, pin.
    pub identity: Identity,
    /// Keys and caches of the appraisal.
    pub attest: AttestState,
    /// The agent's binary, where one is handed out.
    pub agent: Option<AgentDownload>,
    /// The OpenAPI document, JSON.
    pub openapi: String,
}

impl AppState {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl AppState {
    /// Runs `work` on one snapshot of the database.
    ///
    /// # Errors
    /// What `work` gives, or what became of the database.
    pub async fn read<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, ApiError> + Send + 'static,
    {
        self.store.try_read(work).await
    }

    /// Runs `work` in one transaction, which an error undoes; the answer comes after the commit. `work` may run
    /// again, so it has no effect but through its transaction.
    ///
    /// # Errors
    /// What `work` gives, or what became of the database.
    pub async fn write<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, ApiError> + Send + 'static,
    {
        self.store.try_write(work).await
    }
}

impl Deref for AppState {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}
