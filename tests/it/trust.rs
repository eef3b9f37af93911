//! Who is believed: X.509-SVIDs against the bundle of their own trust domain.

use crate::support::svid::{
    self, Authority, DAY, REVOKED_SERIAL, RsaKey, World, at, now, pem, shift,
};
use cambist::limits;
use cambist::trust::fetch::{DomainFiles, FetchError, TrustFiles};
use cambist::trust::{
    BundleMaterial, CertificateRefusal, InvalidBundle, MaterialFault, TrustStore,
};
use proptest::prelude::*;
use rcgen::{CustomExtension, GeneralSubtree, NameConstraints, SerialNumber};
use rustls_pki_types::CertificateDer;
use std::fs;

fn trusting(materials: Vec<BundleMaterial>) -> TrustStore {
    let store = TrustStore::new();
    store.replace(materials).unwrap();
    store
}

fn fault(store: &TrustStore, material: BundleMaterial) -> MaterialFault {
    let InvalidBundle { fault, .. } = store.replace(vec![material]).unwrap_err();
    fault
}

#[test]
fn a_good_certificate_says_who_it_is() {
    let world = World::new();
    let store = trusting(world.bundles());
    let identity = world.home.below("intermediate").below("another").workload();
    let verified = store.verify(&identity.chain, now()).unwrap();
    assert_eq!(verified.spiffe_id().as_str(), "spiffe://example.org/web");
    assert_eq!(verified.trust_domain().as_str(), "example.org");
    assert_eq!(verified.not_before(), at(-DAY));
    assert_eq!(verified.not_after(), at(DAY));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &identity.chain[0]);
    assert_eq!(verified.fingerprint(), digest.as_ref());
}

#[test]
fn each_bad_certificate_is_refused_for_its_own_cause() {
    let world = World::new();
    let store = trusting(world.bundles());
    assert!(
        store
            .verify(&world.neighbour.workload().chain, now())
            .is_ok()
    );
    for (name, identity, code) in world.bad_cases() {
        let refusal = store.verify(&identity.chain, now()).unwrap_err();
        assert_eq!(refusal.code(), code, "{name}: {refusal}");
        assert!(CertificateRefusal::CODES.contains(&code), "{name}");
    }
    assert_eq!(
        store.verify(&[], now()).unwrap_err(),
        CertificateRefusal::Missing
    );
}

#[test]
fn validity_is_inclusive_at_both_ends() {
    let home = Authority::new("example.org");
    let store = trusting(vec![home.bundle()]);
    let chain = home.issue(|c| shift(c, -10, 10)).chain;
    for (offset, expected) in [
        (-11, Some(CertificateRefusal::NotYetValid)),
        (-10, None),
        (10, None),
        (11, Some(CertificateRefusal::Expired)),
    ] {
        assert_eq!(store.verify(&chain, at(offset)).err(), expected, "{offset}");
    }
}

#[test]
fn sizes_hold_at_n_and_n_plus_one() {
    let home = Authority::new("example.org");
    let store = trusting(vec![home.bundle()]);
    let verify = |chain: &[CertificateDer<'_>]| store.verify(chain, now()).err();
    // webpki itself follows six authorities; what is beyond is presented, not needed.
    let mut chain = home.workload().chain;
    chain.resize(limits::CHAIN, home.certificate.clone());
    assert_eq!(verify(&chain), None);
    chain.push(home.certificate.clone());
    assert_eq!(verify(&chain), Some(CertificateRefusal::ChainTooLong));
    assert_eq!(verify(&home.issue_sized(limits::CERTIFICATE).chain), None);
    let over = home.issue_sized(limits::CERTIFICATE + 1).chain;
    assert_eq!(verify(&over), Some(CertificateRefusal::TooLarge));
    assert_eq!(
        verify(&home.issue_for(&RsaKey::new(limits::CERTIFICATE_RSA_BITS))),
        None
    );
    let over = home.issue_for(&RsaKey::new(limits::CERTIFICATE_RSA_BITS + 1));
    assert_eq!(verify(&over), Some(CertificateRefusal::KeyTooLarge));
    // Also where the key is not the leaf's, and absurdly large.
    let absurd = home.issue_for(&RsaKey::new(64 * 1024));
    let mut chain = home.workload().chain;
    chain.extend(absurd);
    assert_eq!(verify(&chain), Some(CertificateRefusal::KeyTooLarge));
}

#[test]
fn constraints_on_uri_names_are_refused_rather_than_ignored() {
    let home = Authority::new("example.org");
    let store = trusting(vec![home.bundle()]);
    let constrained = home.below_with("constrained", |ca| {
        ca.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::Rfc822Name("example.org".into())],
            excluded_subtrees: Vec::new(),
        });
    });
    // Constraints on other kinds of name do not touch a certificate that has only a URI.
    assert!(store.verify(&constrained.workload().chain, now()).is_ok());
    let constrained = home.below_with("constrained to its own domain", |ca| {
        let subtree = svid::tlv(0x30, &svid::tlv(0x86, b"example.org"));
        let content = svid::tlv(0x30, &svid::tlv(0xa0, &subtree));
        ca.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 30], content)];
    });
    assert_eq!(
        store.verify(&constrained.workload().chain, now()).err(),
        Some(CertificateRefusal::NameConstraint)
    );
}

