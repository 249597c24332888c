//! Loads the web config file and the PEM files that it names, and reloads them when they change.
//!
//! The files are checked on every new connection, so that a renewed certificate is used from the next
//! handshake on. While they are invalid, the previous web config stays in force. A file that is empty
//! or protects less is applied only by a deliberate reload, because it may be partially written.
//!
//! Users of businesses come from the config. They and the web config are changed under one lock, which
//! ensures that the web config has users as long as businesses have some, and that no name is used
//! twice.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::HeaderMap;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::policy::{AccessPolicy, AccessSummary};
use super::tls::{self, PemFiles};
use super::users::AuthOutcome;
use crate::config::{
    BusinessUser, ConfigError, ConfigErrors, NamedDocument, PasswordHash, PemSource, WebSettings,
};
use crate::http::routes::ServedConfig;
use crate::metrics::SelfMetrics;
use crate::platform::limited_read;

/// Maximum size of the web config file and of each PEM file; far above that of certificate chains.
const MAX_WEB_FILE_BYTES: u64 = 1 << 20;

/// Maximum time to wait for the file system. After that, a connection uses the previous web config.
const FILE_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Minimum interval between checks of the files on persistent connections.
const MAX_POLICY_AGE: Duration = Duration::from_secs(1);

/// Web config file that is reloaded when it changes, or the defaults without such a file.
#[derive(Debug)]
pub struct WebConfigFile {
    path: Option<PathBuf>,
    in_force: Arc<PolicyInForce>,
    last_load: Arc<tokio::sync::Mutex<LastLoad>>,
    /// Current config, with the businesses that `business_scopes` can name; `None` before it is known.
    served_config: Mutex<Option<Arc<ServedConfig>>>,
}

/// Policy in force, and what its checks report to.
#[derive(Debug)]
struct PolicyInForce {
    policy: Mutex<CheckedPolicy>,
    /// Metrics to which the results of checks are reported.
    self_metrics: OnceLock<Arc<SelfMetrics>>,
}

