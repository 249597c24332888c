//! Passes compiler version and git revision to the crate, for `--version` and the metric `build_info`.

use std::fs;
use std::path::Path;
use std::process::Command;

/// File of a packaged crate in which `cargo package` records the revision.
const VCS_INFO: &str = ".cargo_vcs_info.json";

fn main() {
    println!("cargo::rerun-if-env-changed=REVISION");
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = output_of(Command::new(compiler).arg("--version"));
    let rustversion = rustc.as_deref().and_then(|text| text.split(' ').nth(1));
    // Takes precedence, for builds without a repository such as that of the image. An empty value counts as not set.
    let from_env = std::env::var("REVISION")
        .ok()
        .filter(|value| !value.is_empty());
    let revision = from_env.or_else(git_revision).or_else(packaged_revision);
    let unknown = "unknown";
    println!(
        "cargo::rustc-env=RUST_VERSION={}",
        rustversion.unwrap_or(unknown)
    );
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| unknown.to_owned());
    println!(
        "cargo::rustc-env=PLATFORM={}/{}",
        variable("CARGO_CFG_TARGET_OS"),
        variable("CARGO_CFG_TARGET_ARCH")
    );
    println!(
        "cargo::rustc-env=REVISION={}",
        revision.as_deref().unwrap_or(unknown)
    );
}

/// Returns the revision of HEAD if the package is at the root of a git repository. A tarball may be unpacked inside
/// an unrelated repository, which must not be used.
fn git_revision() -> Option<String> {
    let root = output_of(git().args(["rev-parse", "--show-toplevel"]))?;
    let here = fs::canonicalize(".").ok()?;
    if fs::canonicalize(root).ok()? != here {
        return None;
    }
    // git appends to this log at every commit and checkout. In a worktree it has another path.
    if let Some(log) = output_of(git().args(["rev-parse", "--git-path", "logs/HEAD"]))
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    output_of(git().args(["rev-parse", "--short=12", "HEAD"]))
}

/// Returns the revision that `cargo package` recorded.
fn packaged_revision() -> Option<String> {
    let text = fs::read_to_string(VCS_INFO).ok()?;
    let (_, rest) = text.split_once("\"sha1\": \"")?;
    let revision = rest.get(..12)?;
    let hexadecimal = revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| revision.to_owned())
}

fn git() -> Command {
    Command::new("git")
}

/// Returns the trimmed standard output of a command, or `None` if it fails or prints nothing.
fn output_of(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
