//! Process entry point: parses the command line, starts logging, installs signal handlers, runs the subcommand, and maps
//! its result to an exit status.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressDrawTarget;
use marketing_messages_exporter::cli::{self, Cli, Command};
use marketing_messages_exporter::commands::{
    CommandError, backfill, check, demo, discover, healthcheck, new_status_line, once, serve,
};
use marketing_messages_exporter::platform::logging::LogLevelHandle;
use marketing_messages_exporter::platform::{ListenFds, clock, logging};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// Maximum time that blocking threads may take to finish after everything else has ended.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum time from a signal to the end of a serving process; half a second below the documented limit.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(4_500);

/// Refreshing the metrics page temporarily needs about half of the memory in use. glibc retains such memory once per
/// thread that has allocated it: with 1,000 campaigns, the highest use is 36 MB with glibc and 24 MB with dlmalloc, which
/// decides whether a memory limit of 32 MB suffices. musl's allocator is slow.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Prevents core dumps, which would contain access tokens. Also keeps other processes of the same user from reading the
/// memory.
fn disable_core_dumps() {
    // Both fail only in unusual sandboxes, where the limit of the service manager remains.
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, no_core);
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

fn main() -> ExitCode {
    disable_core_dumps();
    let cli = match cli::parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        // Also `--help` and `--version`, which exit with status 0.
        Err(error) => error.exit(),
    };
    // Before any thread is started, because threads share the environment.
    let sockets = cli.flags.systemd_socket.then(ListenFds::from_env);
    #[cfg(debug_assertions)]
    set_test_clock();
    let logging_started = logging::start(cli.flags.log_level, cli.flags.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match (logging_started, runtime) {
        (Ok(log_level), Ok(runtime)) => {
            let result = runtime.block_on(async {
                change_log_level_on_signals(log_level)?;
                run(cli, sockets).await
            });
            // The results of blocking threads that are still running are no longer needed.
            runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
            result
        }
        (Err(error), _) => Err(CommandError::Failed(format!(
            "cannot start logging: {error}"
        ))),
        (_, Err(error)) => Err(CommandError::Failed(format!(
            "cannot start the async runtime: {error}"
        ))),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // Plain text for the user, independent of the log format.
            eprintln!("{error}");
            error.exit_code()
        }
    }
}

async fn run(cli: Cli, sockets: Option<ListenFds>) -> Result<ExitCode, CommandError> {
    let flags = &cli.flags;
    match &cli.command {
        None => {
            let stop = bounded_stop_signal()?;
            serve::run(flags, sockets, hangup_signals()?, stop).await?;
        }
        Some(Command::Demo(options)) => {
            demo::run(flags, options, sockets, bounded_stop_signal()?, print).await?
        }
        Some(Command::Check(options)) => {
            let show_status = status_line();
            let result = check::run(flags, options, &show_status).await;
            show_status("");
            if let Err(error) = &result {
                print(&check::refusal(flags, options, error))?;
            }
            return print_result(result?);
        }
        Some(Command::Backfill(options)) => {
            let env = backfill::BackfillEnv {
                stop: stop_signal()?,
                draw_target: ProgressDrawTarget::stderr(),
                now: clock::now,
                out: std::io::stdout(),
            };
            let complete = backfill::run(flags, options, env).await?;
            return Ok(ExitCode::from(u8::from(!complete)));
        }
        Some(Command::Healthcheck) => healthcheck::run(flags).await?,
        Some(Command::Once(options)) => return print_result(once::run(flags, options).await?),
        Some(Command::Discover(options)) => {
            let show_status = status_line();
            let result = discover::run(flags, options, &show_status).await;
            show_status("");
            return print_result(result?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the output of a command and returns exit status 0, or 1 if the output is incomplete or reports a failure.
fn print_result((text, succeeded): (String, bool)) -> Result<ExitCode, CommandError> {
    print(&text)?;
    Ok(ExitCode::from(u8::from(!succeeded)))
}

/// Returns a function that replaces the status line on standard error if that is a terminal; an empty text removes the
/// line.
fn status_line() -> impl Fn(&str) {
    let line = new_status_line(ProgressDrawTarget::stderr());
    move |text| match text {
        "" => line.finish_and_clear(),
        _ => line.set_message(text.to_owned()),
    }
}

/// Prints to standard output. A closed pipe (`| head`) is not an error.
fn print(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CommandError::Failed(
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Returns a channel that receives one message per SIGHUP. The capacity is one: signals during a reload cause one more
/// reload, not several.
fn hangup_signals() -> Result<mpsc::Receiver<()>, CommandError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(signal_error)?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // Fails if a reload is already pending.
            let _ = sender.try_send(());
        }
    });
    Ok(receiver)
}

/// Increases the log level by one step with each SIGUSR1, and resets it with SIGUSR2.
fn change_log_level_on_signals(mut log_level: LogLevelHandle) -> Result<(), CommandError> {
    let mut increase = signal(SignalKind::user_defined1()).map_err(signal_error)?;
    let mut reset = signal(SignalKind::user_defined2()).map_err(signal_error)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = increase.recv() => log_level.increase(),
                Some(()) = reset.recv() => log_level.reset(),
                else => return,
            }
        }
    });
    Ok(())
}

