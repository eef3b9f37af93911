//! The `cambist` command: one file a noun.
//!
//! Results go to standard output, as text or, with `--json`, as one document with a `version`; everything else
//! goes to standard error. Exit codes are [`Exit`]'s. Secrets come from files or standard input only.

mod ask;
pub mod audience;
pub mod audit;
pub mod backup;
pub mod check_config;
pub mod clock;
pub mod completions;
pub mod connect;
mod credential;
pub mod dev;
pub mod exchange;
mod exit;
mod failure;
mod input;
pub mod jwt;
pub mod key;
pub mod leak;
pub mod marker;
mod output;
mod page;
pub mod policy;
pub mod restore;
pub mod revoke;
pub mod run;
pub mod scan;
pub mod serve;
pub mod signing_key;
mod time;
mod world;

pub use exit::Exit;
pub use failure::Failure;
pub use output::{Output, Progress};
pub use world::World;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::ffi::OsString;

/// A token-exchange broker for workload identity
#[derive(Debug, Parser)]
#[command(
    name = "cambist",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 ok, 1 fault, 2 usage, 3 refused, 4 unreachable, 5 verification failed, \
                        6 applied and not durable, 78 bad configuration."
)]
pub struct Cli {
    /// Print JSON instead of text: one document, or one record a line where records are listed
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker to try things on, with its own certificates and key
    Dev(dev::DevArgs),
    /// Run the broker
    Serve(serve::ServeArgs),
    /// Say what is wrong with a configuration file, where, and what would be right
    CheckConfig(check_config::CheckConfigArgs),
    /// Exchange a credential for a token
    Exchange(exchange::ExchangeArgs),
    /// Run a command with a token in its environment, or in a file that is kept fresh
    Run(run::RunArgs),
    /// API keys: create, look at, replace, stop
    Key(key::KeyArgs),
    /// Leaked keys: hand one in, and it is revoked
    Leak(leak::LeakArgs),
    /// Find API keys in files and streams; their secrets are not shown
    Scan(scan::ScanArgs),
    /// Audiences: what tokens are for
    Audience(audience::AudienceArgs),
    /// Policies: who may exchange what for which audience
    Policy(policy::PolicyArgs),
    /// The keys that sign tokens
    SigningKey(signing_key::SigningKeyArgs),
    /// Revoke what must no longer be good
    Revoke(Box<revoke::RevokeArgs>),
    /// Revocations in force: list them, take one back
    Marker(marker::MarkerArgs),
    /// Copy the store while it is in use
    Backup(backup::BackupArgs),
    /// Put a backup in the store's place, while the broker is stopped
    Restore(restore::RestoreArgs),
    /// The audit log
    Audit(audit::AuditArgs),
    /// Tokens
    Jwt(jwt::JwtArgs),
    /// The broker's clock
    Clock(clock::ClockArgs),
    /// Print the completions of a shell
    Completions(completions::CompletionsArgs),
}

/// An empty variable is as good as none: that is how people unset one for a single command.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let value = arg.get_env().and_then(std::env::var_os);
            if value.is_some_and(|value| value.is_empty()) {
                arg.env(Resettable::Reset)
            } else {
                arg
            }
        })
        .mut_subcommands(without_empty_variables)
}

/// The parser's complaint in one piece: what is wrong stands in its first paragraph, what would be right after "tip:".
fn complaint(text: &str) -> Failure {
    let text = text.trim_start_matches("error: ");
    let lines = text.split("\n\n").next().unwrap_or_default().lines();
    let what: Vec<&str> = lines.map(str::trim).collect();
    let tips = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("tip: "));
    let tips: Vec<&str> = tips.collect();
    Failure::usage(what.join(" ")).next(tips.join("; "))
}

impl Cli {
    /// Parses a command line, the program's name first.
    ///
    /// # Errors
    /// The exit code, once help, version or the complaint has been printed.
    pub fn parse_from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, Exit> {
        let args: Vec<OsString> = args.into_iter().collect();
        let ours = || args.iter().take_while(|arg| *arg != "--");
        // Looked for by hand, since a line that does not parse has no flags.
        let output = Output::new(ours().any(|arg| arg == "--json"));
        // Before anything can repeat it, into terminals and build logs: the parser's complaint, or a command's.
        if ours().any(|arg| input::holds_credential(&arg.to_string_lossy())) {
            output.fail(&input::pasted());
            return Err(Exit::Usage);
        }
        let parsed = without_empty_variables(Self::command()).try_get_matches_from(args);
        let parsed = parsed.and_then(|matches| Self::from_arg_matches(&matches));
        parsed.map_err(|error| {
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            if output.is_json() && !asked {
                output.fail(&complaint(&error.to_string()));
                return Exit::Usage;
            }
            // Nobody is left to tell when this fails.
            let _ = error.print();
            if asked { Exit::Ok } else { Exit::Usage }
        })
    }

    /// Where results go.
    #[must_use]
    pub fn output(&self) -> Output {
        Output::new(self.json)
    }

    /// Does what the command line asks for. Returns the exit code: one of [`Exit`]'s, or, of `run`, that of the
    /// command that it ran.
    pub async fn run(self, world: &World) -> u8 {
        let done = match self.command {
            Command::Dev(args) => dev::run(args, world).await,
            Command::Serve(args) => serve::run(args, world).await,
            Command::CheckConfig(args) => check_config::run(&args, world),
            Command::Exchange(args) => exchange::run(args, world).await,
            Command::Run(args) => match run::run(args, world).await {
                Ok(code) => return code,
                Err(failure) => Err(failure),
            },
            Command::Key(args) => key::run(args, world).await,
            Command::Leak(args) => leak::run(args, world).await,
            Command::Scan(args) => scan::run(&args, world),
            Command::Audience(args) => audience::run(args, world).await,
            Command::Policy(args) => policy::run(args, world).await,
            Command::SigningKey(args) => signing_key::run(args, world).await,
            Command::Revoke(args) => revoke::run(*args, world).await,
            Command::Marker(args) => marker::run(args, world).await,
            Command::Backup(args) => backup::run(args, world).await,
            Command::Restore(args) => restore::run(&args, world),
            Command::Audit(args) => audit::run(args, world).await,
            Command::Jwt(args) => jwt::run(args, world).await,
            Command::Clock(args) => clock::run(args, world).await,
            Command::Completions(args) => completions::run(&args),
        };
        match done {
            Ok(()) => Exit::Ok.code(),
            Err(failure) => {
                world.output.fail(&failure);
                failure.exit().code()
            }
        }
    }
}