#[test]
fn an_issuer_without_a_list_revokes_nothing_and_one_with_a_list_is_asked() {
    let home = Authority::new("example.org");
    let below = home.below("intermediate");
    let serial = |c: &mut rcgen::CertificateParams| {
        c.serial_number = Some(SerialNumber::from(REVOKED_SERIAL));
    };
    let leaf = below.issue(serial).chain;
    // The root's list speaks of the intermediate's certificate, not of the leaf's.
    let store = trusting(vec![home.bundle_with(vec![home.crl(
        &[REVOKED_SERIAL],
        -1,
        9,
    )])]);
    assert!(store.verify(&leaf, now()).is_ok());
    let lists = vec![below.crl(&[REVOKED_SERIAL], -1, 9)];
    let store = trusting(vec![home.bundle_with(lists)]);
    assert_eq!(
        store.verify(&leaf, now()).unwrap_err(),
        CertificateRefusal::Revoked
    );
    // A list that bears the intermediate's name and somebody else's signature.
    let forger = home.below("intermediate");
    let store = trusting(vec![home.bundle_with(vec![forger.crl(&[], -1, 9)])]);
    assert_eq!(
        store.verify(&leaf, now()).unwrap_err(),
        CertificateRefusal::BadRevocationList
    );
}

#[test]
fn a_revoked_intermediate_takes_its_leaves_with_it() {
    let home = Authority::new("example.org");
    let below = home.below_with("intermediate", |ca| {
        ca.serial_number = Some(SerialNumber::from(REVOKED_SERIAL));
    });
    let store = trusting(vec![home.bundle_with(vec![home.crl(
        &[REVOKED_SERIAL],
        -1,
        9,
    )])]);
    assert_eq!(
        store.verify(&below.workload().chain, now()).unwrap_err(),
        CertificateRefusal::Revoked
    );
}

#[test]
fn a_live_connection_notices_expiry_revocation_and_distrust() {
    let home = Authority::new("example.org");
    let other = Authority::new("example.com");
    let fresh = || home.bundle_with(vec![home.crl(&[], -9, 100)]);
    let store = trusting(vec![fresh(), other.bundle()]);
    let serial = |c: &mut rcgen::CertificateParams| {
        c.serial_number = Some(SerialNumber::from(REVOKED_SERIAL));
    };
    let held = store.verify(&home.issue(serial).chain, now()).unwrap();
    assert_eq!(store.recheck(&held, now()), Ok(()));
    // The list goes out of date while the connection lives, though nothing was replaced.
    assert_eq!(store.recheck(&held, at(99)), Ok(()));
    assert_eq!(
        store.recheck(&held, at(100)),
        Err(CertificateRefusal::StaleRevocationList)
    );
    let newer = home.bundle_with(vec![home.crl(&[], -8, 2 * DAY)]);
    store.replace(vec![newer.clone(), other.bundle()]).unwrap();
    assert_eq!(store.recheck(&held, at(100)), Ok(()));
    assert_eq!(store.recheck(&held, at(DAY)), Ok(()));
    assert_eq!(
        store.recheck(&held, at(DAY + 1)),
        Err(CertificateRefusal::Expired)
    );
    assert_eq!(
        store.recheck(&held, at(-DAY - 1)),
        Err(CertificateRefusal::NotYetValid)
    );
    let list = home.crl(&[REVOKED_SERIAL], -7, 2 * DAY);
    store.replace(vec![home.bundle_with(vec![list])]).unwrap();
    assert_eq!(
        store.recheck(&held, now()),
        Err(CertificateRefusal::Revoked)
    );
    store.replace(vec![other.bundle()]).unwrap();
    assert_eq!(
        store.recheck(&held, now()),
        Err(CertificateRefusal::UnknownTrustDomain(home.domain.clone()))
    );
}