impl PolicyInForce {
    fn new(policy: AccessPolicy, expiry: Option<i64>) -> Self {
        Self {
            policy: Mutex::new(CheckedPolicy {
                policy: Arc::new(policy),
                reserved_users: Arc::default(),
                active_users: Arc::default(),
                expiry,
                checked_at: Instant::now(),
                completed_checks: 0,
                is_stalled: false,
            }),
            self_metrics: OnceLock::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, CheckedPolicy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checked_policy(&self) -> CheckedPolicy {
        self.lock().clone()
    }

    /// Replaces the policy by that of another web config.
    fn apply(&self, web: &WebSettings, (policy, expiry): BuiltPolicy) -> Result<(), ConfigErrors> {
        let mut current = self.lock();
        if let Some((path, text)) = user_conflict(&web.users, &current.reserved_users) {
            return Err(web.error_at(&path, text));
        }
        let policy = policy
            .with_users(&current.active_users, Some(&current.policy))
            .map_err(|problem| web.error_at("", problem))?;
        current.policy = Arc::new(policy);
        current.expiry = expiry;
        Ok(())
    }

    /// Reserves the names of `users` and removes all other users of businesses.
    fn reserve_users(&self, users: Vec<BusinessUser>) -> Result<(), String> {
        let mut current = self.lock();
        if let Some((path, text)) = user_conflict(current.policy.web_config_users(), &users) {
            return Err(format!("web config: {path}: {text}"));
        }
        let mut active = Vec::clone(&current.active_users);
        active.retain(|user| users.contains(user));
        current.set_active_users(active)?;
        current.reserved_users = Arc::new(users);
        Ok(())
    }

    /// Gives the reserved users access.
    fn activate_users(&self) -> Result<(), String> {
        let mut current = self.lock();
        let users = Vec::clone(&current.reserved_users);
        current.set_active_users(users)
    }

    /// Reads the files and applies changes. Returns whether there were any.
    fn check(
        &self,
        path: &Path,
        last_load: &mut LastLoad,
        cause: CheckCause,
    ) -> Result<bool, String> {
        let result = check_files(path, last_load, cause, |web, built| self.apply(web, built));
        let mut current = self.lock();
        current.checked_at = Instant::now();
        current.completed_checks += 1;
        current.is_stalled = false;
        let expiry = current.expiry;
        drop(current);
        self.report(result.is_ok(), expiry);
        if result == Ok(true) {
            tracing::info!("web config reloaded");
        }
        result
    }

    fn report(&self, is_current: bool, expiry: Option<i64>) {
        if let Some(self_metrics) = self.self_metrics.get() {
            self_metrics.server.set_web_config(is_current, expiry);
        }
    }

    /// Records that a check has not ended in time, unless one has ended since there were `completed_checks`. Returns
    /// whether the checks are newly stalled.
    fn set_stalled(&self, completed_checks: u64) -> bool {
        let mut current = self.lock();
        let is_new = !current.is_stalled && current.completed_checks == completed_checks;
        current.is_stalled |= is_new;
        is_new
    }

    /// Records that the files could not be read in time.
    fn record_timeout(&self) -> String {
        let error = format!(
            "web config files could not be read within {} s; check the file system",
            FILE_READ_TIMEOUT.as_secs()
        );
        tracing::error!(
            error,
            "web config reload failed; keeping the previous web config"
        );
        self.report(false, self.checked_policy().expiry);
        error
    }
}

/// Policy in force and the time of the last check of its files.
#[derive(Clone, Debug)]
struct CheckedPolicy {
    policy: Arc<AccessPolicy>,
    /// Users of businesses that have access or will have it when the config is applied.
    reserved_users: Arc<Vec<BusinessUser>>,
    /// Users of businesses that have access.
    active_users: Arc<Vec<BusinessUser>>,
    /// Earliest expiry of the server's certificates, as a Unix timestamp in seconds.
    expiry: Option<i64>,
    checked_at: Instant,
    /// Number of checks that have ended.
    completed_checks: u64,
    /// Whether a check of the files exceeded `FILE_READ_TIMEOUT` and has not ended since.
    is_stalled: bool,
}

impl CheckedPolicy {
    fn set_active_users(&mut self, users: Vec<BusinessUser>) -> Result<(), String> {
        if *self.active_users != users {
            self.policy = Arc::new(self.policy.with_users(&users, Some(&self.policy))?);
            self.active_users = Arc::new(users);
        }
        Ok(())
    }
}

/// Returns path and text of the error if users of the web config and of businesses contradict each
/// other.
fn user_conflict(
    web_config_users: &[(String, PasswordHash)],
    business_users: &[BusinessUser],
) -> Option<(String, String)> {
    let first = business_users.first()?;
    if web_config_users.is_empty() {
        let text = format!(
            "expected at least one user, because the business {} has `web_users`, found none; add a user, or remove `web_users` of all businesses and reload the config first",
            first.business
        );
        return Some(("basic_auth_users".to_owned(), text));
    }
    let conflict = business_users
        .iter()
        .find(|user| web_config_users.iter().any(|(name, _)| *name == user.name))?;
    let text = format!(
        "expected a user name that no business has in `web_users`, found one of the business {}; rename one of the two",
        conflict.business
    );
    Some((format!("basic_auth_users.{}", conflict.name), text))
}

/// Cause of a check of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CheckCause {
    /// A new connection: protection must not decrease.
    Connection,
    /// SIGHUP or `POST /-/reload`, by which an operator can decrease protection.
    Reload,
}

/// Result of the last check of the files.
#[derive(Default)]
struct LastLoad {
    /// Settings and contents of the files in force.
    valid: Option<(WebSettings, LoadedFiles)>,
    /// Error that was logged last; `None` if the last check succeeded.
    logged_error: Option<String>,
}

impl std::fmt::Debug for LastLoad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LastLoad").finish_non_exhaustive()
    }
}

