//! One call from its first byte to its last: faults, token, quota, answer, headers, log.
//!
//! This is where the parts meet; each rule is in its own file. Sockets are `server`'s.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;
use serde_json::Value;

use super::Clock;
use super::auth;
use super::call::Call;
use super::errors::{ApiError, trace_id};
use super::routes;
use super::usage::{Pretence, Usage};
use super::world::World;

/// Calls that the log keeps; a demo may run for weeks.
const LOG_LENGTH: usize = 20_000;

/// The simulated API, without its sockets.
pub(super) struct Api {
    pub(super) world: RwLock<World>,
    pub(super) clock: Clock,
    usage: Mutex<Usage>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    total: u64,
    last: VecDeque<Request>,
}

/// One call that came in, as the log keeps it.
#[derive(Clone, Debug)]
pub struct Request {
    /// When, by the simulator's clock.
    pub time: Timestamp,
    /// `GET`, mostly.
    pub method: String,
    /// With version, without query.
    pub path: String,
    /// Decoded names and values, as they stood in the address and in a form body.
    pub query: Vec<(String, String)>,
    /// The `Authorization: Bearer` token, if there was one.
    pub bearer: Option<String>,
    /// The business of the token, if it was known.
    pub business: Option<String>,
    /// The HTTP status that was answered; 0 where nothing was.
    pub status: u16,
}

impl Request {
    /// The first value of that parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        let mut query = self.query.iter();
        query
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What goes back over the socket.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Api {
    pub(super) fn new(world: World, clock: Clock) -> Self {
        Self {
            world: RwLock::new(world),
            clock,
            usage: Mutex::default(),
            log: Mutex::default(),
        }
    }

    /// The answer to a call.
    pub(super) fn answer(&self, call: &Call) -> Reply {
        let now = (self.clock)();
        let number = self.number();
        let world = self.world.read().unwrap_or_else(PoisonError::into_inner);
        let (version, id, edge) = call.parts();
        let trace = trace_id(world.seed, number);
        let mut headers = vec![("x-fb-trace-id".to_owned(), trace.clone())];
        let business = world
            .tokens
            .iter()
            .find(|token| Some(token.text.as_str()) == auth::presented(call));
        let account = world.find(id).map(|object| object.account());
        let insights = edge == Some("insights");

        let answer = routes::answering(version).and_then(|(answering, warning)| {
            headers.push(("facebook-api-version".to_owned(), answering));
            if let Some(warning) = warning {
                headers.push(("x-ad-api-version-warning".to_owned(), warning));
            }
            if id == "debug_token" {
                return auth::debug_token(&world, call, now);
            }
            let token = auth::check(&world, call, now)?;
            if let Some(account) = account {
                let mut usage = lock(&self.usage);
                let enforced = account.enforces_quota;
                usage.count(&token.app, account, account.tier, enforced, insights, now)?;
            }
            routes::answer(&world, token, call, now)
        });

        if let (Some(token), Some(account)) = (business, account) {
            let regain = answer.as_ref().err().and_then(|error| error.regain_minutes);
            let pretence = Pretence {
                regain_minutes: regain.unwrap_or(0),
                ..Pretence::default()
            };
            let usage = lock(&self.usage);
            let told = usage.headers(&token.app, account, insights, now, &pretence);
            headers.extend(
                told.into_iter()
                    .map(|(name, value)| (name.to_owned(), value)),
            );
        }
        let reply = reply(answer, headers, &trace);
        self.record(
            call,
            now,
            business.map(|token| token.business.clone()),
            reply.status,
        );
        reply
    }

    /// The calls that the log keeps, oldest first.
    pub(super) fn requests(&self) -> Vec<Request> {
        lock(&self.log).last.iter().cloned().collect()
    }

    fn number(&self) -> u64 {
        let mut log = lock(&self.log);
        log.total += 1;
        log.total
    }

    fn record(&self, call: &Call, time: Timestamp, business: Option<String>, status: u16) {
        let mut log = lock(&self.log);
        if log.last.len() == LOG_LENGTH {
            log.last.pop_front();
        }
        log.last.push_back(Request {
            time,
            method: call.method.clone(),
            path: call.path.clone(),
            query: call.query.clone(),
            bearer: call.bearer.clone(),
            business,
            status,
        });
    }
}

fn reply(
    answer: Result<Value, ApiError>,
    mut headers: Vec<(String, String)>,
    trace: &str,
) -> Reply {
    let (status, body) = match answer {
        Ok(answer) => (200, answer),
        Err(error) => {
            if error.code == 190 {
                // Meta's own form, which is none that RFC 7235 knows.
                let challenge = format!(
                    "OAuth \"Facebook Platform\" \"invalid_token\" \"{}\"",
                    error.message
                );
                headers.push(("www-authenticate".to_owned(), challenge));
            }
            (error.status, error.body(trace))
        }
    };
    headers.push((
        "content-type".to_owned(),
        "application/json; charset=UTF-8".to_owned(),
    ));
    Reply {
        status,
        headers,
        body: body.to_string(),
    }
}

/// A panic while the lock was held leaves counts and logs as they were: good enough to go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
