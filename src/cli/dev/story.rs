//! The story: what a newcomer would do, done over the network.

use super::copy;
use super::folder::{self, Folder, WORKLOAD};
use crate::audit::{DiskReader, DiskShelf, Finding, NoteKey, verify};
use crate::cli::world::World;
use crate::client::{Ask, Endpoint, Error, Source, Text, TlsFiles, Token, TokenType, exchange};
use crate::id::{Audience, ScopeSet};
use crate::limits;
use crate::proto::inventory_client::InventoryClient;
use crate::proto::{CreateKeyRequest, KeySpec};
use crate::refusal::Code;
use crate::verify::{Binding, Fetcher, Presenter, Verifier};
use anyhow::{Context as _, anyhow};
use jiff::SignedDuration;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Life of the story's key.
const KEY_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// How often a checkpoint is looked for.
const LOOK: Duration = Duration::from_millis(100);

pub(super) struct Story {
    pub(super) folder: Folder,
    pub(super) world: World,
}

pub(super) type Step<T> = anyhow::Result<(T, String)>;

impl Story {
    pub(super) fn new(folder: Folder, world: World) -> Self {
        Self { folder, world }
    }

    /// An administrator, known by the uid at the other end of the Unix socket, makes a narrow key.
    pub(super) async fn create_key(&mut self) -> Step<()> {
        let channel = self.local()?.channel().await?;
        let expires = self.world.clock.now().checked_add(KEY_LIFE)?;
        let request = CreateKeyRequest {
            spec: Some(KeySpec {
                owner: "team-ci".to_owned(),
                purpose: "tries cambist".to_owned(),
                audiences: vec!["shop".to_owned()],
                scopes: vec!["orders:read".to_owned()],
                expires_at: Some(prost_types::Timestamp {
                    seconds: expires.as_second(),
                    nanos: 0,
                }),
                networks: vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
                ..KeySpec::default()
            }),
            idempotency_key: String::new(),
        };
        let created = InventoryClient::new(channel)
            .create_key(request)
            .await?
            .into_inner();
        folder::write(&self.folder.file("ci.key"), &created.secret)?;
        let id = created.key.context("no key came back")?.id;
        let text = format!(
            "key {id}: for team-ci, audience shop, scope orders:read, from this machine, for a day\n\
             its text is in {}",
            self.folder.file("ci.key").display()
        );
        Ok(((), text))
    }

    /// A CI job walks up with its key.
    pub(super) async fn exchange_key(&self) -> Step<Token> {
        let token = self.exchange(&self.key(), false, "shop", "").await?;
        let text = format!(
            "the key became a token for shop, good for 15 minutes, recorded before it left\n{}",
            shown(&token)
        );
        Ok((token, text))
    }

    /// A workload walks up with its certificate.
    pub(super) async fn exchange_certificate(&self) -> Step<Token> {
        let token = self
            .exchange(
                &Source::PeerCertificate,
                true,
                "shop",
                "orders:read orders:write",
            )
            .await?;
        if !token.is_bound() {
            return Err(anyhow!("the token is not bound to the certificate"));
        }
        let text = format!(
            "{WORKLOAD} got a token that is bound to its certificate\n{}",
            shown(&token)
        );
        Ok((token, text))
    }

    /// The same workload exchanges its token again, for one with less.
    pub(super) async fn exchange_token(&self, token: &Token) -> Step<Token> {
        let source = Source::Token(Text::Held(token.value().clone()), TokenType::AccessToken);
        let narrower = self.exchange(&source, true, "shop", "orders:read").await?;
        if narrower.scopes().len() != 1 || narrower.expires_at() > token.expires_at() {
            return Err(anyhow!(
                "the token that came out reaches further than the one that went in"
            ));
        }
        Ok((narrower, "its token became a narrower one: orders:read only, not longer-lived, bound to the same key".to_owned()))
    }

    /// A third party checks a token with nothing but the issuer's name and its CA.
    pub(super) async fn verify(&self, token: &Token) -> Step<()> {
        let roots: Vec<_> = CertificateDer::pem_file_iter(self.folder.file("tls/ca.pem"))?
            .collect::<Result<_, _>>()?;
        let keys = Fetcher::new(roots)?.key_set(self.folder.issuer()).await?;
        let count = keys.len();
        let verifier = Verifier::new(
            self.folder.issuer(),
            Audience::parse("shop")?,
            Arc::new(keys),
        );
        let now = self.world.clock.now();
        let claims = verifier.verify(token.value().expose(), Presenter::NotChecked, now)?;
        let bound = match claims.binding {
            Binding::Bearer => "bearer",
            Binding::Certificate(_) => "bound to a certificate",
            Binding::Key(_) | Binding::Unknown => {
                return Err(anyhow!("bound to something unknown"));
            }
        };
        let text = format!(
            "verified with the {count} published keys: sub {}, scope {}, {bound}",
            claims.sub, claims.scopes
        );
        Ok(((), text))
    }

    /// The key reaches no further than it was made to.
    pub(super) async fn refuse_audience(&self) -> Step<()> {
        match self.exchange(&self.key(), false, "billing", "").await {
            Err(error) if error.refusal() == Some(Code::AudienceNotAllowed) => Ok((
                (),
                format!("the key was refused a token for billing: {error}"),
            )),
            Err(error) => Err(anyhow!("refused, but as: {error}")),
            Ok(_) => Err(anyhow!(
                "the key got a token for an audience that is not its own"
            )),
        }
    }