/// Contents of the web config file and of the PEM files.
#[derive(PartialEq, Eq)]
struct LoadedFiles {
    text: String,
    pem_files: Option<PemFiles>,
}

impl WebConfigFile {
    /// Returns the defaults without a web config file: plain HTTP, no authentication.
    pub fn none() -> Self {
        Self {
            path: None,
            in_force: Arc::new(PolicyInForce::new(AccessPolicy::allow_all(), None)),
            last_load: Arc::default(),
            served_config: Mutex::default(),
        }
    }

    /// Loads the file for the first time.
    ///
    /// # Errors
    /// Returns all errors of the file, or an error of a PEM file that it names.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let (web, files) = read(path)?;
        let (policy, expiry) = build(&web, &files)?;
        let policy = policy
            .with_users(&[], None)
            .map_err(|problem| web.error_at("", problem))?;
        let last_load = LastLoad {
            valid: Some((web, files)),
            logged_error: None,
        };
        Ok(Self {
            path: Some(path.to_owned()),
            in_force: Arc::new(PolicyInForce::new(policy, expiry)),
            last_load: Arc::new(tokio::sync::Mutex::new(last_load)),
            served_config: Mutex::default(),
        })
    }

    /// Returns `https` or `http`, as of the last check.
    pub fn scheme(&self) -> &'static str {
        match self.checked_policy().policy.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// Returns what is in force, as of the last check.
    pub fn summary(&self) -> AccessSummary {
        self.checked_policy().policy.summary()
    }

    /// Returns the names of the users of the web config, after checking the file for changes.
    pub async fn user_names(&self) -> BTreeSet<String> {
        // The result of the check is used below.
        let _ = self.current().await;
        self.loaded_user_names()
    }

    /// Returns the names of the users of the web config, as of the last check.
    pub fn loaded_user_names(&self) -> BTreeSet<String> {
        let policy = self.checked_policy().policy;
        let names = policy.web_config_users().iter();
        names.map(|(name, _)| name.clone()).collect()
    }

    /// Removes the access of all users of businesses that are not in `users`, and reserves the names of
    /// the others: while they are reserved, no web config is applied that has one of the names, or no
    /// user at all.
    ///
    /// # Errors
    /// Returns the reason if the web config in force has one of the names or no user. Nothing changes
    /// then.
    pub fn reserve_business_users(&self, users: Vec<BusinessUser>) -> Result<(), String> {
        self.in_force.reserve_users(users)
    }

    /// Gives the reserved users access to their businesses.
    ///
    /// # Errors
    /// Returns an error if the system's random number generator fails.
    pub fn activate_business_users(&self) -> Result<(), String> {
        self.in_force.activate_users()
    }

    /// Sets the metrics to which the results of checks are reported. Must be called at most once.
    pub fn set_self_metrics(&self, self_metrics: Arc<SelfMetrics>) {
        if self.path.is_some() {
            let expiry = self.checked_policy().expiry;
            self_metrics.server.set_web_config(true, expiry);
        }
        // An earlier value stays.
        let _ = self.in_force.self_metrics.set(self_metrics);
    }

    /// Returns the scheme that a file configures, without reading its PEM files.
    ///
    /// # Errors
    /// Returns all errors of the file.
    pub fn scheme_in(path: &Path) -> Result<&'static str, ConfigErrors> {
        let (web, _) = read_web(path)?;
        Ok(web.tls.map_or("http", |_| "https"))
    }

    /// Sets the config in force. Logs a warning for each business in `business_scopes` that is not in
    /// the config, now and when the web config changes.
    pub fn set_known_businesses(&self, config: Arc<ServedConfig>) {
        *self
            .served_config
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(config);
        self.warn_unknown_businesses();
    }

    fn warn_unknown_businesses(&self) {
        let config = self
            .served_config
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(config) = config else { return };
        let policy = self.checked_policy().policy;
        for (user, business) in policy.unknown_businesses(&config.businesses) {
            tracing::warn!(
                user,
                business,
                "business_scopes contains a business that is not in the config"
            );
        }
    }

    /// Checks the files at the request of an operator and applies changes, including those that lower
    /// protection.
    ///
    /// # Errors
    /// Returns the errors of invalid or empty files. The previous web config stays in force.
    pub async fn reload(&self) -> Result<(), String> {
        let completed_checks = self.checked_policy().completed_checks;
        let Ok(result) = timeout(FILE_READ_TIMEOUT, self.refresh(CheckCause::Reload)).await else {
            self.in_force.set_stalled(completed_checks);
            return Err(self.in_force.record_timeout());
        };
        result
    }

    /// Checks the files and applies changes.
    async fn refresh(&self, cause: CheckCause) -> Result<(), String> {
        let Some(path) = self.path.clone() else {
            return Ok(());
        };
        let mut last_load = Arc::clone(&self.last_load).lock_owned().await;
        let in_force = Arc::clone(&self.in_force);
        // The blocking task owns the lock: while a file system hangs, only one thread waits for it.
        // It also applies the change, because the caller may give up waiting.
        let check = spawn_blocking(move || {
            let result = in_force.check(&path, &mut last_load, cause);
            drop(last_load);
            result
        });
        if check.await.map_err(|error| error.to_string())?? {
            self.warn_unknown_businesses();
        }
        Ok(())
    }

    /// Returns the policy for a new connection, after checking the files.
    pub(in crate::http) async fn current(&self) -> Arc<AccessPolicy> {
        let current = self.checked_policy();
        if self.path.is_some() && !current.is_stalled {
            // Errors are logged by the check. After an error or a timeout the previous policy applies.
            let check = timeout(FILE_READ_TIMEOUT, self.refresh(CheckCause::Connection)).await;
            if check.is_err() && self.in_force.set_stalled(current.completed_checks) {
                self.in_force.record_timeout();
            }
        }
        self.checked_policy().policy
    }

    /// Returns the policy for a request on a persistent connection, checked at most `MAX_POLICY_AGE`
    /// ago.
    pub(in crate::http) async fn current_cached(&self) -> Arc<AccessPolicy> {
        let current = self.checked_policy();
        if self.path.is_none() || current.checked_at.elapsed() < MAX_POLICY_AGE {
            return current.policy;
        }
        self.current().await
    }

    /// Checks the credentials of a request. Returns the policy that applies to it, and the result;
    /// `None` if the policy requires no credentials.
    pub(in crate::http) async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> (Arc<AccessPolicy>, Option<AuthOutcome>) {
        loop {
            let policy = self.current_cached().await;
            let login = policy.authenticate(headers, peer).await;
            // A password check can wait for others, and the user may have been removed meanwhile.
            if Arc::ptr_eq(&policy, &self.checked_policy().policy) {
                return (policy, login);
            }
        }
    }

    fn checked_policy(&self) -> CheckedPolicy {
        self.in_force.checked_policy()
    }
}

