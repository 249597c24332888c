//! Processes a call: chooses faults, authenticates, counts quotas, builds the response and its headers, writes the
//! log.
//!
//! The rules are in the modules that this one calls. Sockets are the concern of `server`.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::call::ApiCall;
use crate::errors::{SimulatedError, trace_id};
use crate::fault_kinds::FaultKind;
use crate::faults::{FaultTarget, Faults};
use crate::usage::{ReportedUsage, UsageCounters};
use crate::world::{Tier, World};
use crate::{Clock, auth, control, routes};

/// Maximum calls in the log. Bounds memory, because a demo may run for weeks.
const MAX_LOGGED_REQUESTS: usize = 20_000;

/// The simulated API, without its sockets.
pub(crate) struct Api {
    pub(crate) world: RwLock<World>,
    pub(crate) clock: Clock,
    /// Active faults; calls and `control` change them.
    pub(crate) faults: Mutex<Faults>,
    usage: Mutex<UsageCounters>,
    log: Mutex<RequestLog>,
}

#[derive(Default)]
struct RequestLog {
    /// Calls since the start.
    total: u64,
    /// Latest calls, oldest first; at most [`MAX_LOGGED_REQUESTS`].
    latest: VecDeque<LoggedRequest>,
}

/// A call in the log.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    /// Time of the simulator's clock.
    pub time: Timestamp,
    /// HTTP method.
    pub method: String,
    /// Path with the version, without the query string.
    pub path: String,
    /// Decoded parameters of the URL and of a form body.
    pub query: Vec<(String, String)>,
    /// Token of the header `Authorization: Bearer`. `None` without this header.
    pub bearer: Option<String>,
    /// Business of the token. `None` if the token is unknown.
    pub business: Option<String>,
    /// HTTP status of the response. 0 if a fault prevented a response.
    pub status: u16,
}

impl LoggedRequest {
    /// Returns the first value of a parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        let mut query = self.query.iter();
        query
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A response and the way it is sent.
pub(crate) struct Reply {
    /// HTTP status.
    pub(crate) status: u16,
    /// Names and values, without those that hyper adds, such as `Content-Length` and `Date`.
    pub(crate) headers: Vec<(String, String)>,
    /// Body before compression.
    pub(crate) body: String,
    /// Time to wait before sending; zero without a fault.
    pub(crate) delay: Duration,
    pub(crate) mode: ResponseMode,
}

/// The way a response is sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ResponseMode {
    /// Completely.
    Normal,
    /// Half of the body, after which the connection is closed.
    Cut,
    /// Not at all; the connection is closed.
    Reset,
    /// Not at all; the connection stays open.
    Hang,
    /// This number of spaces, and therefore bytes, instead of the body.
    Huge(u64),
}

impl Api {
    pub(crate) fn new(world: World, clock: Clock) -> Self {
        Self {
            world: RwLock::new(world),
            clock,
            faults: Mutex::default(),
            usage: Mutex::default(),
            log: Mutex::default(),
        }
    }

