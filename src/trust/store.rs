//! The trust bundles in force, and the verifier that asks them.

use super::bundle::{Bundle, BundleMaterial, Crl, InvalidBundle, MaterialFault, Root, Way};
use super::certificate::{Vouched, WorkloadCertificate};
use super::profile;
use super::refusal::CertificateRefusal as Refusal;
use super::twin::twin;
use crate::id::TrustDomain;
use crate::limits;
use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};

/// The bundle of each trust domain, read without a lock and replaced as a whole.
#[derive(Debug, Default)]
pub struct TrustStore {
    current: ArcSwap<Published>,
    publishing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Published {
    generation: u64,
    bundles: HashMap<TrustDomain, Arc<Bundle>>,
}

impl TrustStore {
    /// A store that believes nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `materials` in force in place of all that was, and answers the new generation.
    ///
    /// A domain whose material did not change keeps its generation, so that its certificates are not
    /// checked again. Domains that are not given are no longer believed.
    ///
    /// # Errors
    /// [`InvalidBundle`] for the first domain whose material is bad; then nothing is changed.
    pub fn replace(&self, materials: Vec<BundleMaterial>) -> Result<u64, InvalidBundle> {
        let _one_at_a_time = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load();
        let generation = before.generation.saturating_add(1);
        let mut bundles = HashMap::with_capacity(materials.len());
        for material in materials {
            let domain = material.trust_domain.clone();
            let invalid = |fault| InvalidBundle {
                trust_domain: domain.clone(),
                fault,
            };
            if bundles.len() == limits::TRUST_DOMAINS {
                return Err(invalid(MaterialFault::TooManyDomains));
            }
            if bundles.contains_key(&domain) {
                return Err(invalid(MaterialFault::Repeated));
            }
            let bundle = match before.bundles.get(&domain) {
                Some(same) if same.material == material => Arc::clone(same),
                other => Arc::new(Bundle::check(material, other.map(Arc::as_ref), generation)?),
            };
            bundles.insert(domain, bundle);
        }
        self.current.store(Arc::new(Published {
            generation,
            bundles,
        }));
        Ok(generation)
    }

    /// Verifies a chain, leaf first, as an X.509-SVID (X.509-SVID section 5, RFC 5280 section 6) at `now`.
    ///
    /// # Errors
    /// The first cause, in order: sizes, the form of the leaf, the trust domain, the path, revocation.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<WorkloadCertificate, Refusal> {
        let claimed = profile::check(chain)?;
        let trust_domain = claimed.spiffe_id.trust_domain();
        let bundle = self.bundle(&trust_domain)?;
        let until = bundle.validate(chain, claimed.spiffe_id.as_str(), now)?;
        let (leaf, _) = chain.split_first().ok_or(Refusal::Missing)?;
        Ok(WorkloadCertificate {
            trust_domain,
            spiffe_id: claimed.spiffe_id,
            fingerprint: fingerprint(leaf),
            twin: twin(leaf).as_deref().map(fingerprint),
            not_before: claimed.not_before,
            not_after: claimed.not_after,
            chain: chain.iter().map(|der| der.clone().into_owned()).collect(),
            fence: Arc::default(),
            vouched: Arc::new(ArcSwap::from_pointee(Vouched {
                generation: bundle.generation,
                from: claimed.not_before,
                until,
            })),
        })
    }

    /// Asks again, at each call of a long-lived connection. Two comparisons while the domain's material is
    /// the same and nothing on the path has lapsed; else the whole chain again, once for all calls.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn recheck(
        &self,
        certificate: &WorkloadCertificate,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let current = self.current.load();
        let bundle = current.bundle(&certificate.trust_domain)?;
        let vouched = certificate.vouched.load();
        if vouched.generation == bundle.generation && vouched.from <= now && now <= vouched.until {
            return Ok(());
        }
        let until = bundle.validate(&certificate.chain, certificate.spiffe_id.as_str(), now)?;
        certificate.vouched.store(Arc::new(Vouched {
            generation: bundle.generation,
            from: certificate.not_before,
            until,
        }));
        Ok(())
    }

    fn bundle(&self, domain: &TrustDomain) -> Result<Arc<Bundle>, Refusal> {
        self.current.load().bundle(domain).cloned()
    }
}

fn fingerprint(leaf: &[u8]) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, leaf).as_ref());
    fingerprint
}

impl Published {
    fn bundle(&self, domain: &TrustDomain) -> Result<&Arc<Bundle>, Refusal> {
        self.bundles
            .get(domain)
            .ok_or_else(|| Refusal::UnknownTrustDomain(domain.clone()))
    }
}

