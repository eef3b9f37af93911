//! Certificate authorities and certificates, made in place.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use time::{Duration, OffsetDateTime};

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM form.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for `localhost` and 127.0.0.1 that is valid now.
    pub(crate) fn server(&self) -> Identity {
        self.sign(
            ["localhost", "127.0.0.1"],
            ExtendedKeyUsagePurpose::ServerAuth,
            |_| (),
        )
    }

    /// A server's certificate that lapsed an hour ago.
    pub(crate) fn expired_server(&self) -> Identity {
        let now = OffsetDateTime::from_unix_timestamp(
            cambist::clock::Clock::now(&*cambist::clock::SystemClock::shared()).as_second(),
        )
        .unwrap();
        self.sign(
            ["localhost", "127.0.0.1"],
            ExtendedKeyUsagePurpose::ServerAuth,
            |params| {
                params.not_before = now - Duration::days(1);
                params.not_after = now - Duration::hours(1);
            },
        )
    }

    /// A server's certificate for another name.
    pub(crate) fn foreign_server(&self) -> Identity {
        self.sign(
            ["broker.example.org"],
            ExtendedKeyUsagePurpose::ServerAuth,
            |_| (),
        )
    }

    /// A client's certificate.
    pub(crate) fn client(&self, name: &str) -> Identity {
        self.sign([name], ExtendedKeyUsagePurpose::ClientAuth, |_| ())
    }

    fn sign<const N: usize>(
        &self,
        names: [&str; N],
        usage: ExtendedKeyUsagePurpose,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = CertificateParams::new(names.map(str::to_owned)).unwrap();
        params.distinguished_name = distinguished(names[0]);
        params.extended_key_usages = vec![usage];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(name);
    params
}

fn distinguished(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
