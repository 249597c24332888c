//! The state file: the last snapshot, kept across restarts.
//!
//! A header line that names the layout, the snapshot, and a CRC-32 of all before it. The file is
//! replaced as a whole or not at all, so that a crash at any moment leaves the old one or the new
//! one; and it is believed as a whole or not at all. It holds no secret: a snapshot has none.

mod kept;
mod sources;
mod wire;
mod words;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use self::kept::Kept;
use self::wire::{In, LARGEST, Out};
use crate::plan::Plan;
use crate::snapshot::Snapshot;

/// What every layout's header begins with; its number and the line's end follow.
const MAGIC: &str = "marketing-messages-exporter state ";

/// The layout of all behind the header. Whoever changes one raises the other: files of another
/// layout are set aside, which costs one round of polls.
const LAYOUT: u64 = 2;

/// The length of the checksum, in bytes.
const CHECKSUM: u64 = 4;

/// Why a state file is not believed; each goes on after `<file>: `.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The system does not let us read it.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// Somebody else wrote it.
    #[error("it is not a state file of this exporter")]
    Foreign,
    /// Another release wrote it.
    #[error("another release wrote it: it has layout {0}, this release knows {LAYOUT}")]
    Layout(u64),
    /// It was cut short, or changed.
    #[error("it is torn or altered: its checksum does not match")]
    Torn,
    /// It is, or would become, more than memory should hold.
    #[error("it is too large to be a state file")]
    TooLarge,
    /// Its checksum matches, and no snapshot can be made of it.
    #[error("it makes no sense: {0}")]
    Garbled(&'static str),
}

/// What a state file told: what was known when it was written.
#[derive(Debug)]
pub struct Restored(Snapshot);

impl Restored {
    /// What of it is still known of that plan's sources: see [`Snapshot::adopt`].
    #[must_use]
    pub fn into_snapshot(self, plan: &Plan, now: Timestamp) -> Snapshot {
        Snapshot::adopt(plan, &self.0, now)
    }
}

/// Replaces the state file. Only its owner may read it. Each file belongs to one exporter.
///
/// # Errors
/// Where the directory cannot be written, is full, or something that is no file stands there. The
/// old file is then as it was.
pub fn write(path: &Path, snapshot: &Snapshot) -> io::Result<()> {
    // A link stays a link: what it points to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    refuse_special(path)?;
    let beside = with_ending(path, ".new");
    // What a crash left behind.
    remove(&beside)?;
    let written = fill(&beside, snapshot).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The error that counts is the first one.
        let _ = remove(&beside);
    }
    written?;
    sync_directory(path);
    Ok(())
}

/// Reads the state file; `None` where there is none.
///
/// # Errors
/// When the file is not believed. Nothing of it is then used, and the caller does best to
/// [`set_aside`] it, say so, and begin anew.
pub fn read(path: &Path) -> Result<Option<Restored>, Refused> {
    // Asked before it is opened, since opening a pipe waits for its writer.
    let length = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Refused::Unreadable(error)),
        Ok(metadata) if !metadata.is_file() => return Err(Refused::Foreign),
        Ok(metadata) if metadata.len() > LARGEST => return Err(Refused::TooLarge),
        Ok(metadata) => metadata.len(),
    };
    let mut file = File::open(path).map_err(Refused::Unreadable)?;
    check_header(&mut file)?;
    let checked = length.checked_sub(CHECKSUM).ok_or(Refused::Torn)?;
    let header = header().len() as u64;
    check_sum(&mut file, checked)?;
    let body = checked.checked_sub(header).ok_or(Refused::Torn)?;
    file.seek(SeekFrom::Start(header))
        .map_err(Refused::Unreadable)?;
    let snapshot = In::begin(&mut BufReader::new(file), body).only()?;
    Ok(Some(Restored(snapshot)))
}

/// Renames a refused state file to `<name>.refused`, over an older one, for somebody to look at.
/// Gives its new path.
///
/// # Errors
/// Where it is gone, is no file, or its directory cannot be written.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    refuse_special(path)?;
    let aside = with_ending(path, ".refused");
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Writes a file that nobody looks at yet, and makes sure that it is on the disk.
fn fill(path: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // Anew: what somebody else put there is neither followed nor filled.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let mut out = Out::begin(&mut file, header().as_bytes());
    snapshot.put(&mut out);
    out.finish()?;
    file.sync_all()
}

/// Makes the new name outlast a power cut, where the file system can. Where it cannot, the older
/// file may come back, which is whole too.
fn sync_directory(path: &Path) {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let directory = File::open(parent.unwrap_or(Path::new(".")));
    let _ = directory.and_then(|directory| directory.sync_all());
}

fn header() -> String {
    format!("{MAGIC}{LAYOUT}\n")
}

/// Tells whose file it is, and of which layout, before anything else of it is looked at.
fn check_header(file: &mut File) -> Result<(), Refused> {
    const LONGEST: u64 = 64;
    let mut start = Vec::new();
    let read = file.take(LONGEST).read_to_end(&mut start);
    read.map_err(Refused::Unreadable)?;
    let Some(behind) = start.strip_prefix(MAGIC.as_bytes()) else {
        return Err(match MAGIC.as_bytes().starts_with(&start) {
            true => Refused::Torn,
            false => Refused::Foreign,
        });
    };
    let line = behind.split(|byte| *byte == b'\n').next();
    let number = line.and_then(|line| std::str::from_utf8(line).ok()?.parse().ok());
    match number {
        Some(LAYOUT) => Ok(()),
        Some(layout) if behind.contains(&b'\n') => Err(Refused::Layout(layout)),
        _ => Err(Refused::Torn),
    }
}

/// Checks that the file is as it was written, before anything is made of it: its first `checked`
/// bytes have the checksum that follows.
fn check_sum(file: &mut File, checked: u64) -> Result<(), Refused> {
    file.rewind().map_err(Refused::Unreadable)?;
    let mut checksum = crc32fast::Hasher::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut left = file.take(checked);
    loop {
        match left.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => checksum.update(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Refused::Unreadable(error)),
        }
    }
    let mut written = [0; 4];
    let read = left.into_inner().read_exact(&mut written);
    match read.map(|()| u32::from_le_bytes(written) == checksum.finalize()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refused::Torn),
        Err(error) => Err(Refused::Unreadable(error)),
    }
}

/// Devices, pipes and directories are never replaced: `/dev/null` must stay what it is.
fn refuse_special(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "a state file must be an ordinary file",
        )),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
