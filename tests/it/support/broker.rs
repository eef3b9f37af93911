//! The real binary as a process of its own, with everything around it that a broker needs: certificates, trust,
//! policies, audiences, a folder.

mod caller;
mod cli;
mod in_process;
mod reach;
mod records;
mod setup;
mod site;

pub(crate) use caller::{
    Caller, api_key, ask, audience, claims, delegated, from_now, peer, refusal, reply, spec, token,
};
pub(crate) use in_process::InProcess;
pub(crate) use records::{checkpoint, records, segments, verify_log};
pub(crate) use setup::{Setup, Svid, crl, free_port};
pub(crate) use site::Site;

pub(crate) use super::edge::LOOK;
use super::edge::{until, within};
use rustix::process::{Pid, Signal, kill_process};
use std::ops::Deref;
use std::process::ExitStatus;
use std::sync::Arc;
use tokio::process::{Child, Command};

/// A running broker. It is killed when this is dropped; its site stays for as long as anybody has it.
pub(crate) struct Broker {
    site: Arc<Site>,
    process: Child,
    /// How much the runs before this one had written on standard error.
    said_before: usize,
    api_key: Option<String>,
}

impl Deref for Broker {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Broker {
    /// One on a site of its own, with a key for `shop` and `billing` with all their scopes.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with something changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut broker = Site::with(change).start().await;
        let scopes = ["orders:read", "orders:write", "invoices:read"];
        let made = broker.create_key(spec(&["shop", "billing"], &scopes)).await;
        broker.api_key = Some(made.secret);
        broker
    }

    /// Runs `command` on `site`, and waits until its listeners are served.
    pub(super) async fn run_unready(site: Arc<Site>, mut command: Command) -> Self {
        let said_before = site.stderr().len();
        let process = command.spawn().unwrap();
        let mut broker = Self {
            site,
            process,
            said_before,
            api_key: None,
        };
        let site = Arc::clone(&broker.site);
        broker.until("served", site.until_served()).await;
        broker
    }

    /// Runs `command` on `site`, and waits until it is ready.
    pub(super) async fn run(site: Arc<Site>, command: Command) -> Self {
        let mut broker = Self::run_unready(site, command).await;
        let site = Arc::clone(&broker.site);
        broker.until("ready", site.until_ready(true)).await;
        broker
    }

    /// Waits for something that a process which has ended will never do.
    async fn until<T>(&mut self, what: &str, done: impl Future<Output = T>) {
        let ended = tokio::select! {
            _ = within(what, done) => return,
            ended = self.process.wait() => ended.unwrap(),
        };
        panic!("the broker ended ({ended}): {}", self.said());
    }

    /// The key that [`Broker::start`] and [`Broker::with`] made.
    pub(crate) fn api_key(&self) -> &str {
        self.api_key.as_deref().unwrap()
    }

    pub(crate) fn pid(&self) -> Pid {
        let id = self.process.id().unwrap().try_into().unwrap();
        Pid::from_raw(id).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill9(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        within("the broker to end", self.process.wait())
            .await
            .unwrap()
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Starts it again on what it left, however it ended.
    pub(crate) async fn restart(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            self.terminate().await;
        }
        let again = self.site.start().await;
        self.process = again.process;
        self.said_before = again.said_before;
    }

    /// What this run wrote on standard error so far.
    fn said(&self) -> String {
        self.stderr().split_off(self.said_before)
    }

    /// Waits until this run has written `text` on standard error.
    pub(crate) async fn says(&self, text: &str) {
        until(text, async || self.said().contains(text)).await;
    }
}
