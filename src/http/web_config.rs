//! The hand that reads the web config file and the files that it names, and reads them again.
//!
//! Whoever connects is met by the files as they are at that moment: a renewed certificate counts
//! from the next handshake. While they are wrong, what was right before stands.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::door::Door;
use super::routes::Wanted;
use super::tls::{self, Papers};
use crate::config::{Complaint, Complaints, Document, Pem, Web};

/// Far above any certificate chain.
const LARGEST: u64 = 1 << 20;

/// How long a file system may take before what was read last stands.
const PATIENCE: Duration = Duration::from_secs(1);

/// On a connection that stays, the files are not looked at more often than this.
const LATELY: Duration = Duration::from_secs(1);

/// A web config file that is looked at again and again; or none.
#[derive(Debug)]
pub struct WebConfig {
    path: Option<PathBuf>,
    door: Mutex<(Arc<Door>, Instant)>,
    last: Arc<tokio::sync::Mutex<Last>>,
    /// What scopes may name.
    wanted: Mutex<Option<Arc<Wanted>>>,
}

/// What the last look found.
#[derive(Default)]
struct Last {
    good: Option<Found>,
    refused: Option<String>,
}

impl std::fmt::Debug for Last {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Last").finish_non_exhaustive()
    }
}

/// The bytes that all depends on.
#[derive(PartialEq, Eq)]
struct Found {
    text: String,
    papers: Option<Papers>,
}

impl WebConfig {
    /// Without a file: plain HTTP, open to everybody.
    pub fn none() -> Self {
        Self {
            path: None,
            door: Mutex::new((Arc::new(Door::open()), Instant::now())),
            last: Arc::default(),
            wanted: Mutex::default(),
        }
    }

    /// Reads the file for the first time.
    ///
    /// # Errors
    /// Every complaint about it, or about the files that it names.
    pub fn load(path: &Path) -> Result<Self, Complaints> {
        let (web, found) = read(path)?;
        let door = build(&web, &found)?;
        let last = Last {
            good: Some(found),
            refused: None,
        };
        Ok(Self {
            path: Some(path.to_owned()),
            door: Mutex::new((Arc::new(door), Instant::now())),
            last: Arc::new(tokio::sync::Mutex::new(last)),
            wanted: Mutex::default(),
        })
    }

    /// `https` or `http`, as of the last look.
    pub fn scheme(&self) -> &'static str {
        match self.last_seen().0.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// What a file asks for, whatever becomes of the files that it names.
    ///
    /// # Errors
    /// Every complaint about it.
    pub fn scheme_in(path: &Path) -> Result<&'static str, Complaints> {
        let (web, _) = read_web(path)?;
        Ok(web.tls.map_or("http", |_| "https"))
    }

    /// From now on that config is in force: a scope that names a business which it does not is
    /// warned of, now and whenever the file changes.
    pub fn serves(&self, wanted: Arc<Wanted>) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(wanted);
        self.warn_of_strangers();
    }

    fn warn_of_strangers(&self) {
        let wanted = self
            .wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(wanted) = wanted else { return };
        for (user, business) in self.last_seen().0.strangers(&wanted.businesses) {
            tracing::warn!(
                user,
                business,
                "business_scopes names a business that the config does not: that user sees nothing of it"
            );
        }
    }

    /// Looks at the files, and takes up what has changed.
    ///
    /// # Errors
    /// What is wrong with them, while what was right before stands.
    pub async fn look(&self) -> Result<(), String> {
        let Some(path) = self.path.clone() else {
            return Ok(());
        };
        let mut last = Arc::clone(&self.last).lock_owned().await;
        // The lock goes along: while a file system hangs, one thread waits for it.
        let looked = spawn_blocking(move || {
            let seen = see(&path, &mut last);
            drop(last);
            seen
        });
        let seen = looked.await.map_err(|error| error.to_string())?;
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        door.1 = Instant::now();
        if let Some(new) = seen? {
            door.0 = Arc::new(new);
            drop(door);
            tracing::info!("the web config was taken up");
            self.warn_of_strangers();
        }
        Ok(())
    }

    /// How who connects now is met.
    pub(super) async fn now(&self) -> Arc<Door> {
        if self.path.is_some() {
            // What is wrong was logged, and what takes too long does not hold the door shut.
            drop(timeout(PATIENCE, self.look()).await);
        }
        self.last_seen().0
    }

    /// The same for a request on a connection that stays, at most a moment old.
    pub(super) async fn lately(&self) -> Arc<Door> {
        let (door, at) = self.last_seen();
        if self.path.is_none() || at.elapsed() < LATELY {
            return door;
        }
        self.now().await
    }

    fn last_seen(&self) -> (Arc<Door>, Instant) {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&door.0), door.1)
    }
}

