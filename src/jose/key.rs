//! A public key that is fit to verify: parsed once, pinned to one algorithm.

use super::{Algorithm, JoseError, Jwk, roca};
use crate::id::KeyId;
use crate::limits;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How many bytes a point of Ed25519 is written in.
const ED25519_POINT: usize = 32;

/// A public key that passed every check of its kind, with the one algorithm that it verifies.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    id: KeyId,
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

/// Of the same id, for the same algorithm, and the same key.
impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
            && self.algorithm == other.algorithm
            && self.key.as_ref() == other.key.as_ref()
    }
}

/// What becomes of a JWK in a set.
pub(super) enum Admission {
    /// It verifies signatures.
    Admitted(VerifyingKey),
    /// It is not for us: of another kind, or for another use.
    Ignored,
}

impl VerifyingKey {
    /// Admits a public key.
    ///
    /// Its `alg` is the only algorithm it will verify. Where it names none, the key's kind decides: a curve has
    /// one algorithm, and RSA means RS256.
    ///
    /// # Errors
    /// [`JoseError::KeyRefused`] when the key is weak, malformed, private, or not for verifying signatures.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, JoseError> {
        match Self::admit(jwk)? {
            Admission::Admitted(key) => Ok(key),
            Admission::Ignored => Err(JoseError::KeyRefused("not for verifying signatures")),
        }
    }

    pub(super) fn admit(jwk: &Jwk) -> Result<Admission, JoseError> {
        let for_signatures = jwk.use_for.as_deref().is_none_or(|text| text == "sig")
            && jwk
                .key_ops
                .as_ref()
                .is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let Some(by_kind) = kind(jwk).filter(|_| for_signatures) else {
            return Ok(Admission::Ignored);
        };
        let algorithm = match jwk.alg.as_deref() {
            None => by_kind,
            Some(name) => match Algorithm::parse(name) {
                Some(algorithm) => algorithm,
                None => return Ok(Admission::Ignored),
            },
        };
        if jwk.private {
            return Err(JoseError::KeyRefused("a private key was published"));
        }
        let key = parse(jwk, algorithm)?;
        let id = match &jwk.kid {
            Some(kid) => KeyId::parse(kid),
            None => KeyId::parse(&jwk.thumbprint()?),
        }
        .map_err(|_| JoseError::KeyRefused("kid"))?;
        Ok(Admission::Admitted(Self { id, algorithm, key }))
    }

    /// The key's id: its `kid`, or its thumbprint where it has none.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The one algorithm that it verifies.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Verifies a signature.
    ///
    /// # Errors
    /// [`JoseError::BadSignature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), JoseError> {
        // RFC 7518 section 3.4: any other length must fail, DER forms included.
        if self
            .algorithm
            .signature_len()
            .is_some_and(|length| length != signature.len())
        {
            return Err(JoseError::BadSignature);
        }
        self.key
            .verify_sig(message, signature)
            .map_err(|_| JoseError::BadSignature)
    }
}

/// The algorithm that a key's kind implies; `None` where the kind is not known.
fn kind(jwk: &Jwk) -> Option<Algorithm> {
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("EC", Some("P-256")) => Some(Algorithm::Es256),
        ("EC", Some("P-384")) => Some(Algorithm::Es384),
        ("EC", Some("P-521")) => Some(Algorithm::Es512),
        ("OKP", Some("Ed25519")) => Some(Algorithm::Ed25519),
        ("RSA", None) => Some(Algorithm::Rs256),
        _ => None,
    }
}

