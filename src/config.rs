//! Configuration: one TOML file, read strictly, checked as a whole before anything starts.
//!
//! Unknown keys are errors. Secrets are named by file path, never written down here. Paths count from the
//! directory that the file is in. Lengths of time are text such as `15m`. [`KEYS`] lists every key with what
//! it takes; `deploy/cambist.toml` shows them all.

mod check;
mod document;
pub mod duration;
mod files;
mod governed;
mod identity;
mod issuance;
mod known;
mod leak;
mod listener;
mod log;
mod problem;
mod service;
mod sink;

pub use governed::{Admin, TrustDomainFiles};
pub use identity::{InvalidIdentity, Issuer, NodeId};
pub use issuance::{Algorithm, Keys, Tokens};
pub use known::KEYS;
pub use leak::{LeakReporter, Leaks, PublishedAt};
pub use listener::{Address, ClientCertificates, Face, InvalidAddress, Listener};
pub use log::{CopyPlace, Log, LogCopy, LogReader, LogWitness, Server};
pub use problem::Problem;
pub use service::{Limits, Ops, PolicyFiles, Store, Tls};

use crate::inventory::AudienceSpec;
use aws_lc_rs::digest;
use check::Check;
use document::Document;
use governed::{RawAdmin, RawAudience, RawTrustDomain};
use problem::KeyPath;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// A whole, checked configuration. Holds no secret, so that it may be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// SHA-256 of the file's meaning: comments, order and spacing make no difference.
    pub digest: [u8; 32],
    /// What tokens say as `iss`.
    pub issuer: Issuer,
    /// This node's name in the log.
    pub node: NodeId,
    /// The directory of store and log.
    pub data: PathBuf,
    /// Where the broker listens; at least one.
    pub listeners: Vec<Listener>,
    /// The server's certificate; there whenever a listener is on TCP.
    pub tls: Option<Tls>,
    /// The operations listener.
    pub ops: Ops,
    /// Who may administer.
    pub admin: Admin,
    /// What tokens are like.
    pub tokens: Tokens,
    /// Keys, of both kinds.
    pub keys: Keys,
    /// Audiences governed by this file.
    pub audiences: Vec<AudienceSpec>,
    /// Whose certificates are believed.
    pub trust_domains: Vec<TrustDomainFiles>,
    /// Policies governed by files.
    pub policy: PolicyFiles,
    /// The audit log.
    pub log: Log,
    /// Leaked keys.
    pub leak: Leaks,
    /// The store.
    pub store: Store,
    /// What connections may cost.
    pub limits: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    issuer: Option<Issuer>,
    node: Option<NodeId>,
    data: Option<PathBuf>,
    #[serde(default)]
    listener: Vec<Spanned<listener::Raw>>,
    tls: Option<Tls>,
    #[serde(default)]
    ops: Ops,
    #[serde(default)]
    admin: RawAdmin,
    #[serde(default)]
    tokens: Tokens,
    keys: Option<issuance::RawKeys>,
    #[serde(default)]
    audience: Vec<Spanned<RawAudience>>,
    #[serde(default)]
    trust_domain: Vec<Spanned<RawTrustDomain>>,
    #[serde(default)]
    policy: PolicyFiles,
    #[serde(default)]
    log: log::RawLog,
    #[serde(default)]
    leak: leak::RawLeaks,
    #[serde(default)]
    store: Store,
    #[serde(default)]
    limits: Limits,
}

impl Config {
    /// Reads and checks the file at `path`. The files that it names are not looked at: that is
    /// [`Config::check_files`].
    ///
    /// # Errors
    /// Every problem that was found, in no more than [`crate::limits::CONFIGURATION_PROBLEMS`].
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        let text = files::read(path).map_err(|problem| vec![problem])?;
        Self::parse(path, &text)
    }

    /// Checks `text` as if it stood in the file at `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut document = Document::parse(path, text)?;
        let Some(raw) = document.read::<Raw>(&mut problems) else {
            return Err(problems);
        };
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let base = absolute.parent().unwrap_or(Path::new("/"));
        let mut check = Check::new(&document, base, problems);
        let config = build(raw, path, text, &mut check);
        let mut problems = check.into_problems();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems),
        }
    }

    /// The store's file.
    #[must_use]
    pub fn store_file(&self) -> PathBuf {
        self.data.join("store.db")
    }

    /// The log's directory.
    #[must_use]
    pub fn log_directory(&self) -> PathBuf {
        self.data.join("log")
    }

    /// The digest as text, for the audit log.
    #[must_use]
    pub fn digest_text(&self) -> String {
        use std::fmt::Write as _;
        self.digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Puts the checked sections together; `None` when something that must be there is not.
fn build(raw: Raw, path: &Path, text: &str, check: &mut Check<'_, '_>) -> Option<Config> {
    let root = KeyPath::default();
    let issuer = check.require("issuer", raw.issuer);
    let node = check.require("node", raw.node);
    let data = check.require("data", raw.data);
    let keys = check.require("keys", raw.keys);
    let listeners = listener::check(raw.listener, check);
    let on_tcp = |listener: &Listener| matches!(listener.address, Address::Tcp(_));
    if listeners.iter().any(on_tcp) {
        check.require("tls", raw.tls.as_ref());
    }
    let ops_taken = Address::Tcp(raw.ops.address);
    let is_taken = |listener: &Listener| listener.address == ops_taken;
    if !ops_taken.is_chosen_by_system() && listeners.iter().any(is_taken) {
        check.refuse(
            &root.key("ops").key("address"),
            "a [[listener]] has this address",
        );
    }
    raw.tokens.check(check);
    raw.store.check(check);
    raw.limits.check(check);
    let keys = keys.map(|keys| Keys::check(keys, check));
    let trust_domains = governed::trust_domains(raw.trust_domain, check);
    require_trust(&listeners, &trust_domains, check);
    let admin = Admin::check(raw.admin, &trust_domains, check);
    let log = Log::check(raw.log, &trust_domains, check);
    let leak = Leaks::check(raw.leak, check);
    let audiences = governed::audiences(raw.audience, raw.tokens.max_lifetime, check);
    Some(Config {
        path: path.to_owned(),
        digest: digest_of(text)?,
        issuer: issuer?,
        node: node?,
        data: check.resolve(&data?),
        listeners,
        tls: raw.tls.map(|tls| tls.resolve(check)),
        ops: raw.ops,
        admin,
        tokens: raw.tokens,
        keys: keys?,
        audiences,
        trust_domains,
        policy: raw.policy.resolve(check),
        log,
        leak,
        store: raw.store,
        limits: raw.limits,
    })
}

/// A listener that requires certificates when none can be believed would serve nobody.
fn require_trust(listeners: &[Listener], domains: &[TrustDomainFiles], check: &mut Check<'_, '_>) {
    let path = KeyPath::default().key("trust_domain");
    let required =
        |listener: &Listener| listener.client_certificates == ClientCertificates::Required;
    if domains.is_empty() && !check.is_set_aside(&path) && listeners.iter().any(required) {
        check.refuse(
            &path,
            "a listener requires client certificates, and none would be believed",
        );
    }
}

fn digest_of(text: &str) -> Option<[u8; 32]> {
    // Tables sort their keys, so that printing one gives the normal form.
    let table: toml::Table = text.parse().ok()?;
    let normal = toml::to_string(&table).ok()?;
    let digest = digest::digest(&digest::SHA256, normal.as_bytes());
    digest.as_ref().try_into().ok()
}