/// Exit status after a second signal, as a shell reports it: 128 plus the number of the signal.
const EXIT_STATUS_SIGNAL: i32 = 128;

/// Returns a future that completes at the first SIGTERM or SIGINT. A second one ends the process immediately, without
/// a core dump.
fn stop_signal() -> Result<impl Future<Output = ()>, CommandError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(signal_error)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signal_error)?;
    let mut next_signal = async move || {
        tokio::select! {
            _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    };
    Ok(async move {
        next_signal().await;
        tokio::spawn(async move {
            let signal = next_signal().await;
            #[allow(
                clippy::disallowed_methods,
                reason = "this is main, and whatever hangs must not delay the exit"
            )]
            std::process::exit(EXIT_STATUS_SIGNAL + signal);
        });
    })
}

/// Returns a future that completes at the first SIGTERM or SIGINT. The process ends at most `SHUTDOWN_LIMIT` later, also
/// while the command starts, a file hangs or the memory of many businesses is released.
fn bounded_stop_signal() -> Result<impl Future<Output = ()>, CommandError> {
    let stop = stop_signal()?;
    let (sender, stopped) = oneshot::channel();
    tokio::spawn(async move {
        stop.await;
        // Fails if the command has ended.
        let _ = sender.send(());
        // Not a task, because tasks end with the runtime.
        std::thread::spawn(|| {
            std::thread::sleep(SHUTDOWN_LIMIT);
            #[allow(
                clippy::disallowed_methods,
                reason = "this is main, and whatever hangs must not delay the exit"
            )]
            std::process::exit(0);
        });
    });
    Ok(async move {
        // An error means that the task has ended, as after a signal.
        let _ = stopped.await;
    })
}

fn signal_error(error: std::io::Error) -> CommandError {
    CommandError::Failed(format!("cannot install signal handlers: {error}"))
}

/// Sets the clock of tests that run the binary and need a certain date: `TEST_CLOCK_OFFSET_MS` is added to the time of
/// the system. The file `TEST_CLOCK_FILE` contains such an offset that changes while the binary runs. Not in release
/// builds.
#[cfg(debug_assertions)]
fn set_test_clock() {
    let set_offset = |millis: &str| {
        if let Ok(millis) = millis.parse() {
            clock::set_offset(jiff::SignedDuration::from_millis(millis));
        }
    };
    if let Ok(offset) = std::env::var("TEST_CLOCK_OFFSET_MS") {
        set_offset(&offset);
    }
    if let Ok(path) = std::env::var("TEST_CLOCK_FILE") {
        std::thread::spawn(move || {
            loop {
                set_offset(&std::fs::read_to_string(&path).unwrap_or_default());
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    }
}
