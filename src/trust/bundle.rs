//! One trust domain's roots and revocation lists, checked before anything relies on them.

use super::profile;
use super::refusal::CertificateRefusal;
use crate::id::TrustDomain;
use crate::limits;
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor};
use std::collections::BTreeMap;
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

/// Raw trust material of one domain, as a file or a bundle endpoint gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleMaterial {
    /// The domain that these roots answer for, and no other.
    pub trust_domain: TrustDomain,
    /// The roots; at least one.
    pub roots: Vec<CertificateDer<'static>>,
    /// Complete revocation lists, at most one an issuer. An issuer without one revokes nothing.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
}

/// Why trust material is not taken. What was there before stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("trust domain {trust_domain}: {fault}")]
pub struct InvalidBundle {
    /// The domain whose material is at fault.
    pub trust_domain: TrustDomain,
    /// What is wrong with it.
    pub fault: MaterialFault,
}

/// What is wrong with trust material. Positions count from one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaterialFault {
    /// More domains than are held.
    #[error("there are more than {} trust domains", limits::TRUST_DOMAINS)]
    TooManyDomains,
    /// The same domain twice.
    #[error("the trust domain is given twice")]
    Repeated,
    /// No root.
    #[error("there is no root")]
    Empty,
    /// More roots than path building may try.
    #[error("there are more than {} roots", limits::ROOTS)]
    TooManyRoots,
    /// A root that is no certificate.
    #[error("root {0}: {1}")]
    Root(usize, CertificateRefusal),
    /// A root that may not sign certificates.
    #[error("root {0} is not a certificate authority's")]
    NotAnAuthority(usize),
    /// A revocation list that cannot be used.
    #[error("revocation list {0} cannot be used: {1}")]
    RevocationList(usize, String),
    /// A partitioned list would leave certificates unchecked.
    #[error(
        "revocation list {0} covers only a part of its issuer's certificates; a complete one is needed"
    )]
    PartialRevocationList(usize),
    /// Two lists of one issuer: the older one would un-revoke.
    #[error("revocation list {0} is the second of its issuer; give only the newest")]
    RepeatedRevocationList(usize),
    /// Signed by something else than a root that bears its issuer's name.
    #[error("revocation list {0} is not signed by a root of its issuer's name")]
    ForgedRevocationList(usize),
    /// Older than the list in force.
    #[error("revocation list {0} is older than the one in force")]
    OlderRevocationList(usize),
}

/// Checked material.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) generation: u64,
    pub(super) material: BundleMaterial,
    pub(super) roots: Vec<Root>,
    pub(super) crls: Vec<Crl>,
    pub(super) ways: Vec<Way>,
}

/// Roots, and the lists that answer for what is below them. Path building finds a list by its issuer's name alone; when an
/// authority's key is changed under its name, the list of either key is none of the other's.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    /// Positions in [`Bundle::crls`].
    pub(super) crls: Vec<usize>,
}

/// A root and its own validity, which path building does not look at.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) anchor: TrustAnchor<'static>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// A complete revocation list.
#[derive(Debug)]
pub(super) struct Crl {
    pub(super) list: CertRevocationList<'static>,
    issuer: Vec<u8>,
    /// The key of the root that signed it; none where an authority below a root did, or where that cannot be told here.
    signer: Option<Vec<u8>>,
    this_update: i64,
    pub(super) next_update: Timestamp,
}

impl Bundle {
    /// Checks `material`; `in_force` is what it would replace.
    pub(super) fn check(
        material: BundleMaterial,
        in_force: Option<&Self>,
        generation: u64,
    ) -> Result<Self, InvalidBundle> {
        let invalid = |fault| InvalidBundle {
            trust_domain: material.trust_domain.clone(),
            fault,
        };
        if material.roots.is_empty() {
            return Err(invalid(MaterialFault::Empty));
        }
        if material.roots.len() > limits::ROOTS {
            return Err(invalid(MaterialFault::TooManyRoots));
        }
        let numbered_roots = material.roots.iter().zip(1..);
        let roots: Vec<Root> = numbered_roots
            .map(|(der, n)| check_root(der, n))
            .collect::<Result<_, _>>()
            .map_err(invalid)?;
        let mut crls: Vec<Crl> = Vec::with_capacity(material.crls.len());
        for (der, n) in material.crls.iter().zip(1..) {
            let crl = check_crl(der, n, &material.roots).map_err(invalid)?;
            if crls.iter().any(|other| other.is_of_issuer(&crl)) {
                return Err(invalid(MaterialFault::RepeatedRevocationList(n)));
            }
            let newer = |b: &Self| {
                b.crls
                    .iter()
                    .any(|old| old.is_of_issuer(&crl) && old.this_update > crl.this_update)
            };
            if in_force.is_some_and(newer) {
                return Err(invalid(MaterialFault::OlderRevocationList(n)));
            }
            crls.push(crl);
        }
        Ok(Self {
            generation,
            material,
            ways: ways(&roots, &crls),
            roots,
            crls,
        })
    }
}