/// The door that the files make, where they have changed. What is wrong is logged once.
fn see(path: &Path, last: &mut Last) -> Result<Option<Door>, String> {
    let seen = read(path).and_then(|(web, found)| {
        if last.good.as_ref() == Some(&found) {
            return Ok(None);
        }
        Ok(Some((build(&web, &found)?, found)))
    });
    match seen {
        Ok(changed) => {
            last.refused = None;
            Ok(changed.map(|(door, found)| {
                last.good = Some(found);
                door
            }))
        }
        Err(complaints) => {
            let refused = complaints.to_string();
            if last.refused.as_ref() != Some(&refused) {
                tracing::error!(
                    error = refused,
                    "the web config was not taken up; the old one stands"
                );
                last.refused = Some(refused.clone());
            }
            Err(refused)
        }
    }
}

fn read_web(path: &Path) -> Result<(Web, String), Complaints> {
    let name = path.display().to_string();
    let text = bytes(path)
        .and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| "this is no text in UTF-8".to_owned())
        })
        .map_err(|trouble| {
            let text = format!("{trouble}; name another with --web.config.file");
            Complaints::from(Complaint::about(&name, text))
        })?;
    let document = Document {
        name,
        text: text.clone(),
    };
    Ok((Web::parse(document)?, text))
}

fn read(path: &Path) -> Result<(Web, Found), Complaints> {
    let (web, text) = read_web(path)?;
    let papers = match &web.tls {
        None => None,
        Some(tls) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            let pem = |key: &str, pem: &Pem| match pem {
                Pem::Inline(text) => Ok(text.clone().into_bytes()),
                Pem::File(file) => bytes(&folder.join(file)).map_err(|trouble| {
                    let text = format!("{}: {trouble}; make it readable", file.display());
                    web.complain(&format!("tls_server_config.{key}_file"), text)
                }),
            };
            Some(Papers {
                cert: pem("cert", &tls.cert)?,
                key: pem("key", &tls.key)?,
                client_ca: tls
                    .client_ca
                    .as_ref()
                    .map_or(Ok(Vec::new()), |ca| pem("client_ca", ca))?,
            })
        }
    };
    Ok((web, Found { text, papers }))
}

fn build(web: &Web, found: &Found) -> Result<Door, Complaints> {
    let tls = match (&web.tls, &found.papers) {
        (Some(tls), Some(papers)) => {
            let config = tls::server_config(tls, papers).map_err(|(key, trouble)| {
                let given = match key {
                    "cert_file" => Some(&tls.cert),
                    "key_file" => Some(&tls.key),
                    "client_ca_file" => tls.client_ca.as_ref(),
                    _ => None,
                };
                let key = match given {
                    Some(Pem::Inline(_)) => key.trim_end_matches("_file"),
                    _ => key,
                };
                web.complain(&format!("tls_server_config.{key}"), trouble)
            })?;
            Some(config)
        }
        _ => None,
    };
    for warning in &web.warnings {
        tracing::warn!(warning, "not all of the web config is done");
    }
    Door::new(web, tls).map_err(|trouble| web.complain("", trouble))
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > LARGEST => Err("this file is too large".to_owned()),
        Ok(_) => Ok(bytes),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "this file may not be read by this user".to_owned(),
            _ => error.to_string(),
        }),
    }
}
