//! What the configuration names by path: read at the start, and again when it changes.

use super::reloads::{Contents, Reloads};
use super::{World, reloads};
use crate::audit::Log;
use crate::clock::Random;
use crate::config::{self, Config, PolicyFiles};
use crate::keys::{Kek, SigningAlgorithm};
use crate::lifecycle::files::FileWatch;
use crate::limits;
use crate::listener::{
    ClientCertificates, ConnectionLimits, Faces, IdentityError, IdentityFiles, ListenAddress,
    ListenerConfig, ServerIdentity,
};
use crate::policy::{Diagnostic, Document, Origin, Policies};
use crate::proto::{audit_server, inventory_server, policy_server};
use crate::telemetry::Metrics;
use crate::trust::TrustStore;
use crate::trust::fetch::{DomainFiles, TrustFiles};
use anyhow::{Context as _, anyhow};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

/// Creates the folder of store and log; one that others may write into is refused.
pub(super) fn private_folder(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    if !path.exists() {
        let created = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path);
        created.with_context(|| format!("the data folder {shown} cannot be created"))?;
    }
    let mode = std::fs::metadata(path)
        .with_context(|| format!("the data folder {shown}"))?
        .permissions()
        .mode();
    if mode & 0o022 != 0 {
        return Err(anyhow!(
            "the data folder {shown} can be written by others; it must be the broker's alone (0700)"
        ));
    }
    Ok(())
}

/// The CA certificates in a PEM file.
pub(super) fn roots(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let shown = path.display();
    let roots: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .with_context(|| shown.to_string());
    let roots = roots?;
    if roots.is_empty() {
        return Err(anyhow!("{shown}: no certificate is in it"));
    }
    Ok(roots)
}

/// Makes the key that seals signing keys at rest, in a file that did not exist.
///
/// # Errors
/// What the operating system says.
pub fn create_seal_key(path: &Path, random: &dyn Random) -> anyhow::Result<()> {
    Ok(Kek::create(path, random).map(drop)?)
}

/// Policies from files, checked as a whole before any is in force. Answers what was in the files.
pub(super) fn load_policies(files: &PolicyFiles, policies: &Policies) -> anyhow::Result<Contents> {
    let listed = files
        .list()
        .map_err(|(path, error)| anyhow!("{}: {error}", path.display()))?;
    let mut documents = Vec::with_capacity(listed.len());
    for path in listed {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if text.len() > limits::POLICY_DOCUMENT {
            return Err(anyhow!(
                "{}: larger than {} bytes",
                path.display(),
                limits::POLICY_DOCUMENT
            ));
        }
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        documents.push(Document {
            name,
            text,
            origin: Origin::Configuration,
        });
    }
    let parts = documents.iter().flat_map(|one| [&one.name, &one.text]);
    let sha256 = reloads::sha256(parts.map(String::as_bytes));
    let loaded = policies.set_configured(documents).map_err(diagnosed)?;
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "policy");
    }
    tracing::info!(policies = loaded.policies, revision = %loaded.revision, "policies in force");
    let says = serde_json::json!({ "policies": loaded.policies, "set": &*loaded.revision });
    Ok(Contents { sha256, says })
}

/// What is wrong with policies, a line each.
pub(super) fn diagnosed(found: Vec<Diagnostic>) -> anyhow::Error {
    let lines: Vec<String> = found
        .iter()
        .filter(|one| !one.warning)
        .map(ToString::to_string)
        .collect();
    anyhow!("{}", lines.join("\n"))
}

/// The files that say which workloads are believed.
pub(super) fn trust_files<'d>(
    domains: impl Iterator<Item = &'d config::TrustDomainFiles>,
) -> TrustFiles {
    let domains = domains.map(|domain| DomainFiles {
        trust_domain: domain.name.clone(),
        bundle: Some(domain.bundle.clone()),
        crls: domain.crls.clone(),
    });
    TrustFiles::new(domains.collect())
}