/// An authority changes its key and keeps its name: for a while there are two roots of one name, and a list of either. Each
/// list answers for the certificates of its own key.
#[test]
fn a_list_answers_for_the_key_that_signed_it_and_not_for_the_name() {
    let (old, new) = (Authority::new("example.org"), Authority::new("example.org"));
    let serial =
        |c: &mut rcgen::CertificateParams, n| c.serial_number = Some(SerialNumber::from(n));
    let [of_old, of_new] = [&old, &new]
        .map(|by| [REVOKED_SERIAL, REVOKED_SERIAL + 1].map(|n| by.issue(|c| serial(c, n)).chain));
    let by_old = || old.crl(&[REVOKED_SERIAL], -2, DAY);
    let by_new = || new.crl(&[REVOKED_SERIAL + 1], -1, DAY);
    let revoked = Err(CertificateRefusal::Revoked);
    for (crls, new_refused) in [
        (vec![by_old()], [Ok(()), Ok(())]),
        (vec![by_old(), by_new()], [Ok(()), revoked.clone()]),
        (vec![by_new(), by_old()], [Ok(()), revoked.clone()]),
    ] {
        for roots in [[&old, &new], [&new, &old]] {
            let store = trusting(vec![BundleMaterial {
                roots: roots.map(|by| by.certificate.clone()).to_vec(),
                ..old.bundle_with(crls.clone())
            }]);
            let verified = |chain: &Vec<_>| store.verify(chain, now()).map(drop);
            assert_eq!(of_old.each_ref().map(verified), [revoked.clone(), Ok(())]);
            assert_eq!(of_new.each_ref().map(verified), new_refused);
            // Neither key's vouching for the other leads around a list.
            let by_link = |chain: &Vec<_>, link: &CertificateDer<'static>| {
                verified(&[&chain[..], std::slice::from_ref(link)].concat())
            };
            let [old_with_new, new_with_old] = [old.linked_by(&new), new.linked_by(&old)];
            assert_eq!(
                of_old.each_ref().map(|chain| by_link(chain, &old_with_new)),
                [revoked.clone(), Ok(())]
            );
            assert_eq!(
                of_new.each_ref().map(|chain| by_link(chain, &new_with_old)),
                new_refused
            );
            let stranger = Authority::new("example.org").workload().chain;
            assert_eq!(verified(&stranger), Err(CertificateRefusal::BadSignature));
        }
    }
    // The newest of one key is still the newest.
    let both = |crls| BundleMaterial {
        roots: vec![old.certificate.clone(), new.certificate.clone()],
        ..old.bundle_with(crls)
    };
    let store = trusting(vec![both(vec![by_old(), by_new()])]);
    let older = both(vec![old.crl(&[], -3, DAY)]);
    assert_eq!(fault(&store, older), MaterialFault::OlderRevocationList(1));
    let repeated = both(vec![by_old(), by_new(), by_old()]);
    assert_eq!(
        fault(&store, repeated),
        MaterialFault::RepeatedRevocationList(3)
    );
}

#[test]
fn bad_material_leaves_the_old_in_place() {
    let home = Authority::new("example.org");
    let store = trusting(vec![home.bundle_with(vec![home.crl(&[], -9, DAY)])]);
    let with_roots = |roots| BundleMaterial {
        roots,
        ..home.bundle()
    };
    let crl = |list| home.bundle_with(vec![list]);
    let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
    let mut forged = home.crl(&[], -1, DAY).to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let leaf = home.workload().chain[0].clone();
    let no_signing = Authority::with("example.org", |ca| {
        ca.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    });
    for (material, expected) in [
        (with_roots(vec![]), MaterialFault::Empty),
        (
            with_roots(vec![home.certificate.clone(), garbage]),
            MaterialFault::Root(2, CertificateRefusal::Malformed),
        ),
        (with_roots(vec![leaf]), MaterialFault::NotAnAuthority(1)),
        (no_signing.bundle(), MaterialFault::NotAnAuthority(1)),
        (crl(forged.into()), MaterialFault::ForgedRevocationList(1)),
        (
            crl(Authority::new("example.org").crl(&[], -1, DAY)),
            MaterialFault::ForgedRevocationList(1),
        ),
        (
            crl(home.crl(&[], -10, DAY)),
            MaterialFault::OlderRevocationList(1),
        ),
        (
            home.bundle_with(vec![home.crl(&[], -2, DAY), home.crl(&[], -1, DAY)]),
            MaterialFault::RepeatedRevocationList(2),
        ),
    ] {
        assert_eq!(fault(&store, material), expected);
    }
    let twice = store.replace(vec![home.bundle(), home.bundle()]);
    assert_eq!(twice.unwrap_err().fault, MaterialFault::Repeated);
    let good_then_bad = store.replace(vec![
        Authority::new("example.com").bundle(),
        with_roots(vec![]),
    ]);
    assert_eq!(good_then_bad.unwrap_err().fault, MaterialFault::Empty);
    let neighbour = Authority::new("example.com").workload();
    assert!(store.verify(&neighbour.chain, now()).is_err());
    assert!(store.verify(&home.workload().chain, now()).is_ok());
}

