//! What is exchanged.

use super::{Error, files};
use crate::proto;
use crate::secret::Secret;
use std::path::PathBuf;

/// What is exchanged. What a file holds is read anew for each exchange, so that it may be rotated.
#[derive(Clone, Debug)]
pub enum Source {
    /// An API key.
    ApiKey(Text),
    /// A token: the broker's own, or a projected or platform one.
    Token(Text, TokenType),
    /// The client certificate of the connection.
    PeerCertificate,
}

/// A secret text, held or in a file.
#[derive(Clone, Debug)]
pub enum Text {
    /// Held in memory.
    Held(Secret),
    /// In a file that another process may replace.
    File(PathBuf),
}

/// What a token is (RFC 8693 section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenType {
    /// `urn:ietf:params:oauth:token-type:access_token`: one that this broker issued.
    #[default]
    AccessToken,
    /// `urn:ietf:params:oauth:token-type:jwt`: one that another issuer signed.
    Jwt,
}

impl TokenType {
    /// The type's URN.
    #[must_use]
    pub fn urn(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

impl Source {
    /// An API key held in memory.
    #[must_use]
    pub fn api_key(key: Secret) -> Self {
        Self::ApiKey(Text::Held(key))
    }

    /// An API key in a file.
    #[must_use]
    pub fn api_key_file(path: impl Into<PathBuf>) -> Self {
        Self::ApiKey(Text::File(path.into()))
    }

    /// A token of this broker in a file.
    #[must_use]
    pub fn token_file(path: impl Into<PathBuf>) -> Self {
        Self::Token(Text::File(path.into()), TokenType::AccessToken)
    }

    /// The credential as it is now, in the form of the wire.
    pub(super) async fn present(&self) -> Result<proto::Credential, Error> {
        use proto::credential::Kind;
        let kind = match self {
            Self::ApiKey(text) => Kind::ApiKey(text.read().await?),
            Self::Token(text, kind) => Kind::Token(proto::Token {
                value: text.read().await?,
                r#type: kind.urn().to_owned(),
            }),
            Self::PeerCertificate => Kind::PeerCertificate(proto::PeerCertificate {}),
        };
        Ok(proto::Credential { kind: Some(kind) })
    }
}

impl Text {
    async fn read(&self) -> Result<String, Error> {
        match self {
            Self::Held(secret) => Ok(secret.expose().to_owned()),
            Self::File(path) => Ok(files::credential(path).await?.expose().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_secret() {
        let source = Source::api_key(Secret::new("canary-77".to_owned()));
        assert!(!format!("{source:?}").contains("canary"));
    }

    #[tokio::test]
    async fn a_rotated_file_is_presented_as_it_is_now() {
        use proto::credential::Kind;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let source = Source::token_file(&path);
        assert!(matches!(source.present().await, Err(Error::File { .. })));
        for text in ["first", "second"] {
            std::fs::write(&path, format!("{text}\n")).unwrap();
            match source.present().await.unwrap().kind {
                Some(Kind::Token(token)) => assert_eq!(token.value, text),
                _ => panic!("not a token"),
            }
        }
    }
}
