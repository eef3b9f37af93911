//! The documents that tell verifiers where the keys are (RFC 8414, OpenID Connect Discovery 1.0).

use serde_json::{Value, json};

/// Path of the published key set under the issuer.
const JWKS_PATH: &str = "/.well-known/jwks.json";

/// The claims that tokens hold.
const CLAIMS: [&str; 11] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "jti",
    "client_id",
    "scope",
    "cnf",
    "act",
    "cmb",
];

/// Authorization server metadata (RFC 8414 section 2) for `issuer`, an https URL without query or fragment.
///
/// It names no token endpoint, because there is none over HTTP. `response_types_supported` is required and must not be
/// empty; `none` (OAuth 2.0 Multiple Response Types section 4) says that no authorization endpoint answers with anything.
/// `grant_types_supported` is there because its absence would mean `authorization_code` and `implicit`.
#[must_use]
pub fn authorization_server(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": jwks_uri(issuer),
        "response_types_supported": ["none"],
        "grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange"],
        "tls_client_certificate_bound_access_tokens": true,
    })
}

/// The OpenID provider configuration: what AWS, Google Cloud and Kubernetes ask of a machine issuer. `algorithms` are
/// those of the published keys.
///
/// Such clients demand `response_types_supported`, `subject_types_supported` and
/// `id_token_signing_alg_values_supported`; issuers of workload tokens answer `id_token` and `public`.
#[must_use]
pub fn openid_configuration(issuer: &str, algorithms: &[&str]) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": jwks_uri(issuer),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "claims_supported": CLAIMS,
    })
}

/// Where the key set of an issuer is published.
#[must_use]
pub fn jwks_uri(issuer: &str) -> String {
    format!("{}{JWKS_PATH}", issuer.strip_suffix('/').unwrap_or(issuer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_documents_name_the_issuer_and_its_keys() {
        for issuer in ["https://example.org", "https://example.org/team"] {
            for document in [
                authorization_server(issuer),
                openid_configuration(issuer, &["ES256"]),
            ] {
                assert_eq!(document["issuer"], issuer);
                let keys = format!("{issuer}/.well-known/jwks.json");
                assert_eq!(document["jwks_uri"], keys);
                // RFC 8414 section 3.2: claims with zero elements must be omitted.
                let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
                assert!(!document.as_object().unwrap().values().any(empty));
                assert!(document.get("token_endpoint").is_none());
            }
        }
    }

    #[test]
    fn strict_openid_clients_find_what_they_demand() {
        let document = openid_configuration("https://example.org", &["ES256", "RS256"]);
        for name in [
            "response_types_supported",
            "subject_types_supported",
            "id_token_signing_alg_values_supported",
        ] {
            assert!(document[name].is_array(), "{name}");
        }
        let algorithms = &document["id_token_signing_alg_values_supported"];
        assert_eq!(*algorithms, json!(["ES256", "RS256"]));
    }
}