#[test]
fn numbers_of_roots_and_domains_hold_at_n_and_n_plus_one() {
    let home = Authority::new("example.org");
    let store = TrustStore::new();
    let roots = |n| BundleMaterial {
        roots: vec![home.certificate.clone(); n],
        ..home.bundle()
    };
    assert!(store.replace(vec![roots(limits::ROOTS)]).is_ok());
    assert_eq!(
        fault(&store, roots(limits::ROOTS + 1)),
        MaterialFault::TooManyRoots
    );
    let domains = |n: usize| -> Vec<_> {
        let domain = |i| BundleMaterial {
            trust_domain: format!("d{i}").parse().unwrap(),
            ..home.bundle()
        };
        (0..n).map(domain).collect()
    };
    assert!(store.replace(domains(limits::TRUST_DOMAINS)).is_ok());
    let over = store.replace(domains(limits::TRUST_DOMAINS + 1));
    assert_eq!(over.unwrap_err().fault, MaterialFault::TooManyDomains);
}

#[test]
fn a_root_that_was_renewed_with_the_same_key_counts_whichever_comes_first() {
    let home = Authority::new("example.org");
    let mut params = rcgen::CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "root of example.org");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    shift(&mut params, -30 * DAY, -DAY);
    let old = params.self_signed(home.issuer.key()).unwrap().der().clone();
    for roots in [
        vec![old.clone(), home.certificate.clone()],
        vec![home.certificate.clone(), old.clone()],
    ] {
        let material = BundleMaterial {
            roots,
            ..home.bundle()
        };
        let store = trusting(vec![material]);
        assert!(store.verify(&home.workload().chain, now()).is_ok());
    }
}

#[test]
fn files_are_read_and_bad_files_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = Authority::new("example.org");
    let (bundle, list) = (
        folder.path().join("roots.pem"),
        folder.path().join("crl.pem"),
    );
    fs::write(&bundle, pem("CERTIFICATE", &home.certificate)).unwrap();
    fs::write(
        &list,
        pem("X509 CRL", &home.crl(&[REVOKED_SERIAL], -9, DAY)),
    )
    .unwrap();
    let files = TrustFiles::new(vec![DomainFiles {
        trust_domain: home.domain.clone(),
        bundle: Some(bundle.clone()),
        crls: vec![list.clone()],
    }]);
    assert_eq!(files.paths(), [bundle.clone(), list.clone()]);
    let store = TrustStore::new();
    assert_eq!(files.load_into(&store).unwrap(), 1);
    let revoked = home.issue(|c| c.serial_number = Some(SerialNumber::from(REVOKED_SERIAL)));
    let refusal = || store.verify(&revoked.chain, now()).unwrap_err();
    assert_eq!(refusal(), CertificateRefusal::Revoked);
    fs::write(&list, "").unwrap();
    assert!(matches!(
        files.load_into(&store),
        Err(FetchError::NoList(_))
    ));
    fs::remove_file(&list).unwrap();
    assert!(matches!(
        files.load_into(&store),
        Err(FetchError::Read { .. })
    ));
    fs::write(&list, "-----BEGIN X509 CRL-----\n!!\n").unwrap();
    assert!(matches!(
        files.load_into(&store),
        Err(FetchError::Pem { .. })
    ));
    fs::write(&list, pem("X509 CRL", b"nonsense")).unwrap();
    assert!(matches!(
        files.load_into(&store),
        Err(FetchError::Invalid(_))
    ));
    fs::write(&list, vec![b'\n'; limits::TRUST_FILE + 1]).unwrap();
    assert!(matches!(
        files.load_into(&store),
        Err(FetchError::TooLarge(_))
    ));
    fs::write(&list, vec![b'\n'; limits::TRUST_FILE]).unwrap();
    assert!(matches!(
        files.load_into(&store),
        Err(FetchError::NoList(_))
    ));
    assert_eq!(refusal(), CertificateRefusal::Revoked);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A chain of a good certificate with any one byte changed is refused or, where the byte is not
    /// covered by the signature's meaning, says the same.
    #[test]
    fn a_changed_byte_never_changes_who_it_is(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let home = Authority::new("example.org");
        let store = trusting(vec![home.bundle()]);
        let mut der = home.workload().chain[0].to_vec();
        let place = place.index(der.len());
        der[place] ^= flip;
        if let Ok(verified) = store.verify(&[der.into()], now()) {
            prop_assert_eq!(verified.spiffe_id().as_str(), "spiffe://example.org/web");
        }
    }

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let store = trusting(vec![Authority::new("example.org").bundle()]);
        let refusal = store.verify(&[bytes.into()], now()).unwrap_err();
        prop_assert_eq!(refusal, CertificateRefusal::Malformed);
    }
}
