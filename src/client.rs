//! The users' side: a credential goes to the broker, a token comes back and stays fresh.
//!
//! [`exchange()`] asks once. [`Tokens`] keeps one good token at hand: one request at a time whatever the
//! number of callers, renewed in the background at a jittered share of its lifetime, served until it
//! lapses whatever becomes of the broker meanwhile. [`BearerLayer`] puts it on the calls of any tonic
//! channel. Nothing here imports a module of the server.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use cambist::client::{Ask, Endpoint, Source, TlsFiles, Tokens};
//! use cambist::id::Audience;
//!
//! let endpoint = Endpoint::parse("https://broker.example.org:8443", Some(TlsFiles::new("ca.pem")))?;
//! let ask = Ask::new(Audience::parse("https://deploy.example.org")?);
//! let tokens = Tokens::builder(endpoint, Source::api_key_file("key"), ask).build()?;
//! let token = tokens.token().await?;
//! println!("good until {}", token.expires_at());
//! # Ok(())
//! # }
//! ```

mod bearer;
mod connector;
mod endpoint;
mod error;
mod exchange;
pub mod exec;
mod files;
pub mod format;
mod material;
pub(crate) mod renewal;
mod source;
pub mod supervise;
mod token;
mod tokens;

pub use bearer::{Bearer, BearerLayer};
pub use endpoint::Endpoint;
pub use error::Error;
pub use exchange::{Ask, exchange};
pub use material::TlsFiles;
pub use source::{Source, Text, TokenType};
pub use token::{Receipt, Token};
pub use tokens::{Builder, Status, Tokens};
