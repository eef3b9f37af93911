//! `cambist completions`: for the shells that people use.

use super::Cli;
use super::failure::Failure;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use std::io::{ErrorKind, Write as _};

/// Print the completions of a shell
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    // Made in memory first: the generator stops the program when its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cambist", &mut script);
    match std::io::stdout().lock().write_all(&script) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::fault("standard output cannot be written").why(error))
        }
        _ => Ok(()),
    }
}
