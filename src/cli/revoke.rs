//! `cambist revoke`: by whatever a responder has in hand.

use super::connect::{ConnectArgs, Connection};
use super::credential::credential;
use super::failure::Failure;
use super::input::Source;
use super::marker::View;
use super::output::{fields, table};
use super::time::to_proto;
use super::world::World;
use crate::limits;
use crate::proto::revoke_request::Thing;
use crate::proto::{Hit, PeerCertificateOfCaller, RevokeRequest, RevokeResponse};
use crate::refusal::Code;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Revoke a token, a credential, a subject, a signing key, or all that an owner has
#[derive(Args, Debug)]
#[command(
    after_help = "Who holds a token, a key, or the certificate that this command connects with, revokes it with --token, --key or \
                        --own-certificate. The rest and --dry-run are for administrators."
)]
pub struct RevokeArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    thing: ThingArgs,
    /// Only what began up to this time [default: now]; for --subject, --trust-domain and --issuer. Each token counts by its own
    /// iat: a time in the past leaves alive what was exchanged after it from tokens that are revoked
    #[arg(long, value_name = "TIME")]
    before: Option<Timestamp>,
    /// Whatever its time, until it is reinstated; for --subject and --trust-domain
    #[arg(long, conflicts_with = "before")]
    ban: bool,
    /// Say what it would hit, and revoke nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for the record; not needed with --dry-run
    #[arg(long, required_unless_present = "dry_run", value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
    /// A name for this write, so that repeating it is harmless [default: a random one]
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    idempotency_key: Option<String>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
#[command(next_help_heading = "What")]
struct ThingArgs {
    /// A token, and all that descend from it: a file with it, or - for standard input
    #[arg(long, value_name = "FILE")]
    token: Option<Source>,
    /// The same by its jti, as records name it
    #[arg(long, value_name = "JTI", allow_hyphen_values = true)]
    token_id: Option<String>,
    /// An API key, and all tokens made from it: a file with it, or - for standard input
    #[arg(long, value_name = "FILE")]
    key: Option<Source>,
    /// A credential by its id, as records name it: a key's public id, key:ID or x509:DIGEST; or a certificate by its SHA-256
    /// fingerprint, as `openssl x509 -fingerprint -sha256` prints it
    #[arg(long, value_name = "ID", value_parser = credential)]
    credential: Option<String>,
    /// A certificate, and all tokens made from it or bound to it: a file in PEM, with its chain or without
    #[arg(long, value_name = "FILE")]
    certificate: Option<Source>,
    /// The certificate that this command connects with
    #[arg(long)]
    own_certificate: bool,
    /// A subject, as tokens name it in `sub` or as an actor. Not what a key got over a workload's certificate: that is the key's,
    /// and goes with --key or --certificate
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
    /// The broker's issuer: every token so far
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// A SPIFFE trust domain: all of its workloads, as --subject has each
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<String>,
    /// A signing key that is compromised; its spare takes over
    #[arg(long, value_name = "KID", allow_hyphen_values = true)]
    signing_key: Option<String>,
    /// All API keys of an owner
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
}

impl ThingArgs {
    fn thing(self) -> Result<Thing, Failure> {
        let Self {
            token,
            token_id,
            key,
            credential,
            certificate,
            own_certificate: _,
            subject,
            issuer,
            trust_domain,
            signing_key,
            owner,
        } = self;
        let token = token.map(|source| source.token()).transpose()?;
        let key = key.map(|source| source.api_key()).transpose()?;
        let certificate = certificate.map(|source| der(&source)).transpose()?;
        let named = [
            token.map(|token| Thing::Token(token.expose().to_owned())),
            token_id.map(Thing::TokenId),
            key.map(|key| Thing::ApiKey(key.expose().to_owned())),
            credential.map(Thing::CredentialId),
            certificate.map(Thing::Certificate),
            subject.map(Thing::Subject),
            issuer.map(Thing::Issuer),
            trust_domain.map(Thing::TrustDomain),
            signing_key.map(Thing::SigningKey),
            owner.map(Thing::Owner),
        ];
        let own = Thing::PeerCertificate(PeerCertificateOfCaller {});
        Ok(named.into_iter().flatten().next().unwrap_or(own))
    }
}