    /// Processes a call and returns the response.
    pub(crate) fn respond(&self, call: &ApiCall) -> Reply {
        if control::is_control_path(&call.path) {
            return control::respond(call, &mut lock(&self.faults));
        }
        let now = (self.clock)();
        let call_number = self.next_call_number();
        let world = self.world.read().unwrap_or_else(PoisonError::into_inner);
        let (version, id, edge) = call.path_parts();
        let request_id = trace_id(!world.seed, call_number);
        let trace_id = trace_id(world.seed, call_number);
        // `debug_token` is called with the token of the app; the business is that of the inspected token.
        let token_text = match id {
            "debug_token" => call.param("input_token"),
            _ => auth::presented_token(call),
        };
        let mut tokens = world.tokens.iter();
        let token = tokens.find(|token| Some(token.text.as_str()) == token_text);
        let object = world.find(id);
        let account = object.map(|object| object.account());
        let faults = lock(&self.faults).select_for(&FaultTarget {
            call,
            business: token.map(|token| token.business.as_str()),
            account: account.map(|account| account.id),
            endpoint: edge.unwrap_or_else(|| object.map_or(id, |object| object.level())),
        });
        let mut reported = ReportedUsage::default();
        faults
            .iter()
            .for_each(|fault| fault.report_usage(&mut reported));
        let is_insights = edge == Some("insights");

        let mut headers = vec![
            ("x-fb-trace-id".to_owned(), trace_id.clone()),
            ("x-fb-request-id".to_owned(), request_id),
            ("x-fb-rev".to_owned(), "1042317789".to_owned()),
        ];
        let mut result = routes::resolve_version(version).and_then(|(actual, warning)| {
            headers.push(("facebook-api-version".to_owned(), actual));
            headers.extend(warning.map(|text| ("x-ad-api-version-warning".to_owned(), text)));
            if let Some(error) = faults.iter().find_map(|fault| fault.error(call)) {
                return Err(error);
            }
            if id == "debug_token" {
                return auth::debug_token(&world, call, now);
            }
            let token = auth::authenticate(&world, call, now)?;
            if let Some(account) = account {
                let tier = reported.tier.unwrap_or(account.tier);
                let is_enforced =
                    account.enforces_quota || reported.tier == Some(Tier::Development);
                let mut usage = lock(&self.usage);
                usage.record(&token.app, account, tier, is_enforced, is_insights, now)?;
            }
            routes::respond(&world, token, call, now)
        });
        match &mut result {
            Ok(body) => faults
                .iter()
                .for_each(|fault| fault.alter_body(body, call, call_number)),
            Err(error) => {
                let minutes = error.regain_minutes.unwrap_or(reported.regain_minutes);
                reported.regain_minutes = minutes;
            }
        }

        if let (Some(token), Some(account)) = (token, account) {
            let usage = lock(&self.usage);
            let usage_headers = usage.headers(&token.app, account, is_insights, now, &reported);
            headers.extend(
                usage_headers
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value)),
            );
        }
        let mut reply = build_reply(result, headers, &trace_id);
        faults
            .iter()
            .for_each(|fault: &FaultKind| fault.alter_reply(&mut reply, &trace_id));
        let status = match reply.mode {
            ResponseMode::Reset | ResponseMode::Hang => 0,
            _ => reply.status,
        };
        let business = token.map(|token| token.business.clone());
        self.record(call, now, business, status);
        reply
    }

    /// Returns the log, oldest call first.
    pub(crate) fn requests(&self) -> Vec<LoggedRequest> {
        lock(&self.log).latest.iter().cloned().collect()
    }

    /// Returns the number of calls so far.
    pub(crate) fn request_count(&self) -> usize {
        usize::try_from(lock(&self.log).total).unwrap_or(usize::MAX)
    }

    /// Counts a call. Returns its number, from 1 on.
    fn next_call_number(&self) -> u64 {
        let mut log = lock(&self.log);
        log.total += 1;
        log.total
    }

    /// Appends a call to the log, and removes the oldest one if the log is full.
    fn record(&self, call: &ApiCall, time: Timestamp, business: Option<String>, status: u16) {
        let mut log = lock(&self.log);
        if log.latest.len() == MAX_LOGGED_REQUESTS {
            log.latest.pop_front();
        }
        log.latest.push_back(LoggedRequest {
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

impl Reply {
    /// Returns a JSON response.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        let mut reply = Self {
            status,
            headers: Vec::new(),
            body: String::new(),
            delay: Duration::ZERO,
            mode: ResponseMode::Normal,
        };
        reply.replace(status, "application/json", body.to_string());
        reply
    }

    /// Replaces status and body, and keeps the other headers.
    pub(crate) fn replace(&mut self, status: u16, media_type: &str, body: String) {
        self.status = status;
        self.body = body;
        self.headers.retain(|(name, _)| name != "content-type");
        self.header("content-type", &format!("{media_type}; charset=UTF-8"));
    }

    /// Appends a header.
    pub(crate) fn header(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }
}

/// Builds the response of a result: its status, its JSON body, and the headers.
fn build_reply(
    result: Result<Value, SimulatedError>,
    headers: Vec<(String, String)>,
    trace_id: &str,
) -> Reply {
    let mut reply = match &result {
        Ok(body) => Reply::json(200, body),
        Err(error) => Reply::json(error.status, &error.body(trace_id)),
    };
    reply.headers.extend(headers);
    if let Err(SimulatedError {
        code: 190, message, ..
    }) = &result
    {
        // The format that Meta sends. It does not conform to RFC 9110, which requires `name="value"` parameters.
        let challenge = format!("OAuth \"Facebook Platform\" \"invalid_token\" \"{message}\"");
        reply.header("www-authenticate", &challenge);
    }
    reply
}

/// Locks a mutex even if it is poisoned: counters and logs stay usable after a panic of another call.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
