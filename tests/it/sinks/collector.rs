//! A collector of OpenTelemetry that was not written here: Rotel, which prints what it receives.

use super::hook::acceptor;
use super::{sequences, tool};
use crate::support::broker::free_port;
use crate::support::edge::{until, within};
use crate::support::pki::Authority;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// A collector on ports of its own, which it keeps when it is stopped and started again.
pub(super) struct Collector {
    folder: TempDir,
    grpc: u16,
    http: u16,
    process: Option<Child>,
}

impl Collector {
    pub(super) async fn start() -> Self {
        let mut collector = Self {
            folder: tempfile::tempdir().unwrap(),
            grpc: free_port(),
            http: free_port(),
            process: None,
        };
        collector.again().await;
        collector
    }

    /// Where it is, without TLS.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// Where it is, behind TLS for clients that `authority` vouches for.
    pub(super) async fn encrypted(&self, authority: &Authority) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, port) = (acceptor(authority, b"h2"), self.grpc);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    let mut behind = TcpStream::connect(("127.0.0.1", port)).await?;
                    copy_bidirectional(&mut stream, &mut behind).await
                });
            }
        });
        format!("https://{address}")
    }

    pub(super) async fn again(&mut self) {
        let output = File::options()
            .append(true)
            .create(true)
            .open(self.output());
        let mut command = Command::new(tool("target/tools/rotel-agent"));
        command
            .args(["start", "--exporter", "blackhole", "--disable-batching"])
            .args(["--debug-log", "logs", "--debug-log-verbosity", "detailed"])
            .arg(format!("--otlp-grpc-endpoint=127.0.0.1:{}", self.grpc))
            .arg(format!("--otlp-http-endpoint=127.0.0.1:{}", self.http))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(output.unwrap())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        self.process = Some(command.spawn().unwrap());
        until("the collector to listen", async || {
            TcpStream::connect(("127.0.0.1", self.grpc)).await.is_ok()
        })
        .await;
    }

    /// Asks it to stop, and waits until it has.
    pub(super) async fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        let id = process.id().unwrap().try_into().unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        within("the collector to stop", process.wait())
            .await
            .unwrap();
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    /// Everything that it printed.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(self.output()).unwrap()
    }

    /// The bodies of all log records that it received, in order.
    pub(super) fn bodies(&self) -> Vec<Value> {
        let said = self.said();
        let bodies = said.lines().filter_map(|line| {
            let body = line.strip_prefix("Body: Str(")?;
            // The last line may not be whole yet.
            serde_json::from_str(body.strip_suffix(')')?).ok()
        });
        bodies.collect()
    }

    pub(super) fn sequences(&self) -> Vec<u64> {
        sequences(&self.bodies())
    }
}
