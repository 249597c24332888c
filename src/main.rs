//! The process: reads arguments, starts logging, waits for signals, exits.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use marketing_messages_exporter::cli::{Cli, Command};
use marketing_messages_exporter::commands::{
    Failure, backfill, check, demo, discover, healthcheck, once, serve,
};
use marketing_messages_exporter::logging;
use marketing_messages_exporter::poll::clock;
use marketing_messages_exporter::systemd::Sockets;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// How long threads may take to end once everything else has.
const LAST_THREADS: Duration = Duration::from_millis(500);

/// A refresh needs for a moment about half of what is held. glibc keeps that, once for each thread
/// that ever read or rendered; musl's allocator is slow. This one is the same everywhere.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Before there are threads, which share the environment.
    let sockets = cli.flags.systemd_socket.then(Sockets::inherited);
    let started = logging::start(cli.flags.log_level, cli.flags.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match (started, runtime) {
        (Ok(()), Ok(runtime)) => {
            let ended = runtime.block_on(run(cli, sockets));
            // Whatever still runs on a thread of its own writes to nobody.
            runtime.shutdown_timeout(LAST_THREADS);
            ended
        }
        (Err(error), _) => Err(Failure::Failed(format!("logging: {error}"))),
        (_, Err(error)) => Err(Failure::Failed(format!("threads: {error}"))),
    };
    match ended {
        Ok(code) => code,
        Err(failure) => {
            // Whoever started it reads this, in whichever format the logs are.
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}

async fn run(cli: Cli, sockets: Option<Sockets>) -> Result<ExitCode, Failure> {
    let flags = &cli.flags;
    match &cli.command {
        None => serve::run(flags, sockets, hangups()?, stop()?).await?,
        Some(Command::Demo(options)) => demo::run(flags, options, sockets, stop()?, print).await?,
        Some(Command::Check(options)) => {
            let checked = check::run(flags, options, progress).await;
            progress("");
            return told(checked?);
        }
        Some(Command::Backfill(options)) => {
            let around = backfill::Around {
                stop: stop()?,
                show: progress,
                watched: std::io::stderr().is_terminal(),
                now: clock::now,
                out: std::io::stdout(),
            };
            let complete = backfill::run(flags, options, around).await?;
            return Ok(ExitCode::from(u8::from(!complete)));
        }
        Some(Command::Healthcheck) => healthcheck::run(flags).await?,
        Some(Command::Once(options)) => return told(once::run(flags, options).await?),
        Some(Command::Discover(options)) => {
            let discovered = discover::run(flags, options, progress).await;
            progress("");
            return told(discovered?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what a command brought; its exit status says whether that is all of it.
fn told((text, complete): (String, bool)) -> Result<ExitCode, Failure> {
    print(&text)?;
    Ok(ExitCode::from(u8::from(!complete)))
}

/// Shows what a command is at, to somebody who watches: one line, written over and over.
fn progress(text: &str) {
    let mut err = std::io::stderr().lock();
    if err.is_terminal() {
        // Nothing depends on its being seen.
        let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
    }
}

/// Prints what was asked for. A reader that has had enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// One message a SIGHUP. While one reload is under way, one more waits; more would be the same.
fn hangups() -> Result<mpsc::Receiver<()>, Failure> {
    let mut hangup = signal(SignalKind::hangup())
        .map_err(|error| Failure::Failed(format!("signals: {error}")))?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let _ = sender.try_send(());
        }
    });
    Ok(receiver)
}

/// Until the first SIGTERM or SIGINT; a second one ends the process at once.
fn stop() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |error| Failure::Failed(format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        next().await;
        tokio::spawn(async move {
            next().await;
            std::process::abort();
        });
    })
}