impl Crl {
    fn is_of_issuer(&self, other: &Self) -> bool {
        (&self.issuer, &self.signer) == (&other.issuer, &other.signer)
    }

    /// Whether it is of an issuer that has only the name in common with `root`.
    fn is_of_namesake(&self, root: &TrustAnchor<'_>) -> bool {
        self.issuer == root.subject.as_ref()
            && self
                .signer
                .as_deref()
                .is_some_and(|signer| signer != root.subject_public_key_info.as_ref())
    }
}

fn ways(roots: &[Root], crls: &[Crl]) -> Vec<Way> {
    let mut ways = BTreeMap::<Vec<usize>, Vec<TrustAnchor<'static>>>::new();
    for root in roots {
        let lists = crls.iter().enumerate();
        let lists = lists.filter(|(_, crl)| !crl.is_of_namesake(&root.anchor));
        let lists = lists.map(|(position, _)| position).collect();
        ways.entry(lists).or_default().push(root.anchor.clone());
    }
    ways.into_iter()
        .map(|(crls, anchors)| Way { anchors, crls })
        .collect()
}

fn check_root(der: &CertificateDer<'static>, n: usize) -> Result<Root, MaterialFault> {
    let refused = |refusal| MaterialFault::Root(n, refusal);
    let certificate = profile::parse(der).map_err(refused)?;
    let malformed = |_| refused(CertificateRefusal::Malformed);
    let constraints = certificate.basic_constraints().map_err(malformed)?;
    let usage = certificate.key_usage().map_err(malformed)?;
    let may_sign = constraints.is_some_and(|extension| extension.value.ca)
        && usage.is_none_or(|extension| extension.value.key_cert_sign());
    if !may_sign {
        return Err(MaterialFault::NotAnAuthority(n));
    }
    let (not_before, not_after) = profile::validity(&certificate).map_err(refused)?;
    let anchor = webpki::anchor_from_trusted_cert(der)
        .map_err(|error| refused(error.into()))?
        .to_owned();
    Ok(Root {
        anchor,
        not_before,
        not_after,
    })
}

fn check_crl(
    der: &CertificateRevocationListDer<'_>,
    n: usize,
    roots: &[CertificateDer<'_>],
) -> Result<Crl, MaterialFault> {
    let unusable = |text: &str| MaterialFault::RevocationList(n, text.to_owned());
    let list = OwnedCertRevocationList::from_der(der)
        .map(CertRevocationList::from)
        .map_err(|error| unusable(&error.to_string()))?;
    if list.issuing_distribution_point().is_some() {
        return Err(MaterialFault::PartialRevocationList(n));
    }
    let (_, parsed) =
        CertificateRevocationList::from_der(der).map_err(|_| unusable("it cannot be parsed"))?;
    let next_update = parsed
        .next_update()
        .and_then(|time| Timestamp::from_second(time.timestamp()).ok())
        .ok_or_else(|| unusable("it does not say when the next one comes"))?;
    let signer = signer(&parsed, roots).map_err(|()| MaterialFault::ForgedRevocationList(n))?;
    Ok(Crl {
        issuer: list.issuer().to_vec(),
        signer,
        this_update: parsed.last_update().timestamp(),
        next_update,
        list,
    })
}

/// The key of the root that signed a list. A list by a root is checked here and now; one by an authority below the root,
/// which comes with the peer's chain, when it is used. An algorithm that this parser lacks is left to that moment as well.
fn signer(
    crl: &CertificateRevocationList<'_>,
    roots: &[CertificateDer<'_>],
) -> Result<Option<Vec<u8>>, ()> {
    let mut named = false;
    let mut unsure = false;
    for der in roots {
        let Ok((_, root)) = X509Certificate::from_der(der) else {
            continue;
        };
        if root.subject().as_raw() != crl.issuer().as_raw() {
            continue;
        }
        named = true;
        match crl.verify_signature(root.public_key()) {
            Ok(()) => {
                let anchor = webpki::anchor_from_trusted_cert(der).map_err(drop)?;
                return Ok(Some(anchor.subject_public_key_info.to_vec()));
            }
            Err(X509Error::SignatureVerificationError) => {}
            Err(_) => unsure = true,
        }
    }
    if named && !unsure { Err(()) } else { Ok(None) }
}