fn parse(jwk: &Jwk, algorithm: Algorithm) -> Result<ParsedPublicKey, JoseError> {
    if let Some((curve, length, verification)) = algorithm.curve() {
        if jwk.kty != "EC" || jwk.crv.as_deref() != Some(curve) {
            return Err(JoseError::KeyRefused("alg and key type differ"));
        }
        let (x, y) = (octets(jwk.x.as_ref())?, octets(jwk.y.as_ref())?);
        // RFC 7518 section 6.2.1.2: the full length of a coordinate, leading zeros included.
        if x.len() != length || y.len() != length {
            return Err(JoseError::KeyRefused("coordinate length"));
        }
        let point = [&[4], x.as_slice(), y.as_slice()].concat();
        return ParsedPublicKey::new(verification, point)
            .map_err(|_| JoseError::KeyRefused("not a point on the curve"));
    }
    if let Some(parameters) = algorithm.rsa() {
        if jwk.kty != "RSA" {
            return Err(JoseError::KeyRefused("alg and key type differ"));
        }
        let (n, e) = (octets(jwk.n.as_ref())?, octets(jwk.e.as_ref())?);
        check_rsa(&n, &e)?;
        return RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(parameters)
            .map_err(|_| JoseError::KeyRefused("not an RSA key"));
    }
    if jwk.kty != "OKP" || jwk.crv.as_deref() != Some("Ed25519") {
        return Err(JoseError::KeyRefused("alg and key type differ"));
    }
    let x = octets(jwk.x.as_ref())?;
    // RFC 8032 section 5.1.5. What is longer may be a key in DER, which is another text, and so another thumbprint, of the
    // same point, and a point that nobody looked at.
    if x.len() != ED25519_POINT {
        return Err(JoseError::KeyRefused("coordinate length"));
    }
    if is_small_order(&x) {
        return Err(JoseError::KeyRefused("a point of small order"));
    }
    ParsedPublicKey::new(&signature::ED25519, x)
        .map_err(|_| JoseError::KeyRefused("not a point on the curve"))
}

fn octets(text: Option<&String>) -> Result<Vec<u8>, JoseError> {
    text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .ok_or(JoseError::KeyRefused(
            "a member is missing or not base64url",
        ))
}

/// 2048 to [`limits::RSA_BITS`] bits, an odd modulus of no known defect, and an odd exponent above 1 of at most 32 bits.
fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), JoseError> {
    let first = n.first().copied().unwrap_or_default();
    let bits = n
        .len()
        .saturating_mul(8)
        .saturating_sub(first.leading_zeros().try_into().unwrap_or(8));
    if first == 0 || !(2048..=limits::RSA_BITS).contains(&bits) {
        return Err(JoseError::KeyRefused("RSA modulus size"));
    }
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    if !odd(n) || roca::has_fingerprint(n) {
        return Err(JoseError::KeyRefused("a weak RSA modulus"));
    }
    if !odd(e) || e == [1] || e.len() > 4 || e.first() == Some(&0) {
        return Err(JoseError::KeyRefused("RSA exponent"));
    }
    Ok(())
}

/// The encodings of Ed25519's points of order 1, 2, 4 and 8, sign bit aside, non-canonical ones included. Under such a
/// "key" one signature verifies for many messages.
fn is_small_order(point: &[u8]) -> bool {
    const LOW: [[u8; 32]; 2] = [
        [
            38, 232, 149, 143, 194, 178, 39, 176, 69, 195, 244, 137, 242, 239, 152, 240, 213, 223,
            172, 5, 211, 198, 51, 57, 177, 56, 2, 136, 109, 83, 252, 5,
        ],
        [
            199, 23, 106, 112, 61, 77, 216, 79, 186, 60, 11, 118, 13, 16, 103, 15, 42, 32, 83, 250,
            44, 57, 204, 198, 78, 199, 253, 119, 146, 172, 3, 122,
        ],
    ];
    let [low, middle @ .., high] = point else {
        return false;
    };
    let top = high & 0x7F;
    let zeros = middle.iter().all(|byte| *byte == 0) && top == 0 && *low <= 1;
    let near_p = middle.iter().all(|byte| *byte == 0xFF) && top == 0x7F && *low >= 0xEC;
    let order_eight = LOW.iter().any(|known| {
        matches!(known, [first, rest @ .., last] if first == low && rest == middle && *last == top)
    });
    zeros || near_p || order_eight
}
