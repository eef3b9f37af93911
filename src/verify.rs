//! The users' side of a token: checking it where it arrives.
//!
//! A [`Guard`] decides whether a token may pass: by the issuer's published keys, which [`Keys`] keeps current, by what is
//! revoked, which [`Feed`] follows, and by who presents it. All of it is in memory: a check asks nobody, and goes on while
//! the broker is out of reach, for as long as each use of it allows ([`Staleness`]). [`Layer`] puts it before a server of
//! gRPC or HTTP. For tokens that are bound to a key of their holder (RFC 9449) it has [`Proofs`], which checks the proof that
//! each request brings. A [`Verifier`] looks at one token with keys at hand, and knows nothing of revocations.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use cambist::client::{Endpoint, TlsFiles};
//! use cambist::verify::{Feed, Fetcher, Guard, Keys, Presenter, Staleness};
//! use rustls_pki_types::{CertificateDer, pem::PemObject as _};
//! use std::time::Duration;
//!
//! let issuer = "https://broker.example.org:8443";
//! let tls = TlsFiles::new("ca.pem").with_certificate("svid.pem", "svid.key");
//! let feed = Feed::builder(Endpoint::https(issuer, tls)?).build()?;
//! let fetcher = Fetcher::new([CertificateDer::from_pem_file("ca.pem")?])?;
//! let keys = Keys::builder(fetcher, issuer).build()?;
//! let guard = Guard::builder(issuer, "https://shop.example.org".parse()?, keys, feed).build();
//!
//! let fresh = Staleness::refuse_beyond(Duration::from_secs(60));
//! let token = guard.check("eyJ…", Presenter::NoCertificate, fresh).await?;
//! println!("{} may {}", token.sub, token.scopes);
//! # Ok(())
//! # }
//! ```

mod access_token;
mod cache;
mod dpop;
mod error;
mod feed;
mod fetch;
mod guard;
mod keys;
mod layer;
mod metrics;
mod staleness;
mod stats;
mod verifier;

pub use access_token::{AccessToken, Actor, Binding};
pub use dpop::{PlaceError, ProofError, Proofs, Shown};
pub use error::VerifyError;
pub use feed::{Feed, FeedBuilder, FeedStatus};
pub use fetch::{FetchError, Fetcher};
pub use guard::{Guard, GuardBuilder};
pub use keys::{Keys, KeysBuilder};
pub use layer::{Caller, Guarded, Layer, PeerCertificate};
pub use staleness::{Beyond, Staleness};
pub use stats::{FeedStats, KeyStats, Stats};
pub use verifier::{Presenter, Verifier};
