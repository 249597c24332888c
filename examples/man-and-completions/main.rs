//! Generates man pages and shell completions (bash, zsh) for packages from the command line definition.
//!
//! Usage: `cargo run --example man-and-completions -- FOLDER`
//!
//! For reproducible output, the date of the man pages is `SOURCE_DATE_EPOCH`, or absent if that is not set. Completions
//! for fish are not generated, because the output of clap_complete for fish does not support dots in flag names.

use std::error::Error;
use std::fs;
use std::path::Path;

use clap_complete::Shell;
use clap_mangen::Man;
use jiff::Timestamp;
use marketing_messages_exporter::cli;

const NAME: &str = "marketing-messages-exporter";

/// Description on the main man page; longer than the one of `--help`.
const DESCRIPTION: &str = "\
Queries Meta's Insights API every 15 minutes for delivery, reads, clicks, spend, conversions and return on ad spend \
of message campaigns, and exposes them as Prometheus metrics. Supports many businesses, each with its own access \
token.\n\n\
Without a subcommand, the exporter serves metrics. The flags below can be given before or after the subcommand.";

/// Sections that are not derived from the flags: files, signals, exit status, environment, examples.
const SECTIONS: &str = include_str!("sections.roff");

fn main() -> Result<(), Box<dyn Error>> {
    let Some(folder) = std::env::args_os().nth(1) else {
        return Err("usage: man-and-completions FOLDER".into());
    };
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let date = build_date()?;
    let command = cli::command();
    fs::write(folder.join(format!("{NAME}.1")), main_page(&date)?)?;
    for subcommand in command.get_subcommands() {
        let name = format!("{NAME}-{}", subcommand.get_name());
        let page = folder.join(format!("{name}.1"));
        fs::write(page, subcommand_page(subcommand.clone(), name, &date)?)?;
    }
    for shell in [Shell::Bash, Shell::Zsh] {
        let path = clap_complete::generate_to(shell, &mut cli::command(), NAME, folder)?;
        fs::write(&path, fix_bash_subcommands(&fs::read_to_string(&path)?))?;
    }
    Ok(())
}

/// Works around clap issue 6421: if the program name contains a hyphen, clap_complete 4.6 uses two different names
/// for each subcommand in bash, so that the flags of subcommands are not completed. Replaces one of them by the name
/// that the script looks up.
fn fix_bash_subcommands(script: &str) -> String {
    script.replace(&NAME.replace('-', "__subcmd__"), &NAME.replace('-', "__"))
}

/// Renders the man page of the program.
fn main_page(date: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut page = Vec::new();
    let man = man(
        cli::command()
            .long_about(DESCRIPTION)
            .disable_help_subcommand(true),
        date,
    );
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    man.render_subcommands_section(&mut page)?;
    page.extend_from_slice(SECTIONS.as_bytes());
    Ok(page)
}

/// Renders the man page of a subcommand with its own flags; the common flags are on the main page.
fn subcommand_page(
    subcommand: clap::Command,
    name: String,
    date: &str,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut page = Vec::new();
    let usage = name.replacen(&format!("{NAME}-"), &format!("{NAME} "), 1);
    let man = man(subcommand.display_name(name).bin_name(usage), date);
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let see_also = format!(
        ".SH \"SEE ALSO\"\n.BR {NAME} (1),\nwhich describes the flags that all subcommands accept.\n"
    );
    page.extend_from_slice(see_also.as_bytes());
    Ok(page)
}

fn man(command: clap::Command, date: &str) -> Man {
    Man::new(command)
        .manual("User Commands")
        .source(format!("{NAME} {}", env!("CARGO_PKG_VERSION")))
        .date(date)
}

/// Returns the date of `SOURCE_DATE_EPOCH`, or an empty string if it is not set.
fn build_date() -> Result<String, Box<dyn Error>> {
    let Ok(seconds) = std::env::var("SOURCE_DATE_EPOCH") else {
        return Ok(String::new());
    };
    let timestamp = Timestamp::from_second(seconds.parse()?)?;
    Ok(timestamp.strftime("%Y-%m-%d").to_string())
}