/// Policy that files define, with the earliest expiry of its certificates.
type BuiltPolicy = (AccessPolicy, Option<i64>);

/// Applies the policy that the files define if they have changed, and returns whether they have. The
/// same error is logged only once.
fn check_files(
    path: &Path,
    last_load: &mut LastLoad,
    cause: CheckCause,
    apply: impl FnOnce(&WebSettings, BuiltPolicy) -> Result<(), ConfigErrors>,
) -> Result<bool, String> {
    let loaded = read(path).and_then(|(web, files)| {
        let Some((previous, previous_files)) = &last_load.valid else {
            return Ok(None);
        };
        if *previous_files == files {
            return Ok(None);
        }
        let lowered = web.lowered_protection(previous);
        check_protection(&web, previous, &lowered, cause)?;
        if cause == CheckCause::Connection && is_cut(&files.text, &previous_files.text) {
            let text = "expected a complete last line, found the start of that line of the file in force; write the whole file";
            return Err(web.error_at("", text));
        }
        apply(&web, build(&web, &files)?)?;
        Ok(Some((web, files, lowered)))
    });
    match loaded {
        Ok(changed) => {
            last_load.logged_error = None;
            let Some((web, files, lowered)) = changed else {
                return Ok(false);
            };
            if !lowered.is_empty() {
                let open = lowered.join("; ");
                tracing::warn!(open, "web config with less protection is in force");
            }
            last_load.valid = Some((web, files));
            Ok(true)
        }
        Err(errors) => {
            let error = errors.to_string();
            if last_load.logged_error.as_ref() != Some(&error) {
                tracing::error!(
                    error,
                    "web config reload failed; keeping the previous web config"
                );
                last_load.logged_error = Some(error.clone());
            }
            Err(error)
        }
    }
}

