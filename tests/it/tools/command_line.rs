//! The command line: flags without effect, suggestions, empty values, and the demo's own flags.

use marketing_messages_exporter::cli::{command, parse_from};
use marketing_messages_exporter::config::{Config, NamedDocument};

use crate::process::Program;

fn error(arguments: &[&str]) -> String {
    let words = [&["exporter"], arguments].concat();
    match parse_from(words) {
        Ok(_) => panic!("{arguments:?} should be refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn flag_without_effect_is_refused_before_and_after_the_subcommand() {
    for (flag, subcommand) in [
        ("--state.file=s", "demo"),
        ("--config.file=c", "demo"),
        ("--web.enable-lifecycle", "demo"),
        ("--state.file=s", "once"),
        ("--web.listen-address=:1", "once"),
        ("--web.config.file=w", "discover"),
        ("--shard.index=1", "discover"),
        ("--state.file=s", "backfill"),
        ("--web.telemetry-path=/m", "check"),
    ] {
        let needed: &[&str] = if subcommand == "backfill" {
            &["--since=2026-05-01", "--until=2026-05-02"]
        } else {
            &[]
        };
        let name = flag.split('=').next().unwrap_or(flag);
        for words in [[flag, subcommand], [subcommand, flag]] {
            let text = error(&[&words[..], needed].concat());
            let expected = format!("{name} has no effect on `{subcommand}`");
            assert!(text.contains(&expected), "{words:?}: {text}");
        }
    }
    parse_from(["exporter", "healthcheck", "--state.file=s"]).expect("healthcheck accepts all");
}

#[test]
fn help_lists_only_flags_with_an_effect() {
    let mut command = command();
    command.build();
    for (subcommand, present, absent) in [
        ("check", "--state.file", "--web.listen-address"),
        ("once", "--shard.index", "--state.file"),
        ("discover", "--output.file", "--web.config.file"),
        ("backfill", "--since", "--web.enable-lifecycle"),
        ("demo", "--web.listen-address", "--config.file"),
    ] {
        let subcommand = command.find_subcommand_mut(subcommand).expect(subcommand);
        let help = subcommand.render_long_help().to_string();
        assert!(help.contains(present), "{present} should be in: {help}");
        assert!(!help.contains(absent), "{absent} should not be in: {help}");
    }
}

#[test]
fn mistyped_flag_has_suggestion() {
    for (arguments, expected) in [
        (&["--config=config.yaml"][..], "--config.file"),
        (
            &["-config.file=config.yaml"],
            "two dashes: write `--config.file`",
        ),
        (&["--state-file=s"], "--state.file"),
        (&["serve"], "no subcommand is needed"),
        (&["discover", "--access-token-fil=x"], "--access-token-file"),
    ] {
        let text = error(arguments);
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
}

#[test]
fn empty_value_counts_as_not_given() {
    let words = [
        "exporter",
        "--state.file=",
        "--web.config.file=",
        "--config.file=",
    ];
    let flags = parse_from(words)
        .expect("empty values should be accepted")
        .flags;
    assert_eq!((flags.state_file, flags.web_config_file), (None, None));
    assert_eq!(flags.config_file.to_str(), Some("config.yaml"));
    parse_from(["exporter", "once", "--state.file="]).expect("an empty flag has no effect");
}

#[test]
fn demo_listens_on_loopback_by_default() {
    let addresses = |words: &[&str]| {
        let cli = parse_from(words.iter().copied()).expect("the command line is valid");
        cli.flags.listen_addresses
    };
    assert_eq!(addresses(&["exporter"]), [":10919"]);
    assert_eq!(addresses(&["exporter", "demo"]), ["127.0.0.1:10919"]);
    let given = ["exporter", "demo", "--web.listen-address=:1"];
    assert_eq!(addresses(&given), [":1"]);
}

#[tokio::test]
async fn demo_print_config_prints_a_valid_config() {
    let (code, text, log) = Program::bare(&["demo", "--print-config"]).end().await;
    assert_eq!(code, Some(0), "{log:#?}");
    let name = "demo".to_owned();
    Config::parse(NamedDocument { name, text }, Vec::new()).expect("the config should be valid");
}

#[tokio::test]
async fn demo_invalid_fault_is_refused() {
    for (fault, expected) in [
        ("hang~0", "from 1 to 100"),
        ("hang~500", "from 1 to 100"),
        ("hang*0", "at least 1"),
        ("hang@endpoint:foo", "unknown endpoint"),
        (
            "hang@business:typo",
            "unknown business `typo`; use a name of",
        ),
    ] {
        let flag = format!("--fault={fault}");
        let (code, _, log) = Program::bare(&["demo", &flag]).end().await;
        assert_eq!(code, Some(2), "{fault}");
        assert!(
            log.iter().any(|line| line.contains(expected)),
            "{fault}: {log:#?}"
        );
    }
}
