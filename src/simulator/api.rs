//! One call from start to end: faults, token, quota, answer, headers, log.
//!
//! This is where the parts meet; each rule is in its own file. Sockets are `server`'s.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::call::Call;
use super::errors::{ApiError, trace_id};
use super::faults::{Faults, Subject};
use super::kinds::Kind;
use super::usage::{Pretence, Usage};
use super::world::{Tier, World};
use super::{Clock, auth, control, routes};

/// Calls that the log keeps; a demo may run for weeks.
const LOG_LENGTH: usize = 20_000;

/// The simulated API, without its sockets.
pub(super) struct Api {
    pub(super) world: RwLock<World>,
    pub(super) clock: Clock,
    pub(super) faults: Mutex<Faults>,
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

/// What goes back over the socket, and how.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// How long it is held back.
    pub(super) delay: Duration,
    pub(super) conduct: Conduct,
}

/// How bytes go over the socket.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Conduct {
    /// As they should.
    Proper,
    /// The body ends in the middle, and the connection with it.
    Cut,
    /// The connection ends without an answer.
    Reset,
    /// Nothing ever comes.
    Hang,
    /// So many bytes come instead of the body.
    Huge(u64),
}

impl Api {
    pub(super) fn new(world: World, clock: Clock) -> Self {
        Self {
            world: RwLock::new(world),
            clock,
            faults: Mutex::default(),
            usage: Mutex::default(),
            log: Mutex::default(),
        }
    }

    /// The answer to a call.
    pub(super) fn answer(&self, call: &Call) -> Reply {
        if control::concerns(&call.path) {
            return control::answer(call, &mut lock(&self.faults));
        }
        let now = (self.clock)();
        let number = self.number();
        let world = self.world.read().unwrap_or_else(PoisonError::into_inner);
        let (version, id, edge) = call.parts();
        let trace = trace_id(world.seed, number);
        // Who asks about a token is the app; whose business it is, the token tells.
        let presented = match id {
            "debug_token" => call.param("input_token"),
            _ => auth::presented(call),
        };
        let mut tokens = world.tokens.iter();
        let token = tokens.find(|token| Some(token.text.as_str()) == presented);
        let object = world.find(id);
        let account = object.map(|object| object.account());
        let faults = lock(&self.faults).strike(&Subject {
            call,
            business: token.map(|token| token.business.as_str()),
            account: account.map(|account| account.id),
            endpoint: edge.unwrap_or_else(|| object.map_or(id, |object| object.level())),
        });
        let mut pretence = Pretence::default();
        faults.iter().for_each(|fault| fault.pretend(&mut pretence));
        let insights = edge == Some("insights");

        let mut headers = vec![
            ("x-fb-trace-id".to_owned(), trace.clone()),
            ("x-fb-request-id".to_owned(), trace_id(!world.seed, number)),
            ("x-fb-rev".to_owned(), "1042317789".to_owned()),
        ];
        let mut answer = routes::answering(version).and_then(|(answering, warning)| {
            headers.push(("facebook-api-version".to_owned(), answering));
            headers.extend(warning.map(|text| ("x-ad-api-version-warning".to_owned(), text)));
            if let Some(error) = faults.iter().find_map(|fault| fault.error(call)) {
                return Err(error);
            }
            if id == "debug_token" {
                return auth::debug_token(&world, call, now);
            }
            let token = auth::check(&world, call, now)?;
            if let Some(account) = account {
                let tier = pretence.tier.unwrap_or(account.tier);
                let enforced = account.enforces_quota || pretence.tier == Some(Tier::Development);
                let mut usage = lock(&self.usage);
                usage.count(&token.app, account, tier, enforced, insights, now)?;
            }
            routes::answer(&world, token, call, now)
        });
        match &mut answer {
            Ok(answer) => faults
                .iter()
                .for_each(|fault| fault.bend(answer, call, number)),
            Err(error) => {
                let minutes = error.regain_minutes.unwrap_or(pretence.regain_minutes);
                pretence.regain_minutes = minutes;
            }
        }

        if let (Some(token), Some(account)) = (token, account) {
            let usage = lock(&self.usage);
            let told = usage.headers(&token.app, account, insights, now, &pretence);
            headers.extend(
                told.into_iter()
                    .map(|(name, value)| (name.to_owned(), value)),
            );
        }
        let mut reply = reply(answer, headers, &trace);
        faults
            .iter()
            .for_each(|fault: &Kind| fault.misbehave(&mut reply, &trace));
        let status = match reply.conduct {
            Conduct::Reset | Conduct::Hang => 0,
            _ => reply.status,
        };
        let business = token.map(|token| token.business.clone());
        self.record(call, now, business, status);
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

impl Reply {
    /// An answer of JSON.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let mut reply = Self {
            status,
            headers: Vec::new(),
            body: String::new(),
            delay: Duration::ZERO,
            conduct: Conduct::Proper,
        };
        reply.replace(status, "application/json", body.to_string());
        reply
    }

    /// Says something else, under the same headers.
    pub(super) fn replace(&mut self, status: u16, media_type: &str, body: String) {
        self.status = status;
        self.body = body;
        self.headers.retain(|(name, _)| name != "content-type");
        self.header("content-type", &format!("{media_type}; charset=UTF-8"));
    }

    /// One header more.
    pub(super) fn header(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }
}

fn reply(answer: Result<Value, ApiError>, headers: Vec<(String, String)>, trace: &str) -> Reply {
    let mut reply = match &answer {
        Ok(answer) => Reply::json(200, answer),
        Err(error) => Reply::json(error.status, &error.body(trace)),
    };
    reply.headers.extend(headers);
    if let Err(ApiError {
        code: 190, message, ..
    }) = &answer
    {
        // Meta's own form, which is none that HTTP's grammar knows.
        let challenge = format!("OAuth \"Facebook Platform\" \"invalid_token\" \"{message}\"");
        reply.header("www-authenticate", &challenge);
    }
    reply
}

/// A panic while the lock was held leaves counts and logs as they were: good enough to go on.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