/// Returns an error if the settings must not replace `previous` for this cause.
fn check_protection(
    web: &WebSettings,
    previous: &WebSettings,
    lowered: &[&str],
    cause: CheckCause,
) -> Result<(), ConfigErrors> {
    if web.is_empty && !previous.is_empty {
        let text = "expected settings, found an empty file; restore the file, or restart the exporter to serve without them";
        return Err(web.error_at("", text));
    }
    if cause == CheckCause::Connection && !lowered.is_empty() {
        let text = format!(
            "expected at least the protection in force, found less: {}; restore the file, or apply it with SIGHUP or POST /-/reload",
            lowered.join("; ")
        );
        return Err(web.error_at("", text));
    }
    Ok(())
}

/// Returns whether a text is the beginning of `previous` and ends within a line. The end of such a text can be the
/// beginning of another name, such as that of another business in `business_scopes`.
fn is_cut(text: &str, previous: &str) -> bool {
    previous.strip_prefix(text).is_some_and(|rest| {
        let is_line_complete = text.ends_with('\n') || rest.starts_with(['\r', '\n']);
        !rest.is_empty() && !is_line_complete
    })
}

/// Reads and parses the web config file. Returns its text too.
fn read_web(path: &Path) -> Result<(WebSettings, String), ConfigErrors> {
    let name = path.display().to_string();
    let text = limited_read::read_text(path, MAX_WEB_FILE_BYTES).map_err(|problem| {
        let text = format!("{problem}; check the file and --web.config.file");
        ConfigErrors::from(ConfigError::for_document(&name, text))
    })?;
    let document = NamedDocument {
        name,
        text: text.clone(),
    };
    Ok((WebSettings::parse(document)?, text))
}

/// Reads the web config file and the PEM files that it names, relative to its folder.
fn read(path: &Path) -> Result<(WebSettings, LoadedFiles), ConfigErrors> {
    let (web, text) = read_web(path)?;
    let pem_files = match &web.tls {
        None => None,
        Some(tls) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            let read_pem = |key: &str, source: &PemSource| match source {
                PemSource::Inline(text) => Ok(text.clone().into_bytes()),
                PemSource::File(file) => {
                    limited_read::read_whole(&folder.join(file), MAX_WEB_FILE_BYTES).map_err(
                        |problem| {
                            let text = format!(
                                "{}: {problem}; check the path and its permissions",
                                file.display()
                            );
                            web.error_at(&format!("tls_server_config.{key}_file"), text)
                        },
                    )
                }
            };
            Some(PemFiles {
                cert: read_pem("cert", &tls.cert)?,
                key: read_pem("key", &tls.key)?,
                client_ca: tls
                    .client_ca
                    .as_ref()
                    .map(|ca| read_pem("client_ca", ca))
                    .transpose()?,
            })
        }
    };
    Ok((web, LoadedFiles { text, pem_files }))
}

