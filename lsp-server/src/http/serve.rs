//! Serving both APIs until told to stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::public::{self, PublicState};
use super::tls::{RELOAD_INTERVAL, TlsError, TlsListener};
use super::{BoundedListener, ConnectionLimits, admin};
use crate::metrics::router as metrics_router;
use crate::server::Server;

/// How long requests under way may take once the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Monitoring is few: a scraper or two, and whoever looks.
const METRICS_CONNECTIONS: ConnectionLimits = ConnectionLimits {
    connections_max: 16,
    idle_max: Duration::from_secs(90),
    lifetime_max: Duration::from_secs(3_600),
};

/// The public and the admin API, being served.
pub struct HttpServers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<std::io::Result<()>>,
}

impl HttpServers {
    /// Serves both APIs of `server`, and its metrics if there is a listener for them.
    ///
    /// # Errors
    /// When the public API is to be HTTPS and its certificate cannot be used.
    pub fn start(
        server: &Arc<Server>,
        public: TcpListener,
        metrics: Option<TcpListener>,
        admin: UnixListener,
    ) -> Result<Self, TlsError> {
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let config = server.config();
        let state = PublicState::new(
            server.database().clone(),
            server.node().clone(),
            server.waker().clone(),
            server.notifications().clone(),
            config.push.devices,
            usize::try_from(config.http.requests_max).unwrap_or(usize::MAX),
            server.clock().clone(),
        )
        .telling_of(server.damage().clone());
        let connections = ConnectionLimits {
            connections_max: usize::try_from(config.http.connections_max).unwrap_or(usize::MAX),
            ..ConnectionLimits::default()
        };
        let public = BoundedListener::new(public, connections);
        let app = public::router(state);
        match config.http.tls.clone() {
            Some(files) => {
                let public = TlsListener::new(public, files, RELOAD_INTERVAL)?;
                let public = axum::serve(public, app).with_graceful_shutdown(stopped(&stop));
                tasks.spawn(async { public.await });
            }
            None => {
                let public = axum::serve(public, app).with_graceful_shutdown(stopped(&stop));
                tasks.spawn(async { public.await });
            }
        }
        if let Some(metrics) = metrics {
            let metrics = BoundedListener::new(metrics, METRICS_CONNECTIONS);
            let metrics = axum::serve(metrics, metrics_router()).with_graceful_shutdown(stopped(&stop));
            tasks.spawn(async { metrics.await });
        }
        let admin = axum::serve(admin, admin::router(server.clone())).with_graceful_shutdown(stopped(&stop));
        tasks.spawn(async { admin.await });
        Ok(Self { stop, tasks })
    }

    /// Takes no more requests, and lets those under way end, for a bounded time.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
            tracing::warn!("requests under way were cut off");
        }
    }
}

fn stopped(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stop = stop.subscribe();
    async move {
        // An error means that the sender is gone, which stops the server as well.
        let _ = stop.wait_for(|stop| *stop).await;
    }
}
