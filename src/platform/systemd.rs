//! Integration with systemd and compatible service managers.
//!
//! Socket activation (`sd_listen_fds(3)`): listening sockets that the service manager opened.
//! Notifications (`sd_notify(3)`): ready, reloading, stopping, and watchdog pings. Without the
//! environment variables of these protocols nothing happens.

use std::future::Future;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use socket2::SockRef;
use tokio::time::{MissedTickBehavior, interval};

use crate::platform::Heartbeat;

/// Number of the first passed file descriptor: `SD_LISTEN_FDS_START` of `sd_listen_fds(3)`.
const FIRST_FD: usize = 3;

/// Watchdog pings per `WATCHDOG_USEC`. `sd_watchdog_enabled(3)` recommends at least two.
const PINGS_PER_INTERVAL: u32 = 4;

/// Sockets that the service manager passed to this process.
pub struct ListenFds {
    fds: ListenFd,
    /// `LISTEN_FDNAMES`: the `FileDescriptorName=` of each socket, in their order.
    names: Vec<String>,
}

/// Reason why the passed sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// No socket was passed.
    #[error(
        "expected a socket from the service manager, found none; start the .socket unit, or omit the flag to listen on --web.listen-address"
    )]
    None,
    /// A passed file descriptor is not a TCP socket.
    #[error("{0}; set ListenStream= to an IP address or a port")]
    Kind(String),
    /// A passed socket is a connection.
    #[error("expected a listening socket, found a connection as {0}; remove Accept=yes")]
    Connection(String),
}

impl ListenFds {
    /// Takes the passed sockets and removes the environment variables that describe them.
    ///
    /// Call it while the process has a single thread, because the environment is shared.
    pub fn from_env() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self {
            fds: ListenFd::from_env(),
            names: names.split(':').map(str::to_owned).collect(),
        }
    }

    /// Returns the sockets as TCP listeners.
    ///
    /// # Errors
    ///
    /// Returns an error if no socket was passed, or if one of them is not a listening TCP socket.
    pub fn listeners(mut self) -> Result<Vec<TcpListener>, SocketError> {
        let mut listeners = Vec::with_capacity(self.fds.len());
        for idx in 0..self.fds.len() {
            let taken = self.fds.take_tcp_listener(idx);
            let with_name = |text: &str| match self.names.get(idx).map(String::as_str) {
                Some("") | None => text.to_owned(),
                Some(name) => format!("{text} ({name})"),
            };
            let listener =
                taken.map_err(|error| SocketError::Kind(with_name(&error.to_string())))?;
            let Some(listener) = listener else { continue };
            if !SockRef::from(&listener).is_listener().unwrap_or(false) {
                let fd = format!("fd {}", FIRST_FD + idx);
                return Err(SocketError::Connection(with_name(&fd)));
            }
            listeners.push(listener);
        }
        if listeners.is_empty() {
            return Err(SocketError::None);
        }
        Ok(listeners)
    }
}

impl std::fmt::Debug for ListenFds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ListenFds").field(&self.fds.len()).finish()
    }
}

/// Connection to the service manager; does nothing unless `NOTIFY_SOCKET` is set.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceManager {
    has_notify_socket: bool,
    /// Maximum time between two watchdog pings (`WATCHDOG_USEC`); `None` if the watchdog is off.
    watchdog_interval: Option<Duration>,
}

impl ServiceManager {
    /// Reads `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
    pub fn from_env() -> Self {
        Self {
            has_notify_socket: std::env::var_os("NOTIFY_SOCKET").is_some(),
            watchdog_interval: sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()),
        }
    }

    /// Reports that startup or a reload is finished; `systemctl status` shows `status`.
    pub fn ready(&self, status: &str) {
        self.notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Reports the start of a reload; [`ready`](Self::ready) reports its end.
    pub fn reloading(&self) {
        // Type=notify-reload requires MONOTONIC_USEC with RELOADING.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.notify(&[NotifyState::Reloading, now]),
            Err(_) => self.notify(&[NotifyState::Reloading]),
        }
    }

    /// Reports the start of the shutdown.
    pub fn stopping(&self) {
        self.notify(&[NotifyState::Stopping]);
    }

    /// Sends watchdog pings until `stop` completes.
    ///
    /// Pings are skipped while the heartbeat is older than half of the watchdog interval, so that
    /// the service manager restarts the exporter if the scheduler hangs.
    pub async fn run_watchdog(self, heartbeat: Arc<Heartbeat>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let Some(limit) = self.watchdog_interval else {
            return stop.await;
        };
        let mut ticks = interval(limit / PINGS_PER_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stop => return,
                _ = ticks.tick() => if heartbeat.age() < limit / 2 {
                    self.notify(&[NotifyState::Watchdog]);
                }
            }
        }
    }

    fn notify(&self, states: &[NotifyState<'_>]) {
        if self.has_notify_socket
            && let Err(error) = sd_notify::notify(states)
        {
            tracing::warn!(%error, "service manager notification failed");
        }
    }
}