/// Builds the policy without its users, and logs the warnings of the web config.
fn build(web: &WebSettings, files: &LoadedFiles) -> Result<BuiltPolicy, ConfigErrors> {
    let tls = match (&web.tls, &files.pem_files) {
        (Some(tls), Some(pem_files)) => {
            let config = tls::server_config(tls, pem_files).map_err(|(key, problem)| {
                let source = match key {
                    "cert_file" => Some(&tls.cert),
                    "key_file" => Some(&tls.key),
                    "client_ca_file" => tls.client_ca.as_ref(),
                    _ => None,
                };
                let key = match source {
                    Some(PemSource::Inline(_)) => key.trim_end_matches("_file"),
                    _ => key,
                };
                web.error_at(&format!("tls_server_config.{key}"), problem)
            })?;
            Some(config)
        }
        _ => None,
    };
    for warning in &web.warnings {
        tracing::warn!(warning, "web config warning");
    }
    let (config, expiry) = match tls {
        Some(tls) => (Some(tls.config), tls.expiry),
        None => (None, None),
    };
    let policy = AccessPolicy::new(web, config, files.pem_files.as_ref())
        .map_err(|problem| web.error_at("", problem))?;
    Ok((policy, expiry))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::{Arc, Mutex};

    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use hyper::header::{AUTHORIZATION, HeaderMap};
    use tokio::task::yield_now;

    use super::{
        AccessPolicy, BuiltPolicy, CheckCause, LastLoad, PolicyInForce, WebConfigFile, build,
        check_files, read,
    };
    use crate::config::{BusinessUser, NamedDocument, PasswordHash, WebSettings};
    use crate::http::web::users::AuthOutcome;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn web_settings(users: &str) -> WebSettings {
        let document = NamedDocument {
            name: "web.yaml".to_owned(),
            text: format!("basic_auth_users: {{ {users} }}\n"),
        };
        WebSettings::parse(document).unwrap()
    }

    fn hash() -> String {
        bcrypt::hash("open", 4).unwrap()
    }

    /// Returns a web config in force that is never read again.
    fn web_config(users: &str) -> WebConfigFile {
        let policy = AccessPolicy::new(&web_settings(users), None, None).unwrap();
        let policy = policy.with_users(&[], None).unwrap();
        WebConfigFile {
            path: None,
            in_force: Arc::new(PolicyInForce::new(policy, None)),
            last_load: Arc::default(),
            served_config: Mutex::default(),
        }
    }

    fn user(name: &str, business: &str) -> BusinessUser {
        BusinessUser {
            name: name.to_owned(),
            hash: PasswordHash::parse(&hash()).unwrap(),
            business: business.into(),
        }
    }

    async fn login(web: &WebConfigFile, name: &str) -> Option<AuthOutcome> {
        let encoded = BASE64_STANDARD.encode(format!("{name}:open"));
        let value = format!("Basic {encoded}").parse().unwrap();
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        web.authenticate(&headers, PEER).await.1
    }

    fn granted(name: &str) -> Option<AuthOutcome> {
        Some(AuthOutcome::Granted(name.to_owned()))
    }

    #[tokio::test]
    async fn users_have_access_between_activation_and_next_reservation() {
        let web = web_config(&format!("ops: {}", hash()));
        let (kept, removed) = (user("kept", "acme"), user("removed", "acme"));
        web.reserve_business_users(vec![kept.clone(), removed])
            .unwrap();
        let refused = Some(AuthOutcome::Refused);
        assert_eq!(login(&web, "kept").await, refused, "not served yet");
        web.activate_business_users().unwrap();
        assert_eq!(login(&web, "kept").await, granted("kept"));
        assert_eq!(login(&web, "removed").await, granted("removed"));
        // The same name for another business is another user.
        let moved = user("removed", "other");
        web.reserve_business_users(vec![kept, moved]).unwrap();
        assert_eq!(login(&web, "kept").await, granted("kept"));
        assert_eq!(login(&web, "removed").await, refused);
        assert_eq!(login(&web, "ops").await, granted("ops"));
    }

    #[tokio::test]
    async fn reserved_name_is_not_taken_by_web_config() {
        let web = web_config(&format!("ops: {}", hash()));
        web.reserve_business_users(vec![user("team", "acme")])
            .unwrap();
        for (users, is_applied) in [
            (format!("ops: {0}, team: {0}", hash()), false),
            (String::new(), false),
            (format!("other: {}", hash()), true),
        ] {
            let settings = web_settings(&users);
            let policy = AccessPolicy::new(&settings, None, None).unwrap();
            let result = web.in_force.apply(&settings, (policy, None));
            assert_eq!(result.is_ok(), is_applied, "{users}: {result:?}");
        }
        web.activate_business_users().unwrap();
        assert_eq!(login(&web, "team").await, granted("team"));
        assert_eq!(login(&web, "ops").await, Some(AuthOutcome::Refused));
        let error = web.reserve_business_users(vec![user("other", "acme")]);
        assert!(error.is_err(), "name of the web config");
        assert_eq!(login(&web, "team").await, granted("team"));
        let open = web_config("");
        assert!(
            open.reserve_business_users(vec![user("team", "acme")])
                .is_err()
        );
        assert_eq!(login(&open, "team").await, None, "server stays open");
    }

    #[tokio::test]
    async fn waiting_login_of_removed_user_is_refused() {
        let web = Arc::new(web_config(&format!("ops: {}", hash())));
        web.reserve_business_users(vec![user("team", "acme")])
            .unwrap();
        web.activate_business_users().unwrap();
        let waiting = Arc::clone(&web);
        let login = tokio::spawn(async move { login(&waiting, "team").await });
        // The task has started to compute the hash, and cannot continue before the next await.
        yield_now().await;
        web.reserve_business_users(Vec::new()).unwrap();
        assert_eq!(login.await.unwrap(), Some(AuthOutcome::Refused));
    }

    #[test]
    fn check_that_ends_with_its_timeout_is_not_stalled() {
        let folder = tempfile::tempdir().unwrap();
        let in_force = PolicyInForce::new(AccessPolicy::allow_all(), None);
        let before = in_force.checked_policy().completed_checks;
        let missing = folder.path().join("web.yaml");
        let check = || in_force.check(&missing, &mut LastLoad::default(), CheckCause::Connection);
        assert!(check().is_err());
        // The caller has given up in the same moment.
        assert!(!in_force.set_stalled(before));
        let before = in_force.checked_policy().completed_checks;
        assert!(in_force.set_stalled(before) && in_force.checked_policy().is_stalled);
        assert!(!in_force.set_stalled(before), "logged once");
        assert!(check().is_err());
        assert!(!in_force.checked_policy().is_stalled);
    }

    #[test]
    fn file_cut_at_any_byte_grants_no_further_access() {
        const HASH: &str = "$2y$04$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";
        let text = format!(
            "basic_auth_users:\n  alice: {HASH}\n  bob: {HASH}\nbusiness_scopes:\n  alice:\n    - shop-eu\n  bob:\n    - acme\n    - acme-eu\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yaml");
        fs::write(&path, &text).unwrap();
        let mut applied = 0;
        for length in 0..text.len() {
            let (web, files) = read(&path).unwrap();
            let (policy, _) = build(&web, &files).unwrap();
            let policy = policy.with_users(&[], None).unwrap();
            let before = policy.unknown_businesses(&BTreeSet::new());
            let mut last_load = LastLoad {
                valid: Some((web, files)),
                logged_error: None,
            };
            fs::write(&path, &text[..length]).unwrap();
            let mut after = None;
            let apply = |_: &WebSettings, (policy, _): BuiltPolicy| {
                after = Some(policy.with_users(&[], None).unwrap());
                Ok(())
            };
            let _ = check_files(&path, &mut last_load, CheckCause::Connection, apply);
            fs::write(&path, &text).unwrap();
            let Some(after) = after else {
                continue;
            };
            applied += 1;
            assert!(after.summary().users > 0 && after.summary().has_scopes);
            for pair in after.unknown_businesses(&BTreeSet::new()) {
                assert!(before.contains(&pair), "{pair:?} at {length}");
            }
        }
        // Lines at the end can be removed deliberately, with and without the last line feed.
        assert!(applied >= 2, "{applied}");
    }
}
