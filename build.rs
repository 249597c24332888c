//! What `build_info` says of the build: compiler and revision.

use std::path::Path;
use std::process::Command;

fn main() {
    // The log of HEAD gets a line with every commit and checkout; in a worktree it stands elsewhere.
    if let Some(log) = said(Command::new("git").args(["rev-parse", "--git-path", "logs/HEAD"]))
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rerun-if-env-changed=REVISION");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = said(Command::new(compiler).arg("--version"));
    let rustversion = rustc.as_deref().and_then(|text| text.split(' ').nth(1));
    // A package is built without its repository: then whoever builds it says the revision.
    let revision = std::env::var("REVISION")
        .ok()
        .or_else(|| said(Command::new("git").args(["rev-parse", "--short=12", "HEAD"])));
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

fn said(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
