//! The folder of a development broker: `{cambist.toml, store.db, log/, tls/}` and what goes with them.

use super::pki::Authority;
use crate::app;
use crate::cli::world::World;
use crate::config::Config;
use anyhow::{Context as _, anyhow};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The workload that the story is told with.
pub(super) const WORKLOAD: &str = "spiffe://dev.example.org/shop/web";

/// Development policies: what is not said here is denied.
const POLICIES: &str = r#"// Who may exchange what. Change it while the broker runs, and save: it is read again.

@id("keys-within-their-own-ceilings")
permit (principal is ApiKey, action == Action::"exchange", resource);

@id("workloads-use-the-shop")
@max_lifetime("10m")
permit (
  principal in TrustDomain::"dev.example.org",
  action == Action::"exchange",
  resource == Audience::"shop"
);
"#;

/// A folder that is ready for a broker.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) config: Config,
}

impl Folder {
    /// Makes the folder, or takes it up again. Certificates are made anew each time; store, log, policies and
    /// configuration stay.
    pub(super) fn prepare(
        path: &Path,
        listen: SocketAddr,
        ops: SocketAddr,
        world: &World,
    ) -> anyhow::Result<(Self, String)> {
        let path = std::path::absolute(path)?;
        let private = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        for folder in [path.clone(), path.join("tls"), path.join("policies")] {
            private(&folder).with_context(|| folder.display().to_string())?;
        }
        let this = |name: &str| path.join(name);
        certificates(&path, world)?;
        if !this("seal.key").exists() {
            app::create_seal_key(&this("seal.key"), &*world.random)?;
        }
        keep(&this("policies/dev.cedar"), POLICIES)?;
        let is_new = keep(&this("cambist.toml"), &configuration(listen, ops))?;
        let config = Config::load(&this("cambist.toml")).map_err(|problems| {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            anyhow!("{}", lines.join("\n"))
        })?;
        let folder = Self { path, config };
        if !folder.issuer().ends_with(&format!(":{}", listen.port())) {
            return Err(anyhow!(
                "{} was made for {}; give --listen with its port, or another --dir",
                folder.path.display(),
                folder.issuer()
            ));
        }
        let verb = if is_new { "made" } else { "took up" };
        let text = format!(
            "{verb} {} with its own CA, certificates, policies and configuration",
            folder.path.display()
        );
        Ok((folder, text))
    }

    /// A path in the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What the tokens say as `iss`, and where the broker is reached.
    pub(super) fn issuer(&self) -> &str {
        self.config.issuer.as_str()
    }
}

fn certificates(path: &Path, world: &World) -> anyhow::Result<()> {
    let now = world.clock.now();
    let servers = Authority::new("cambist dev server CA", now)?;
    let workloads = Authority::new("cambist dev workload CA", now)?;
    let (server, workload) = (servers.server()?, workloads.workload(WORKLOAD)?);
    let files = [
        ("ca.pem", servers.certificate()),
        ("server.pem", server.certificate),
        ("server.key", server.key),
        ("workload-ca.pem", workloads.certificate()),
        ("workload.pem", workload.certificate),
        ("workload.key", workload.key),
    ];
    files
        .iter()
        .try_for_each(|(name, text)| write(&path.join("tls").join(name), text))
}

/// Writes a file that only its owner may read.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| path.display().to_string())
}

/// Writes a file unless it is there; whether it was not.
fn keep(path: &Path, text: &str) -> anyhow::Result<bool> {
    let is_new = !path.exists();
    if is_new {
        write(path, text)?;
    }
    Ok(is_new)
}

fn configuration(listen: SocketAddr, ops: SocketAddr) -> String {
    let port = listen.port();
    format!(
        r#"# A development broker. Every key is explained in the sample under deploy/.
issuer = "https://localhost:{port}"
node = "dev"
data = "."

[[listener]]
address = "{listen}"

[[listener]]
address = "unix:cambist.sock"
faces = ["grpc"]

[tls]
certificate = "tls/server.pem"
key = "tls/server.key"

[ops]
address = "{ops}"

[keys]
seal_key_file = "seal.key"

[[audience]]
name = "shop"
owner = "team-shop"
scopes = ["orders:read", "orders:write"]

[[audience]]
name = "billing"
owner = "team-billing"
scopes = ["invoices:read"]

[[trust_domain]]
name = "dev.example.org"
bundle = "tls/workload-ca.pem"

[policy]
files = ["policies"]
"#
    )
}