    /// Every token is in the log.
    pub(super) async fn record(&self, tokens: &[&Token]) -> Step<()> {
        let folder = self.folder.file("log");
        let mut log = String::new();
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|name| name == "seg") {
                log.push_str(&std::fs::read_to_string(path)?);
            }
        }
        for token in tokens {
            let id = format!("\"jti\":\"{}\"", token.id());
            if !log.lines().any(|line| line.contains(&id)) {
                return Err(anyhow!("{} is not on the record", token.id()));
            }
            if log.contains(token.value().expose()) {
                return Err(anyhow!("the record holds a token"));
            }
        }
        let text = format!(
            "all {} tokens are on the record in {}, by id and hash",
            tokens.len(),
            folder.display()
        );
        Ok(((), text))
    }

    /// A stranger with a copy of the log's folder finds it whole, and finds the record that somebody changed.
    pub(super) async fn verify_log(&self) -> Step<()> {
        let folder = self.folder.file("log");
        let key: NoteKey = std::fs::read_to_string(folder.join(DiskShelf::KEY))?
            .trim_end()
            .parse()?;
        let check = |copied: &TempDir| {
            let segments = Arc::new(DiskReader::new(copied.path()));
            verify(segments, &DiskShelf::new(copied.path()), &key, &[], |_| ())
        };
        let last = copy::last_record(&folder)?;
        // Checkpoints are signed once a second: the copy is taken when one covers what is there.
        let covers = async {
            loop {
                let copied = tempfile::Builder::new().prefix("cambist-log-").tempdir()?;
                copy::log(&folder, copied.path())?;
                match check(&copied) {
                    Ok(sound) if sound.checkpoint.size > last => return Ok((copied, sound)),
                    Ok(_) | Err(Finding::Checkpoint(_)) => {}
                    Err(finding) => return Err(anyhow::Error::from(finding)),
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let (copied, sound) = tokio::time::timeout(limits::APPLY, covers)
            .await
            .context("no checkpoint covers the log")??;
        copy::change(copied.path(), last)?;
        match check(&copied) {
            Err(finding @ Finding::Changed(found)) if found == last => Ok((
                (),
                format!(
                    "a copy of the log verifies offline: {} records under a signed checkpoint\n\
                     with one byte of it changed it does not: {finding}",
                    sound.checkpoint.size,
                ),
            )),
            Err(finding) => Err(anyhow!("the change was found, but as: {finding}")),
            Ok(_) => Err(anyhow!("a changed record was not found")),
        }
    }

    /// What to type next.
    pub(super) fn what_next(&self) -> String {
        let at = |name: &str| self.folder.file(name).display().to_string();
        format!(
            "\nThe broker is running; Ctrl-C ends it. In another terminal:\n\n{alias}\
             export CAMBIST_SERVER={issuer} CAMBIST_CA={ca}\n\
             cambist exchange --audience shop --key-file {key}\n\
             cambist exchange --audience shop --cert {cert} --cert-key {cert_key} | cambist jwt inspect\n\
             cambist key list --server unix://{socket}\n\
             cambist policy explain --server unix://{socket} --audience shop --scope orders:write \
             --spiffe-id spiffe://dev.example.org/shop/web\n\
             curl --cacert {ca} {issuer}/.well-known/openid-configuration\n\
             cambist revoke --server unix://{socket} --subject spiffe://dev.example.org/shop/web --ban --dry-run\n\
             cambist audit tail --server unix://{socket}\n\
             cambist audit verify {log}",
            alias = alias(),
            issuer = self.folder.issuer(),
            ca = at("tls/ca.pem"),
            key = at("ci.key"),
            cert = at("tls/workload.pem"),
            cert_key = at("tls/workload.key"),
            socket = at("cambist.sock"),
            log = at("log"),
        )
    }

    fn key(&self) -> Source {
        Source::api_key_file(self.folder.file("ci.key"))
    }

    async fn exchange(
        &self,
        source: &Source,
        certified: bool,
        audience: &str,
        scopes: &str,
    ) -> Result<Token, Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Invalid(error.to_string().into());
        let mut tls = TlsFiles::new(self.folder.file("tls/ca.pem"));
        if certified {
            tls = tls.with_certificate(
                self.folder.file("tls/workload.pem"),
                self.folder.file("tls/workload.key"),
            );
        }
        let ask = Ask::new(Audience::parse(audience).map_err(|error| invalid(&error))?)
            .with_scopes(ScopeSet::parse(scopes).map_err(|error| invalid(&error))?);
        let channel = Endpoint::https(self.folder.issuer(), tls)?
            .channel()
            .await?;
        exchange(channel, source, &ask).await
    }
}

/// Lets the next commands be typed as they are shown, where `cambist` is not this program.
fn alias() -> String {
    let Ok(this) = std::env::current_exe() else {
        return String::new();
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("cambist"))
        .find(|program| program.is_file());
    match found.and_then(|program| program.canonicalize().ok()) {
        Some(program) if program == this => String::new(),
        _ => format!("alias cambist={}\n", this.display()),
    }
}

/// A token as it may be shown: its id and its beginning.
fn shown(token: &Token) -> String {
    let text: String = token.value().expose().chars().take(48).collect();
    format!("{text}… (jti {})", token.id())
}
