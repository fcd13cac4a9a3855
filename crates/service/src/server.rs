//! The service from configuration to graceful stop.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use veriboot_store::{Options, Store};

use crate::announce::{self, Announcement};
use crate::attest::{self, AttestState};
use crate::background::Wakes;
use crate::gate::Gate;
use crate::heartbeat::Heart;
use crate::metrics::Metrics;
use crate::notify::{self, Notify, Streams};
use crate::state::Shared;
use crate::{
    AppState, Clock, Config, StartError, files, install, members, middleware, monitoring, openapi, posture,
    reappraisals, silence, tls,
};

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: u32 = 4096;
/// Files that are not connections: database, logs, libraries.
const OTHER_FILES: u32 = 256;
/// How often the certificate is looked at.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(3600);

/// What the caller wants of the start beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// Announce the start as one JSON object instead of text for people.
    pub json: bool,
    /// Write the admin token of the first start here (mode 0600, the file must not exist) instead of printing it.
    pub admin_token_file: Option<std::path::PathBuf>,
}

/// A running service.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: AppState,
    announcement: Announcement,
    handle: Handle<SocketAddr>,
    http: JoinHandle<std::io::Result<()>>,
    background: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    lock: std::fs::File,
}

/// Runs the service until `shutdown` is ready, then lets requests in flight end and closes the database.
/// The announcement goes to standard output once the service answers.
///
/// # Errors
/// [`StartError`] when the service cannot start.
pub async fn serve(
    config: Config,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let server = Server::start(config, Clock::system(), &options).await?;
    announce::print(server.announcement(), options.json);
    shutdown.await;
    server.stop().await;
    Ok(())
}

impl Server {
    /// Starts the service; it answers when this returns.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start(config: Config, clock: Clock, options: &ServeOptions) -> Result<Self, StartError> {
        config.check()?;
        tls::install_provider();
        files::prepare_dir(&config.data_dir)?;
        let lock = files::lock_dir(&config.data_dir)?;
        let identity = tls::load(&config, clock.now())?;
        let agent = install::load_agent(config.agent_binary.as_deref())?;
        // The port before the database: a second start by mistake touches nothing.
        let listener = listen(config.listen)?;
        let address =
            listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;
        let public_url = public_url(&config, address);
        let url = config.database_url();
        let metrics = Metrics::default();
        let observer = metrics.observer();
        let open = move || Store::open_observed(&url, &Options::default(), observer);
        let store = tokio::task::spawn_blocking(open)
            .await
            .map_err(|e| StartError::Internal(format!("opening the database failed: {e}")))??;
        let attest =
            AttestState::open(&store, &config, &clock, &public_url).await?.measured(metrics.stages().clone());
        let state = AppState::new(Shared {
            metrics,
            heart: Heart::new(&clock),
            notify: Notify::default(),
            wakes: Wakes::default(),
            openapi: openapi::json()?,
            store,
            config,
            clock,
            public_url,
            identity,
            attest,
            agent,
        });
        let announcement = announce::prepare(&state, address, options).await?;

