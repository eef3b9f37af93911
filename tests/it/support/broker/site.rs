//! A folder with all that a broker needs, which outlives every process that runs in it.

use super::{Broker, Setup, Svid, setup};
use crate::support::edge::within;
use crate::support::svid::Authority;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::process::Command;

/// Configuration, certificates, keys, policies and data of a broker, whether one runs or not.
pub(crate) struct Site {
    /// `https://localhost:PORT`, where it listens, as its tokens say.
    pub(crate) issuer: String,
    /// The authority that its own certificate is of.
    pub(crate) ca: PathBuf,
    /// A good certificate of `spiffe://example.org/web`.
    pub(crate) web: Svid,
    /// Where administrators come.
    pub(crate) socket: PathBuf,
    /// Of `example.org`, whose workloads are believed. `partner.example.com` is believed as well.
    pub(crate) home: Authority,
    pub(crate) partner: Authority,
    pub(super) ops: SocketAddr,
    pub(crate) listens: SocketAddr,
    pub(crate) folder: TempDir,
}

impl Site {
    pub(crate) fn new() -> Arc<Self> {
        Self::with(|_| {})
    }

    /// One with something changed.
    pub(crate) fn with(change: impl FnOnce(&mut Setup)) -> Arc<Self> {
        let folder = tempfile::Builder::new()
            .prefix("b")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let (port, ops) = (setup::free_port(), setup::free_port());
        let mut setup = Setup::new(port, ops);
        change(&mut setup);
        setup.write(folder.path());
        Arc::new(Self {
            issuer: format!("https://localhost:{port}"),
            ca: folder.path().join("ca.pem"),
            web: Svid::lasting(folder.path(), &setup.home, "spiffe://example.org/web"),
            socket: folder.path().join("s"),
            home: setup.home,
            partner: setup.partner,
            ops: (Ipv4Addr::LOCALHOST, ops).into(),
            listens: (Ipv4Addr::LOCALHOST, port).into(),
            folder,
        })
    }

    /// A file of this site, or one that a test puts beside them.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A workload's certificate, good for an hour.
    pub(crate) fn svid(&self, id: &str) -> Svid {
        let authority = match id.starts_with("spiffe://example.org/") {
            true => &self.home,
            false => &self.partner,
        };
        Svid::issue(self.folder.path(), authority, id, 3600)
    }

    /// One that ends in some seconds.
    pub(crate) fn svid_for(&self, id: &str, seconds: i64) -> Svid {
        Svid::issue(self.folder.path(), &self.home, id, seconds)
    }

    /// One that begins to be good only now.
    pub(crate) fn svid_from_now(&self, id: &str) -> Svid {
        Svid::from_now(self.folder.path(), &self.home, id)
    }

    /// One that ends a day after the tests' present, for a broker that goes by that.
    pub(crate) fn svid_for_a_day(&self, id: &str) -> Svid {
        Svid::for_a_day(self.folder.path(), &self.home, id)
    }

    /// The command that serves this site, to be changed before it is started.
    pub(crate) fn command(&self) -> Command {
        self.wrapped(&[])
    }

    /// The same, run by another program that ends by executing its arguments.
    pub(crate) fn wrapped(&self, by: &[&str]) -> Command {
        let append = |name| {
            let mut options = File::options();
            let file = options.append(true).create(true).open(self.path(name));
            Stdio::from(file.unwrap())
        };
        let words = [by, &[env!("CARGO_BIN_EXE_cambist")]].concat();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(["serve", "--log", "debug", "--config"])
            .arg(self.path("cambist.toml"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(append("stdout"))
            .stderr(append("stderr"))
            .kill_on_drop(true);
        command
    }

    /// Starts a broker, and waits until it is ready.
    pub(crate) async fn start(self: &Arc<Self>) -> Broker {
        self.run(self.command()).await
    }

    /// Starts a broker by a command that was changed, and waits until it is ready.
    pub(crate) async fn run(self: &Arc<Self>, command: Command) -> Broker {
        Broker::run(Arc::clone(self), command).await
    }

    /// The same for one that may not become ready: waits until it is served.
    pub(crate) async fn run_unready(self: &Arc<Self>, command: Command) -> Broker {
        Broker::run_unready(Arc::clone(self), command).await
    }

    /// Starts a broker that goes on without what store and log have lost, and waits until it is on the record that it does.
    pub(crate) async fn accept_rollback(self: &Arc<Self>) -> Broker {
        let mut command = self.command();
        command.arg("--accept-rollback");
        let broker = self.run(command).await;
        self.record(|record| record["action"] == "recovery.accept_rollback")
            .await;
        broker
    }

    /// Runs a broker until it has issued so many tokens.
    pub(crate) async fn issue_and_stop(self: &Arc<Self>, count: usize) {
        let mut broker = self.start().await;
        broker.issue(count).await;
        assert!(broker.terminate().await.success());
    }

    /// Runs a broker that is expected not to start: its exit code and what it says.
    pub(crate) async fn fails(&self, args: &[&str]) -> (i32, String) {
        let mut command = self.command();
        command.args(args);
        self.fails_as(command).await
    }

    /// As [`Self::fails`], by a command that was changed.
    pub(crate) async fn fails_as(&self, mut command: Command) -> (i32, String) {
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let ended = within("a start to fail", child.wait_with_output()).await;
        let ended = ended.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        (ended.status.code().unwrap(), said)
    }

    /// Runs a broker that is expected not to start, and to say all these words.
    pub(crate) async fn refuses(&self, words: &[&str]) {
        self.refuses_with(1, words).await;
    }

    /// The same, with this exit code.
    pub(crate) async fn refuses_with(&self, code: i32, words: &[&str]) {
        let (ended, said) = self.fails(&[]).await;
        assert_eq!(ended, code, "{said}");
        for word in words {
            assert!(said.contains(word), "no `{word}` in {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }

    /// What was written to standard error so far, by all its runs.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap()
    }
}
