//! Runs the foreign scripts.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Longest that one script may take: minutes on a busy machine, never for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// A library that is not ours, in a language that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    Python,
    Node,
}

/// What a script said.
#[derive(Debug)]
pub(crate) enum Said {
    Yes(Value),
    /// The library's own name for what is wrong, or the broker's code.
    Refused(String),
    /// Neither: the script failed.
    Failed(String),
}

impl Said {
    #[track_caller]
    pub(crate) fn yes(self) -> Value {
        match self {
            Self::Yes(value) => value,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn refused(self) -> String {
        match self {
            Self::Refused(name) => name,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn failed(self) -> String {
        match self {
            Self::Failed(text) => text,
            other => panic!("{other:?}"),
        }
    }
}

impl Foreign {
    pub(crate) const ALL: [Self; 2] = [Self::Python, Self::Node];

    /// Verifies a token: yes with its claims.
    pub(crate) async fn verify(
        self,
        metadata: &str,
        ca: &Path,
        audience: &str,
        token: &str,
    ) -> Said {
        let mut command = self.script("verify");
        command.arg(metadata);
        match self {
            Self::Python => command.arg(ca),
            Self::Node => command.env("NODE_EXTRA_CA_CERTS", ca),
        };
        command.arg(audience);
        run(command, token).await
    }

    /// Exchanges a credential: yes with the reply.
    pub(crate) async fn exchange(self, arguments: &[&str], credential: &str) -> Said {
        let mut command = self.script("exchange");
        command.args(arguments);
        run(command, credential).await
    }

    /// Fetches or verifies a log; the one language that has a script for it.
    pub(crate) async fn log(self, arguments: &[&str]) -> Said {
        let mut command = self.script("log");
        command.args(arguments);
        run(command, "").await
    }

    /// Makes a key for proofs of possession, or calls a server with them; Node has a library for it.
    pub(crate) async fn dpop(self, ca: &Path, arguments: &[&str], input: &str) -> Said {
        let mut command = self.script("dpop");
        command.args(arguments).env("NODE_EXTRA_CA_CERTS", ca);
        run(command, input).await
    }

    /// Queries the log: yes with the records.
    pub(crate) async fn audit(self, arguments: &[&str]) -> Said {
        let mut command = self.script("audit");
        command.args(arguments);
        run(command, "").await
    }

    /// The interpreter that `tests/setup` prepared, with one of the scripts.
    fn script(self, name: &str) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (folder, ending, program) = match self {
            Self::Python => ("python", "py", root.join("target/tools/python/bin/python")),
            Self::Node => ("node", "mjs", PathBuf::from("node")),
        };
        let stamp = root.join("target/tools").join(folder).join(".stamp");
        assert!(
            stamp.is_file(),
            "{} is not there: run tests/setup",
            stamp.display()
        );
        let scripts = root.join("tests/interop").join(folder);
        let mut command = Command::new(program);
        command
            .arg(scripts.join(format!("{name}.{ending}")))
            .env("NO_PROXY", "*")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

async fn run(mut command: Command, input: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    // A script that reads nothing closes its end first.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output());
    let output = output.await.expect("the script is stuck").unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let parsed = serde_json::from_str::<Value>(&said).unwrap_or_default();
    match (output.status.code(), &parsed["refused"]) {
        (Some(0), _) if parsed.is_object() => Said::Yes(parsed),
        (Some(3), Value::String(name)) => Said::Refused(name.clone()),
        _ => Said::Failed(format!("{said}{}", String::from_utf8_lossy(&output.stderr))),
    }
}