        let limits = &state.config.limits;
        let header_timeout = Duration::from_secs(u64::from(limits.header_timeout_s));
        let stall = header_timeout + Duration::from_secs(u64::from(limits.request_timeout_s));
        let tls_config = RustlsConfig::from_config(state.identity.server.clone());
        state.metrics.certificate(state.identity.expires_at);
        let gate = Gate::new(
            tls_config.clone(),
            connections(limits.connections),
            header_timeout,
            stall,
            state.metrics.clone(),
        );
        let handle = Handle::new();
        let mut http =
            axum_server::Server::from_listener(listener).acceptor(gate).handle(handle.clone()).http1_only();
        http.http_builder()
            .http1()
            .timer(hyper_util::rt::TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(64 * 1024);
        let router = middleware::wrap(crate::router(state.clone()), &state.config, state.metrics.clone());
        let http = tokio::spawn(http.serve(router.into_make_service()));

        let (stop, stopped) = watch::channel(false);
        let background = vec![
            tokio::spawn(silence::run(state.clone(), stopped.clone())),
            tokio::spawn(monitoring::run(state.clone(), stopped.clone())),
            tokio::spawn(members::run(state.clone(), stopped.clone())),
            tokio::spawn(crate::inventory::configured::run(state.clone(), stopped.clone())),
            tokio::spawn(posture::run(state.clone(), stopped.clone())),
            tokio::spawn(reappraisals::run(state.clone(), stopped.clone())),
            tokio::spawn(notify::run(state.clone(), stopped.clone())),
            tokio::spawn(Streams::run(state.clone(), stopped.clone())),
            tokio::spawn(attest::remember(state.clone(), stopped.clone())),
            tokio::spawn(renew(state.clone(), tls_config, stopped)),
        ];
        let (version, url) = (env!("CARGO_PKG_VERSION"), &state.public_url);
        tracing::info!(version, %address, url, database = ?state.store.backend(), "started");
        Ok(Self { address, state, announcement, handle, http, background, stop, lock })
    }

    /// Where the service listens; the port is the one that was found when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the service's parts share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// What an operator is told at the start.
    pub fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// Takes no more connections, lets requests in flight end (for `limits.stop_timeout_s`), ends the background
    /// work and closes the database.
    pub async fn stop(self) {
        tracing::info!("stopping");
        let limit = Duration::from_secs(u64::from(self.state.config.limits.stop_timeout_s));
        // A stream has no end of its own.
        self.state.notify.streams().close();
        self.handle.graceful_shutdown(Some(limit));
        match self.http.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the listener failed"),
            Err(error) => tracing::error!(%error, "the listener's task failed"),
        }
        let _ = self.stop.send(true);
        for task in self.background {
            if let Err(error) = task.await {
                tracing::error!(%error, "background work failed");
            }
        }
        self.state.store.close().await;
        drop(self.lock);
        tracing::info!("stopped");
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let open = |address: SocketAddr| -> std::io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let result = match open(address) {
        // A machine without IPv6: the same wish in IPv4.
        Err(e)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && e.kind() != std::io::ErrorKind::AddrInUse =>
        {
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        result => result,
    };
    result.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => StartError::PortInUse { address },
        _ => StartError::Listen { address, source },
    })
}

/// How many connections the open-files limit leaves room for.
fn connections(wanted: u32) -> u32 {
    match files::open_files_limit() {
        Some(limit) if wanted > limit.saturating_sub(OTHER_FILES) => {
            let lowered = limit.saturating_sub(OTHER_FILES).max(16);
            tracing::warn!(
                wanted,
                lowered,
                limit,
                "limits.connections is lowered to the limit of open files"
            );
            lowered
        }
        _ => wanted,
    }
}

/// The configured URL, or one made of the best name there is.
fn public_url(config: &Config, address: SocketAddr) -> String {
    if let Some(url) = &config.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let name = match config.tls.names.first() {
        Some(name) => name.clone(),
        None if address.ip().is_unspecified() => files::host_name().unwrap_or_else(|| "localhost".to_owned()),
        None => address.ip().to_string(),
    };
    let host = if name.contains(':') { format!("[{name}]") } else { name };
    format!("https://{host}:{}", address.port())
}

/// Looks at the certificate every hour: renews a self-made one, reads the operator's own files again.
async fn renew(state: AppState, tls_config: RustlsConfig, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(CERTIFICATE_CHECK) => {}
        }
        let (config, now) = (state.config.clone(), state.clock.now());
        match tokio::task::spawn_blocking(move || tls::load(&config, now)).await {
            Ok(Ok(identity)) => {
                state.metrics.certificate(identity.expires_at);
                tls_config.reload_from_config(identity.server);
            }
            Ok(Err(error)) => tracing::error!(%error, code = error.code(), "the certificate stays as it was"),
            Err(error) => tracing::error!(%error, "looking at the certificate failed"),
        }
    }
}
