//! The `cambist` command.

use cambist::cli::{Cli, Exit, Failure, World};
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long what runs in the background may take to end.
const SHUTDOWN: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // Fails only when a provider is there already, and nothing ran before this.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match Cli::parse_from_args(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let world = World::system(cli.output());
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let exit = runtime.block_on(cli.run(&world));
            // No thread may still be at cryptography while the process ends, whose library is taken down with it. But a file on
            // a mount that hangs holds nobody up for longer.
            runtime.shutdown_timeout(SHUTDOWN);
            exit.into()
        }
        Err(error) => {
            world
                .output
                .fail(&Failure::fault("the runtime cannot start").why(error));
            Exit::Fault.into()
        }
    }
}
