//! systemd, or who speaks as it does: sockets that it opened for the exporter, and what it wants
//! to hear of it.

use std::future::Future;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use socket2::SockRef;
use tokio::time::{MissedTickBehavior, interval};

use crate::beat::Beat;

/// The first descriptor that is handed over, by the protocol.
const FIRST: usize = 3;

/// How many times the watchdog is fed in the time that it may go without.
const FEEDS: u32 = 4;

/// Sockets that somebody opened before the exporter began.
pub struct Sockets {
    handed: ListenFd,
    names: Vec<String>,
}

/// Why the sockets that were handed over cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There are none.
    #[error(
        "no socket was handed over; start the .socket unit, or leave the flag out to listen on --web.listen-address"
    )]
    None,
    /// One of them is of another kind.
    #[error("{0}; name an IP address or a port with ListenStream=")]
    Kind(String),
    /// One of them is a connection.
    #[error("{0} is a connection, nothing that listens; leave out Accept=yes")]
    Connection(String),
}

impl Sockets {
    /// Takes what was handed over, and the word of it out of the environment. Call it while the
    /// process has one thread: the environment belongs to all.
    pub fn inherited() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self {
            handed: ListenFd::from_env(),
            names: names.split(':').map(str::to_owned).collect(),
        }
    }

    /// The sockets, listening.
    ///
    /// # Errors
    /// When there is none, or one of them is no TCP socket that listens.
    pub fn listeners(mut self) -> Result<Vec<TcpListener>, Unusable> {
        let mut listeners = Vec::with_capacity(self.handed.len());
        for place in 0..self.handed.len() {
            let taken = self.handed.take_tcp_listener(place);
            let named = |text: &str| match self.names.get(place).map(String::as_str) {
                Some("") | None => text.to_owned(),
                Some(name) => format!("{text} ({name})"),
            };
            let listener = taken.map_err(|error| Unusable::Kind(named(&error.to_string())))?;
            let Some(listener) = listener else { continue };
            if !SockRef::from(&listener).is_listener().unwrap_or(false) {
                return Err(Unusable::Connection(named(&format!(
                    "fd {}",
                    FIRST + place
                ))));
            }
            listeners.push(listener);
        }
        match listeners.is_empty() {
            true => Err(Unusable::None),
            false => Ok(listeners),
        }
    }
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sockets").field(&self.handed.len()).finish()
    }
}

/// Who started the exporter and looks after it. By default nobody, who hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Supervisor {
    listens: bool,
    /// How long the exporter may be silent before it is ended.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// As the environment says.
    pub fn of_environment() -> Self {
        Self {
            listens: std::env::var_os("NOTIFY_SOCKET").is_some(),
            watchdog: sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()),
        }
    }

    /// It serves. `status` is for whoever asks how it is.
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// It reads its config again; `ready` says that it has.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    /// It is about to end.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// Feeds the watchdog for as long as the heart beats, until `stop` comes.
    pub async fn watch(self, beat: Arc<Beat>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let Some(limit) = self.watchdog else {
            return stop.await;
        };
        let mut feeds = interval(limit / FEEDS);
        feeds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stop => return,
                _ = feeds.tick() => if beat.age() < limit / 2 {
                    self.tell(&[NotifyState::Watchdog]);
                }
            }
        }
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if self.listens
            && let Err(error) = sd_notify::notify(states)
        {
            tracing::warn!(%error, "the service manager was not told");
        }
    }
}
