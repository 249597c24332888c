//! Writes what a package has beside the program, from the same source as the flags: man pages, and completions
//! for bash and zsh. Not for fish: what clap_complete writes for it relies on names of flags without dots.
//!
//! usage: `cargo run --example papers -- FOLDER`
//!
//! The man pages carry the day that `SOURCE_DATE_EPOCH` names, or none, so that the same source makes the same files.

use std::error::Error;
use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use jiff::Timestamp;
use marketing_messages_exporter::cli::Cli;

const NAME: &str = "marketing-messages-exporter";

/// What it is, in more words than `--help` begins with.
const DESCRIPTION: &str = "\
Asks Meta's Insights API every 15 minutes for delivery, reads, clicks, spend, conversions and return on ad spend of \
message campaigns, of many businesses each with its own access token, and serves them as metrics for Prometheus.\n\n\
Without a subcommand it serves. Every flag below stands before or after the subcommand.";

/// What no flag says of itself: files, signals, exit status, environment, examples.
const SECTIONS: &str = include_str!("sections.roff");

fn main() -> Result<(), Box<dyn Error>> {
    let Some(folder) = std::env::args_os().nth(1) else {
        return Err("usage: papers FOLDER".into());
    };
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let date = day()?;
    let command = Cli::command();
    fs::write(folder.join(format!("{NAME}.1")), program(&date)?)?;
    for subcommand in command.get_subcommands() {
        let name = format!("{NAME}-{}", subcommand.get_name());
        let page = folder.join(format!("{name}.1"));
        fs::write(page, about(subcommand.clone(), name, &date)?)?;
    }
    for shell in [Shell::Bash, Shell::Zsh] {
        let path = clap_complete::generate_to(shell, &mut Cli::command(), NAME, folder)?;
        fs::write(&path, mended(&fs::read_to_string(&path)?))?;
    }
    Ok(())
}

/// clap_complete 4.6 calls the subcommands of a program with a hyphen in its name by two names in bash
/// (clap issue 6421), so that none of their flags is offered. Here they get the one that is looked for.
fn mended(script: &str) -> String {
    script.replace(&NAME.replace('-', "__subcmd__"), &NAME.replace('-', "__"))
}

/// The page of the program.
fn program(date: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut page = Vec::new();
    let man = man(
        Cli::command()
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

/// The page of a subcommand: its own flags; those that all have are on the program's page.
fn about(subcommand: clap::Command, name: String, date: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut page = Vec::new();
    let usage = name.replacen(&format!("{NAME}-"), &format!("{NAME} "), 1);
    let man = man(subcommand.display_name(name).bin_name(usage), date);
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let rest = format!(
        ".SH \"SEE ALSO\"\n.BR {NAME} (1),\nwhich has the flags that every command takes.\n"
    );
    page.extend_from_slice(rest.as_bytes());
    Ok(page)
}

fn man(command: clap::Command, date: &str) -> Man {
    Man::new(command)
        .manual("User Commands")
        .source(format!("{NAME} {}", env!("CARGO_PKG_VERSION")))
        .date(date)
}

fn day() -> Result<String, Box<dyn Error>> {
    let Ok(seconds) = std::env::var("SOURCE_DATE_EPOCH") else {
        return Ok(String::new());
    };
    let moment = Timestamp::from_second(seconds.parse()?)?;
    Ok(moment.strftime("%Y-%m-%d").to_string())
}
