//! Which broker, and how it is reached: flags, then the environment, then the client's configuration file.

use super::exit::Exit;
use super::failure::Failure;
use crate::client::{Endpoint, TlsFiles};
use crate::limits;
use crate::proto::audit_client::AuditClient;
use crate::proto::inventory_client::InventoryClient;
use crate::proto::policy_client::PolicyClient;
use crate::proto::revocation_client::RevocationClient;
use crate::proto::token_exchange_client::TokenExchangeClient;
use clap::Args;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use tonic::Status;
use tonic::transport::Channel;

/// The flags that every command with a broker behind it has.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub struct ConnectArgs {
    /// The broker: https://host:port, or unix:///path
    #[arg(long, env = "CAMBIST_SERVER", global = true, value_name = "URL")]
    pub server: Option<String>,
    /// File with the only certificate authorities that are believed, in PEM
    #[arg(long, env = "CAMBIST_CA", global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File with the client certificate chain, in PEM
    #[arg(long, env = "CAMBIST_CERT", global = true, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// File with the client certificate's private key, in PEM
    #[arg(long, env = "CAMBIST_CERT_KEY", global = true, value_name = "FILE")]
    pub cert_key: Option<PathBuf>,
    /// File with settings that flags and environment leave open [default: ~/.config/cambist/client.toml]
    #[arg(long, env = "CAMBIST_CLIENT_CONFIG", global = true, value_name = "FILE")]
    pub client_config: Option<PathBuf>,
}

/// Settings that are complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the broker is: `https://host[:port]`, or `unix:///path`.
    pub server: String,
    /// The certificate authorities that are believed; always there with TLS.
    pub ca: Option<PathBuf>,
    /// Certificate chain and private key of the client.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The client's configuration file. Paths in it count from its directory.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    server: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    cert_key: Option<PathBuf>,
}

/// An open connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    channel: Channel,
}

impl ConnectArgs {
    /// Completes the settings. `variable` reads the environment, for the file's own place only.
    ///
    /// # Errors
    /// When they are not complete, contradict each other, or the file is wrong.
    pub fn resolve(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Settings, Failure> {
        let file = self.file(variable)?;
        let server = self.server.clone().or(file.server);
        let server = server.ok_or_else(|| {
            Failure::usage("no broker is named").next(
                "name it with --server, in CAMBIST_SERVER, or as `server` in ~/.config/cambist/client.toml",
            )
        })?;
        let ca = self.ca.clone().or(file.ca);
        let identity = match (
            self.cert.clone().or(file.cert),
            self.cert_key.clone().or(file.cert_key),
        ) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => {
                let failure = Failure::usage(
                    "a client certificate needs its private key, and the other way round",
                );
                return Err(failure.next("give both --cert and --cert-key"));
            }
        };
        Ok(Settings {
            server,
            ca,
            identity,
        })
    }

    fn file(&self, variable: impl Fn(&str) -> Option<String>) -> Result<File, Failure> {
        let named = self.client_config.clone();
        let usual = || {
            let set = |name: &str| variable(name).filter(|value| !value.is_empty());
            let base = set("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .or_else(|| set("HOME").map(|home| Path::new(&home).join(".config")))?;
            Some(base.join("cambist").join("client.toml"))
        };
        let Some(path) = named.clone().or_else(usual) else {
            return Ok(File::default());
        };
        let wrong = |why: String| {
            let what = format!("{} is not usable", path.display());
            Failure::new(Exit::Configuration, "configuration", what).why(why)
        };
        let text = match std::fs::read_to_string(&path) {
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(File::default());
            }
            // Whoever becomes another user may keep the home of the one before.
            Err(error) if named.is_none() => {
                let next = "it is where HOME or XDG_CONFIG_HOME says: set that to what is yours";
                return Err(wrong(error.to_string()).next(next));
            }
            read => read.map_err(|error| wrong(error.to_string()))?,
        };
        let file: File = toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, line_after);
            wrong(format!("line {line}: {}", error.message()))
                .next("it may hold `server`, `ca`, `cert` and `cert_key`")
        })?;
        let base = path.parent().unwrap_or(Path::new("/"));
        let beside = |path: Option<PathBuf>| path.map(|path| base.join(path));
        Ok(File {
            server: file.server,
            ca: beside(file.ca),
            cert: beside(file.cert),
            cert_key: beside(file.cert_key),
        })
    }

    /// The settings that flags, environment and file give.
    ///
    /// # Errors
    /// As [`ConnectArgs::resolve`].
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        self.resolve(|name| std::env::var(name).ok())
    }

    /// Whether flags, environment or file name a broker at all.
    ///
    /// # Errors
    /// When the file is wrong.
    pub(super) fn names_a_broker(&self) -> Result<bool, Failure> {
        Ok(self.server.is_some() || self.file(|name| std::env::var(name).ok())?.server.is_some())
    }

    /// Connects to the broker that the settings name, for administrative calls.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let endpoint = self
            .settings()?
            .endpoint()?
            .with_call_timeout(limits::ADMIN_CALL);
        let channel = endpoint.channel().await.map_err(Failure::from_client)?;
        Ok(Connection { channel })
    }
}

impl Settings {
    /// The broker, with its address checked. Files are read when a connection is made.
    ///
    /// # Errors
    /// When the address is not one, or nothing is named that would show that the peer is the broker.
    pub fn endpoint(self) -> Result<Endpoint, Failure> {
        let Self {
            server,
            ca,
            identity,
        } = self;
        if server.starts_with("https://") && ca.is_none() {
            let failure = Failure::usage(
                "no certificate authority is named, and no system-wide one is believed",
            );
            return Err(failure.next("name the broker's with --ca or in CAMBIST_CA"));
        }
        let tls = TlsFiles::new(ca.unwrap_or_default());
        let tls = match identity {
            Some((chain, key)) => tls.with_certificate(chain, key),
            None => tls,
        };
        Endpoint::parse(&server, Some(tls)).map_err(|error| {
            Failure::from_client(error).next("give it as https://host:port or unix:///path")
        })
    }
}

impl Connection {
    pub(super) fn inventory(&self) -> InventoryClient<Channel> {
        InventoryClient::new(self.channel.clone()).max_decoding_message_size(limits::ADMIN_ANSWER)
    }

    pub(super) fn revocation(&self) -> RevocationClient<Channel> {
        RevocationClient::new(self.channel.clone()).max_decoding_message_size(limits::ADMIN_ANSWER)
    }

    pub(super) fn audit(&self) -> AuditClient<Channel> {
        AuditClient::new(self.channel.clone()).max_decoding_message_size(limits::ADMIN_ANSWER)
    }

    pub(super) fn policies(&self) -> PolicyClient<Channel> {
        PolicyClient::new(self.channel.clone()).max_decoding_message_size(limits::ADMIN_ANSWER)
    }

    pub(super) fn exchange(&self) -> TokenExchangeClient<Channel> {
        TokenExchangeClient::new(self.channel.clone())
            .max_decoding_message_size(limits::ADMIN_ANSWER)
    }

    /// What to do after a write whose outcome is not known: repeat it under the same name.
    pub(super) fn unsure(status: &Status, idempotency_key: &str) -> Failure {
        let failure = Failure::from_status(status);
        match failure.exit() {
            Exit::Unreachable | Exit::Fault => failure.also(format!(
                "it may have been done; to find out safely, repeat it with --idempotency-key {idempotency_key}"
            )),
            _ => failure,
        }
    }
}

fn line_after(before: &str) -> usize {
    before.matches('\n').count() + 1
}

#[cfg(test)]
mod tests;
