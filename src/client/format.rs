//! The forms in which a token is handed to other programs.

use super::exec::{ExecCredential, Version};
use super::{Receipt, Token};
use crate::secret::Secret;
use clap::ValueEnum;
use serde::Serialize;

/// Version of the document that [`Format::Json`] prints.
pub const DOCUMENT_VERSION: u32 = 1;

/// A form in which a token is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The token alone.
    #[default]
    Raw,
    /// One JSON object: token, expiry, scopes and ids.
    Json,
    /// An HTTP header line.
    Header,
    /// What kubectl expects of an exec credential plugin.
    ExecCredential,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    access_token: &'a str,
    token_type: &'static str,
    /// RFC 3339.
    expires_at: String,
    /// Seconds, as of the issue.
    expires_in: u64,
    scopes: Vec<&'a str>,
    token_id: String,
    credential_id: &'a str,
    bound: bool,
    /// Where its record is in the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<&'a Receipt>,
}

/// Prints a token, without a line break at the end. The result is as secret as the token.
///
/// # Errors
/// None that a token of this library can cause; JSON encoding is fallible in principle.
pub fn render(token: &Token, format: Format, exec: Version) -> Result<Secret, serde_json::Error> {
    let text = match format {
        Format::Raw => token.value().expose().to_owned(),
        Format::Header => format!("Authorization: Bearer {}", token.value().expose()),
        Format::Json => serde_json::to_string(&Document {
            version: DOCUMENT_VERSION,
            access_token: token.value().expose(),
            token_type: "Bearer",
            expires_at: token.expires_at().to_string(),
            expires_in: token.lifetime().as_secs(),
            scopes: token.scopes().iter().map(AsRef::as_ref).collect(),
            token_id: token.id().to_string(),
            credential_id: token.credential_id(),
            bound: token.is_bound(),
            receipt: token.receipt(),
        })?,
        Format::ExecCredential => serde_json::to_string(&ExecCredential::new(token, exec))?,
    };
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::token::tests::answer;
    use serde_json::{Value, json};

    fn rendered(format: Format, exec: Version) -> String {
        let mut answer = answer("abc.def", 1_700_000_000, 900);
        if let Some(time) = &mut answer.expires_at {
            time.nanos = 5;
        }
        let token = Token::try_from(answer).unwrap();
        render(&token, format, exec).unwrap().expose().to_owned()
    }

    fn parsed(format: Format, exec: Version) -> Value {
        serde_json::from_str(&rendered(format, exec)).unwrap()
    }

    #[test]
    fn text_forms() {
        assert_eq!(rendered(Format::Raw, Version::V1), "abc.def");
        assert_eq!(
            rendered(Format::Header, Version::V1),
            "Authorization: Bearer abc.def"
        );
    }

    #[test]
    fn the_json_document() {
        assert_eq!(
            parsed(Format::Json, Version::V1),
            json!({
                "version": 1,
                "access_token": "abc.def",
                "token_type": "Bearer",
                "expires_at": "2023-11-14T22:13:20.000000005Z",
                "expires_in": 900,
                "scopes": ["deploy"],
                "token_id": "BwcHBwcHBwcHBwcHBwcHBw",
                "credential_id": "key:0123456789abcdef",
                "bound": false,
                "receipt": {"origin": "localhost/node-1", "index": 42},
            })
        );
    }

    #[test]
    fn the_exec_credential_has_the_version_of_the_request() {
        for (version, name) in [(Version::V1, "v1"), (Version::V1Beta1, "v1beta1")] {
            assert_eq!(
                parsed(Format::ExecCredential, version),
                json!({
                    "apiVersion": format!("client.authentication.k8s.io/{name}"),
                    "kind": "ExecCredential",
                    "status": {"token": "abc.def", "expirationTimestamp": "2023-11-14T22:13:20Z"},
                })
            );
        }
    }
}