impl Bundle {
    /// Path and revocation. Answers until when the result stands if the bundle stays as it is.
    fn validate(
        &self,
        chain: &[CertificateDer<'_>],
        spiffe_id: &str,
        now: Timestamp,
    ) -> Result<Timestamp, Refusal> {
        let (leaf, authorities) = chain.split_first().ok_or(Refusal::Missing)?;
        let leaf = EndEntityCert::try_from(leaf)?;
        // Two parsers read this name. What one verifies the other must have meant.
        if !leaf.valid_uri_names().eq([spiffe_id]) {
            return Err(Refusal::Malformed);
        }
        let mut refused = Refusal::UnknownIssuer;
        for way in &self.ways {
            match self.validate_by(way, &leaf, authorities, now) {
                // Another way says nothing more than that the chain does not belong to its roots.
                Err(Refusal::UnknownIssuer | Refusal::BadSignature)
                    if !matches!(refused, Refusal::UnknownIssuer) => {}
                Err(refusal) => refused = refusal,
                stands => return stands,
            }
        }
        Err(refused)
    }

    fn validate_by(
        &self,
        way: &Way,
        leaf: &EndEntityCert<'_>,
        authorities: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Timestamp, Refusal> {
        let crls: Vec<_> = way.crls.iter().filter_map(|n| self.crls.get(*n)).collect();
        let lists: Vec<_> = crls.iter().map(|crl| &crl.list).collect();
        // Lists are complete and one an issuer, so an issuer that has one answers for all of its
        // certificates, and "unknown" can only mean an issuer that has none.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let at = UnixTime::since_unix_epoch(Duration::from_secs(
            now.as_second().try_into().unwrap_or_default(),
        ));
        let root_lapsed = Cell::new(false);
        let stands = |path: &VerifiedPath<'_>| {
            // A certificate by which one key of an authority vouches for another leads to an issuer whose list is not
            // asked here. Where that issuer is believed, it is a root itself.
            let mut authorities = path.intermediate_certificates();
            if authorities.any(|authority| self.leaves_out(way, authority.subject())) {
                return Err(webpki::Error::UnknownIssuer);
            }
            if self.root_of(path).any(|root| root.valid_at(now)) {
                return Ok(());
            }
            root_lapsed.set(true);
            Err(webpki::Error::UnknownIssuer)
        };
        let path = leaf
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &way.anchors,
                authorities,
                at,
                KeyUsage::client_auth(),
                revocation,
                Some(&stands),
            )
            .map_err(|error| match error {
                webpki::Error::UnknownIssuer if root_lapsed.get() => Refusal::RootExpired,
                error => error.into(),
            })?;
        self.stands_until(leaf, &path, &crls, now)
    }

    /// Whether there is a list of an issuer of this name that does not answer for what is below the roots of `way`.
    fn leaves_out(&self, way: &Way, issuer: &[u8]) -> bool {
        let mut lists = self.crls.iter().enumerate();
        lists.any(|(n, crl)| crl.list.issuer() == issuer && !way.crls.contains(&n))
    }

    fn root_of<'a>(&'a self, path: &'a VerifiedPath<'_>) -> impl Iterator<Item = &'a Root> {
        let used = path.anchor();
        self.roots.iter().filter(move |root| {
            root.anchor.subject == used.subject
                && root.anchor.subject_public_key_info == used.subject_public_key_info
        })
    }

    fn stands_until(
        &self,
        leaf: &EndEntityCert<'_>,
        path: &VerifiedPath<'_>,
        crls: &[&Crl],
        now: Timestamp,
    ) -> Result<Timestamp, Refusal> {
        let root = self.root_of(path).filter(|root| root.valid_at(now));
        let root = root.map(|root| root.not_after).max();
        let mut until = root.unwrap_or(now);
        let mut issuers = vec![leaf.issuer()];
        let mut path_ders = vec![leaf.der()];
        for authority in path.intermediate_certificates() {
            issuers.push(authority.issuer());
            path_ders.push(authority.der());
        }
        for der in path_ders {
            until = until.min(profile::validity(&profile::parse(&der)?)?.1);
        }
        // A certificate stands up to and with its notAfter, a list only before its nextUpdate.
        for crl in crls {
            if issuers.contains(&crl.list.issuer()) {
                let second = crl.next_update.as_second().saturating_sub(1);
                until = until.min(Timestamp::from_second(second).unwrap_or(Timestamp::MIN));
            }
        }
        Ok(until)
    }
}

impl Root {
    fn valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}
