//! What `build_info` says of the build: compiler and revision.

use std::fs;
use std::path::Path;
use std::process::Command;

/// `cargo package` writes the revision here, for sources that come without their repository.
const PACKAGED: &str = ".cargo_vcs_info.json";

fn main() {
    println!("cargo::rerun-if-env-changed=REVISION");
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = said(Command::new(compiler).arg("--version"));
    let rustversion = rustc.as_deref().and_then(|text| text.split(' ').nth(1));
    // Whoever builds it knows best; an empty word is none.
    let given = std::env::var("REVISION")
        .ok()
        .filter(|word| !word.is_empty());
    let revision = given.or_else(checked_out).or_else(packaged);
    let unknown = "unknown";
    println!(
        "cargo::rustc-env=RUST_VERSION={}",
        rustversion.unwrap_or(unknown)
    );
    println!(
        "cargo::rustc-env=REVISION={}",
        revision.as_deref().unwrap_or(unknown)
    );
}

/// The revision of the repository that this is the root of. A tarball may be unpacked inside of
/// another one, whose revision is none of ours.
fn checked_out() -> Option<String> {
    let root = said(git().args(["rev-parse", "--show-toplevel"]))?;
    let here = fs::canonicalize(".").ok()?;
    if fs::canonicalize(root).ok()? != here {
        return None;
    }
    // The log of HEAD gets a line with every commit and checkout; in a worktree it stands elsewhere.
    if let Some(log) = said(git().args(["rev-parse", "--git-path", "logs/HEAD"]))
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    said(git().args(["rev-parse", "--short=12", "HEAD"]))
}

fn packaged() -> Option<String> {
    let text = fs::read_to_string(PACKAGED).ok()?;
    let (_, rest) = text.split_once("\"sha1\": \"")?;
    let revision = rest.get(..12)?;
    let hexadecimal = revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| revision.to_owned())
}

fn git() -> Command {
    Command::new("git")
}

fn said(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
