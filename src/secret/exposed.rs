//! Credentials where none belong: pasted into a name, a label, a reason.
//!
//! Such texts are kept, listed and put on the record, so that a credential among them would be exposed for good.

use super::api_key;

/// Whether `text` holds an API key whose checksum holds, or a signed token in compact form (RFC 7515 section 3.1).
#[must_use]
pub fn holds_credential(text: &str) -> bool {
    holds_key(text) || holds_token(text)
}

fn holds_key(text: &str) -> bool {
    text.match_indices(api_key::PREFIX).any(|(at, _)| {
        let end = at.saturating_add(api_key::LENGTH);
        text.get(at..end)
            .is_some_and(|candidate| api_key::parse(candidate).is_ok())
    })
}

/// Header and claims are JSON objects, which all begin alike in base64url.
fn holds_token(text: &str) -> bool {
    const OBJECT: &str = "eyJ";
    let foreign = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.');
    text.split(foreign).any(|word| {
        // Something may stand right before it, and the signature may be empty. One pass, however often it seems to begin.
        let parts = word.split('.');
        let claims = word.split('.').skip(1);
        let signature = word.split('.').skip(2);
        parts
            .zip(claims)
            .zip(signature)
            .any(|((header, claims), _)| header.contains(OBJECT) && claims.starts_with(OBJECT))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "cmb_CambistTestKey01_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ2Dgl12";
    const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";

    #[test]
    fn credentials_are_found_wherever_they_stand() {
        for secret in [KEY, TOKEN] {
            for text in [
                secret.to_owned(),
                format!("https://shop.example.org/?key={secret}"),
                format!("cmb_{secret} and more"),
                format!("Bearer {secret}"),
                format!("jwt.{secret}"),
                format!("a.b.{secret}.c"),
            ] {
                assert!(holds_credential(&text), "{text}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_one_is_a_name_like_others() {
        let flipped = KEY.replace("Dgl12", "Dgl13");
        let (short, _) = TOKEN.split_at(TOKEN.len() - 5);
        for text in [
            "",
            "cmb_",
            "shop",
            "eyJ.eyJ",
            "a.b.c",
            "https://a.b.example.org",
            "é".repeat(80).as_str(),
            &flipped,
            short,
        ] {
            assert!(!holds_credential(text), "{text}");
        }
    }
}
