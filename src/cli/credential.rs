//! A credential as people name it.

use crate::id::{CredentialId, KeyPublicId};

/// What `openssl x509 -fingerprint -sha256` prints before the digits; some versions in capitals.
const LABEL: &str = "sha256 fingerprint";
/// Fewer hexadecimal digits than any fingerprint has, and more than a key's id.
const FEW: usize = 32;

/// A fingerprint of another hash, or not a whole one.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "not a SHA-256 fingerprint, which has 64 hexadecimal digits: openssl x509 -noout -fingerprint -sha256 -in FILE"
)]
pub(super) struct NotAFingerprint;

/// A credential as records name it. A key goes by its bare id too, and a certificate by its fingerprint in hexadecimal digits,
/// with colons or without. Anything else is left as it is: the broker says what is wrong with it.
pub(super) fn credential(text: &str) -> Result<String, NotAFingerprint> {
    let text = text.trim();
    if let Ok(id) = KeyPublicId::parse(text) {
        return Ok(format!("key:{id}"));
    }
    let (label, digits) = match text.split_once('=') {
        Some((label, digits)) => (Some(label.trim()), digits.trim()),
        None => (None, text),
    };
    let is_fingerprint = match label {
        Some(label) => label.to_ascii_lowercase().ends_with("fingerprint"),
        None => digits.len() >= FEW && digits.chars().all(|c| c.is_ascii_hexdigit() || c == ':'),
    };
    if !is_fingerprint {
        return Ok(text.to_owned());
    }
    if label.is_some_and(|label| !label.eq_ignore_ascii_case(LABEL)) {
        return Err(NotAFingerprint);
    }
    let digest = bytes(digits).ok_or(NotAFingerprint)?;
    Ok(CredentialId::Certificate(digest).to_string())
}

/// Bytes in hexadecimal digits, with a colon between all of them or between none.
fn bytes(digits: &str) -> Option<[u8; 32]> {
    let plain = match digits.contains(':') {
        true if digits.split(':').all(|byte| byte.len() == 2) => digits.replace(':', ""),
        true => return None,
        false => digits.to_owned(),
    };
    let mut bytes = [0; 32];
    let (pairs, []) = plain.as_bytes().as_chunks::<2>() else {
        return None;
    };
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: &u8| char::from(*digit).to_digit(16);
        let value = digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?;
        *byte = value.try_into().ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::{SHA256, digest};
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    /// Of which the texts below are what OpenSSL 3.0 prints.
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBcjCCARegAwIBAgIUH4yKlAl8iN0rszDQMeKh/Db0jbYwCgYIKoZIzj0EAwIw
DjEMMAoGA1UEAwwDd2ViMB4XDTI2MTEyMjE4MzEyNloXDTM2MTExOTE4MzEyNlow
DjEMMAoGA1UEAwwDd2ViMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENKqwB3n8
kE64chcsUQXUiPEnc0U76ZhCgG1flw7vfIPTpKYVC653ZdbzIC4GnW3peGGxLQTq
xVladmbzS0qbZqNTMFEwHQYDVR0OBBYEFFPfUQyq/lwY1KuR+GWo0HrvlwFkMB8G
A1UdIwQYMBaAFFPfUQyq/lwY1KuR+GWo0HrvlwFkMA8GA1UdEwEB/wQFMAMBAf8w
CgYIKoZIzj0EAwIDSQAwRgIhANuYyQubKQwRAVGqh0MVRDi/YPI+xXD9BZJE9Fiv
B4B+AiEAwvhqHBWb1A6CAt6hjXruDMb+TODtx6/JMrcHzbt5Phs=
-----END CERTIFICATE-----
";
    const PRINTED: &str = "sha256 Fingerprint=9B:92:4A:0B:47:0E:3C:26:2D:64:14:90:DE:BA:79:7E:52:F0:B4:63:A4:F3:EA:AD:A0:26:AB:8C:19:3A:E9:26
";
    const SHA1: &str =
        "SHA1 Fingerprint=57:C0:8A:A2:A0:94:E4:66:C5:FF:E3:D0:29:9A:BB:85:88:87:86:AE
";
    const NAMED: &str = "x509:m5JKC0cOPCYtZBSQ3rp5flLwtGOk8-qtoCarjBk66SY";

    #[test]
    fn a_certificate_goes_by_what_openssl_prints_of_it() {
        let der = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
        let hash = digest(&SHA256, &der).as_ref().try_into().unwrap();
        assert_eq!(CredentialId::Certificate(hash).to_string(), NAMED);
        let (_, digits) = PRINTED.trim().split_once('=').unwrap();
        for text in [
            PRINTED.to_owned(),
            PRINTED.to_ascii_uppercase(),
            digits.to_owned(),
            digits.replace(':', ""),
            digits.replace(':', "").to_ascii_lowercase(),
            NAMED.to_owned(),
        ] {
            assert_eq!(credential(&text).as_deref(), Ok(NAMED), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_sha_256_is_told_apart() {
        let (_, digits) = PRINTED.trim().split_once('=').unwrap();
        let plain = digits.replace(':', "");
        let first = |text: &str, count| text.chars().take(count).collect::<String>();
        for text in [
            SHA1,
            SHA1.trim().split_once('=').unwrap().1,
            &first(digits, 94),
            &first(digits, 92),
            &format!("{digits}:00"),
            &first(&plain, 62),
            &first(&plain, 63),
            &format!("{plain}0"),
            &format!("{plain}00"),
            &plain.replacen("9B", "9B:", 1),
            "sha256 Fingerprint=",
        ] {
            assert_eq!(credential(text), Err(NotAFingerprint), "{text}");
        }
    }

    #[test]
    fn what_is_no_fingerprint_is_left_to_the_broker() {
        for (text, named) in [
            ("9hUyCSJrTE3vv9rz", "key:9hUyCSJrTE3vv9rz"),
            // Also one that looks like digits.
            ("0123456789abcdef", "key:0123456789abcdef"),
            ("key:9hUyCSJrTE3vv9rz", "key:9hUyCSJrTE3vv9rz"),
            ("x509:AAAA", "x509:AAAA"),
            ("abc", "abc"),
            ("", ""),
        ] {
            assert_eq!(credential(text).as_deref(), Ok(named));
        }
    }
}
