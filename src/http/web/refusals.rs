//! Log of refused clients, at most one line per client and interval.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Minimum interval between two log lines about the same client.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum number of clients that are distinguished; further ones are logged without a limit of
/// their own, but at most once per interval together.
const MAX_CLIENTS: usize = 256;

/// Decides which refusals are logged.
#[derive(Debug, Default)]
pub struct RefusalLog {
    clients: Mutex<HashMap<Option<IpAddr>, LoggedClient>>,
}

#[derive(Debug)]
struct LoggedClient {
    logged_at: Instant,
    /// Refusals since the last line.
    unlogged: u64,
}

impl RefusalLog {
    /// Records a refusal. Returns the number of refusals to log, including earlier ones that were not
    /// logged, or `None` if this one should not be logged now.
    pub(in crate::http) fn record(&self, peer: IpAddr, now: Instant) -> Option<u64> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_CLIENTS {
            clients.retain(|_, client| now.duration_since(client.logged_at) < LOG_INTERVAL);
        }
        let is_full = clients.len() >= MAX_CLIENTS && !clients.contains_key(&Some(peer));
        let key = (!is_full).then_some(peer);
        match clients.get_mut(&key) {
            Some(client) if now.duration_since(client.logged_at) < LOG_INTERVAL => {
                client.unlogged += 1;
                None
            }
            Some(client) => {
                client.logged_at = now;
                Some(std::mem::take(&mut client.unlogged) + 1)
            }
            None => {
                let client = LoggedClient {
                    logged_at: now,
                    unlogged: 0,
                };
                clients.insert(key, client);
                Some(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Instant;

    use super::{LOG_INTERVAL, MAX_CLIENTS, RefusalLog};

    #[test]
    fn refusals_are_logged_once_per_client_and_interval() {
        let log = RefusalLog::default();
        let start = Instant::now();
        let peer = |number: usize| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap()));
        assert_eq!(log.record(peer(1), start), Some(1));
        assert_eq!(log.record(peer(1), start), None);
        assert_eq!(log.record(peer(2), start), Some(1));
        assert_eq!(log.record(peer(1), start + LOG_INTERVAL), Some(2));
        let logged = (3..10 * MAX_CLIENTS).filter_map(|number| log.record(peer(number), start));
        assert_eq!(
            logged.count(),
            MAX_CLIENTS - 2 + 1,
            "lines should be limited"
        );
    }
}