/// Reads the policy files, and keeps reading them when they change; a bad set leaves the old one in force. Either is put on
/// the record. Answers what was in them at first.
pub(super) fn follow_policies(
    config: &Config,
    world: &World,
    policies: &Arc<Policies>,
    log: &Log,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Contents> {
    let (sources, policies) = (config.policy.clone(), Arc::clone(policies));
    let listed = sources.clone();
    // The directories, for files that come and go, and the files of this moment, for what is written into them.
    let paths = move || {
        let mut paths = listed.files.clone();
        paths.extend(listed.list().unwrap_or_default());
        paths
    };
    let reloads = Arc::new(Reloads::new("policy.reload"));
    let told = Arc::clone(&reloads);
    FileWatch::new("policies", paths).start(&world.lifecycle, Arc::clone(metrics), move || {
        told.note(load_policies(&sources, &policies))
    })?;
    reloads.follow(world, log)
}

/// Reads the trust bundles and revocation lists, and keeps reading them when they change. Each change is put on the record.
/// Answers what was in them at first.
pub(super) fn follow_trust(
    config: &Config,
    world: &World,
    trust: &Arc<TrustStore>,
    log: &Log,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Contents> {
    let files = trust_files(config.trust_domains.iter());
    let (paths, trust) = (files.paths(), Arc::clone(trust));
    let watch = FileWatch::new("trust", move || paths.clone());
    let reloads = Arc::new(Reloads::new("trust.reload"));
    let told = Arc::clone(&reloads);
    watch.start(&world.lifecycle, Arc::clone(metrics), move || {
        told.note(load_trust(&files, &trust))
    })?;
    reloads.follow(world, log)
}

fn load_trust(files: &TrustFiles, trust: &TrustStore) -> anyhow::Result<Contents> {
    let materials = files.read()?;
    let (mut roots, mut crls) = (0, 0);
    let mut parts: Vec<&[u8]> = Vec::new();
    for material in &materials {
        parts.push(material.trust_domain.as_str().as_bytes());
        for root in &material.roots {
            parts.extend([&b"root"[..], root.as_ref()]);
            roots += 1;
        }
        for crl in &material.crls {
            parts.extend([&b"crl"[..], crl.as_ref()]);
            crls += 1;
        }
    }
    let sha256 = reloads::sha256(parts);
    let domains = materials.len();
    trust.replace(materials)?;
    let says = serde_json::json!({ "trust_domains": domains, "roots": roots, "crls": crls });
    Ok(Contents { sha256, says })
}

/// Reads the server's certificate, and keeps reading it when it changes.
pub(super) fn follow_identity(
    config: &Config,
    world: &World,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Arc<ServerIdentity>>> {
    let Some(tls) = &config.tls else {
        return Ok(None);
    };
    let files = IdentityFiles {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
    };
    let identity = ServerIdentity::load(files, Arc::clone(&world.clock))?;
    let (paths, reloaded, seen) = (identity.paths(), Arc::clone(&identity), Arc::clone(metrics));
    let watch = FileWatch::new("tls", move || paths.clone());
    watch.start(&world.lifecycle, Arc::clone(metrics), move || {
        reloaded.reload()?;
        seen.certificate_expires(reloaded.not_after());
        Ok::<_, IdentityError>(())
    })?;
    Ok(Some(identity))
}

/// A listener's configuration, with the limits that all listeners share.
pub(super) fn listener(from: &config::Listener, shared: &config::Limits) -> ListenerConfig {
    ListenerConfig {
        address: match &from.address {
            config::Address::Tcp(address) => ListenAddress::Tcp(*address),
            config::Address::Unix(path) => ListenAddress::Unix(path.clone()),
        },
        client_certificates: Some(match from.client_certificates {
            config::ClientCertificates::None => ClientCertificates::None,
            config::ClientCertificates::Optional => ClientCertificates::Optional,
            config::ClientCertificates::Required => ClientCertificates::Required,
        }),
        proxy_from: from.proxy_from.clone(),
        faces: Faces {
            grpc: from.faces.contains(&config::Face::Grpc),
            http: from.faces.contains(&config::Face::Http),
        },
        limits: ConnectionLimits {
            connections: shared.connections,
            connections_per_source: shared.source_connections,
            streams: shared.streams,
            handshake: shared.handshake,
            idle: shared.idle,
            age: shared.age,
            patient: [
                audit_server::SERVICE_NAME,
                inventory_server::SERVICE_NAME,
                policy_server::SERVICE_NAME,
            ]
            .map(|service| format!("/{service}/"))
            .into(),
            ..ConnectionLimits::default()
        },
    }
}

/// The signing algorithm that is configured.
pub(super) fn algorithm(configured: config::Algorithm) -> SigningAlgorithm {
    match configured {
        config::Algorithm::Es256 => SigningAlgorithm::Es256,
        config::Algorithm::Ed25519 => SigningAlgorithm::Ed25519,
        config::Algorithm::Rs256 => SigningAlgorithm::Rs256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrators_have_the_time_that_their_command_waits() {
        let text = include_str!("../../deploy/minimal.toml");
        let config = Config::parse(Path::new("/etc/cambist/cambist.toml"), text).unwrap();
        let limits = listener(&config.listeners[0], &config.limits).limits;
        let patient = [
            "/cambist.v1.Audit/",
            "/cambist.v1.Inventory/",
            "/cambist.v1.Policy/",
        ];
        assert_eq!(limits.patient[..], patient);
    }
}