/// The certificate of a file; of a chain, the one that is no authority's.
fn der(source: &Source) -> Result<Vec<u8>, Failure> {
    let text = source.text(limits::TRUST_FILE)?;
    let none = || Failure::usage(format!("{} holds no certificate", source.name()));
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let all = all.map_err(|error| none().why(error))?;
    let mut leaves = all.iter().filter(|der| !is_authority(der));
    // That of an authority alone is the broker's to refuse, which says what to do.
    let leaf = leaves.next().or(all.first()).ok_or_else(none)?;
    if leaves.next().is_some() {
        let several = format!(
            "{} holds more than one certificate that is no authority's",
            source.name()
        );
        return Err(Failure::usage(several).next("put each into a file of its own"));
    }
    Ok(leaf.to_vec())
}

fn is_authority(der: &CertificateDer<'_>) -> bool {
    let parsed = X509Certificate::from_der(der);
    parsed.is_ok_and(|(_, certificate)| certificate.is_ca())
}

#[derive(Serialize)]
struct Revoked {
    markers: Vec<View>,
    revision: String,
    durable: bool,
}

#[derive(Serialize)]
struct WouldHit {
    tokens: u64,
    keys: u64,
    token_ids: Vec<String>,
    credentials: Vec<String>,
    subjects: Vec<String>,
    complete: bool,
}

/// Of an owner, who may be misspelt: there is no list to look owners up in.
const NO_KEY: &str = "There is nothing to revoke: the owner has no key that is not revoked. \
    `cambist key list --owner OWNER` shows what it has.";

pub(super) async fn run(args: RevokeArgs, world: &World) -> Result<(), Failure> {
    let idempotency_key = world.idempotency_key(args.idempotency_key.as_deref())?;
    let thing = args.thing.thing()?;
    let nothing = matches!(thing, Thing::Owner(_)).then_some(NO_KEY);
    let request = RevokeRequest {
        thing: Some(thing),
        before: args.before.map(to_proto),
        ban: args.ban,
        reason: args.reason.unwrap_or_default(),
        dry_run: args.dry_run,
        idempotency_key: idempotency_key.clone(),
    };
    let connection = args.connect.connect().await?;
    let answer = connection.revocation().revoke(request).await;
    let answer = answer.map_err(|status| {
        Connection::unsure(&status, &idempotency_key).also_after(
            Code::NotAuthorised,
            "who holds it revokes it with --token FILE, --key FILE or --own-certificate, and without --dry-run",
        )
    })?;
    let RevokeResponse {
        markers,
        revision,
        durable,
        hit,
    } = answer.into_inner();
    if let Some(hit) = hit {
        return print_hit(hit, nothing, world);
    }
    let revoked = Revoked {
        markers: markers.into_iter().map(View::from).collect(),
        revision,
        durable,
    };
    world.output.show(&revoked, || {
        let now = world.clock.now();
        let rows = revoked
            .markers
            .iter()
            .map(|marker| marker.row(now))
            .collect();
        let markers = table(
            &View::HEADER,
            rows,
            nothing.unwrap_or("There was nothing to revoke."),
        );
        match revoked.revision.as_str() {
            "" => markers,
            revision => format!("{markers}\nin force at {revision}"),
        }
    })?;
    if durable {
        Ok(())
    } else {
        Err(Failure::not_durable())
    }
}

fn print_hit(hit: Hit, nothing: Option<&str>, world: &World) -> Result<(), Failure> {
    let Hit {
        tokens,
        token_ids,
        credential_ids,
        subjects,
        complete,
        keys,
    } = hit;
    if !complete {
        world
            .output
            .warn("not all of the log was read: it would hit at least this");
    }
    let hit = WouldHit {
        tokens,
        keys,
        token_ids,
        credentials: credential_ids,
        subjects,
        complete,
    };
    world.output.show(&hit, || {
        if let Some(nothing) = nothing.filter(|_| hit.keys == 0) {
            return nothing.to_owned();
        }
        let keys = match hit.keys {
            0 => String::new(),
            keys => format!("{keys} that would end"),
        };
        fields(&[
            ("tokens", format!("{} that are good now", hit.tokens)),
            ("keys", keys),
            ("by jti", hit.token_ids.join(" ")),
            ("credentials", hit.credentials.join(" ")),
            ("subjects", hit.subjects.join(" ")),
        ])
    })
}
