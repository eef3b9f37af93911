//! The story's revocation: what was made of a revoked token dies wherever somebody listens.

use super::story::{Step, Story};
use crate::client::{Endpoint, Token};
use crate::id::Audience;
use crate::limits;
use crate::proto::RevokeRequest;
use crate::proto::revocation_client::RevocationClient;
use crate::proto::revoke_request::Thing;
use crate::verify::{Feed, Fetcher, Guard, Keys, Presenter, Staleness, VerifyError};
use anyhow::{Context as _, anyhow};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::sync::Arc;

impl Story {
    /// A responder revokes the parent of a token. A verifier that only listens refuses the child.
    pub(super) async fn revoke(&self, parent: &Token, child: &Token) -> Step<()> {
        let guard = self.guard().await?;
        let fresh = Staleness::refuse_beyond(limits::STALENESS);
        let check = || guard.check_now(child.value().expose(), Presenter::NotChecked, fresh);
        check().context("the child is refused before its parent is revoked")?;
        let request = RevokeRequest {
            thing: Some(Thing::TokenId(parent.id().to_string())),
            reason: "tries cambist".to_owned(),
            ..RevokeRequest::default()
        };
        let channel = self.local()?.channel().await?;
        let asked = self.world.clock.monotonic();
        let revoked = RevocationClient::new(channel).revoke(request).await?;
        if !revoked.into_inner().durable {
            return Err(anyhow!("the revocation is not durable"));
        }
        let refused = async {
            loop {
                match check() {
                    Ok(_) => tokio::task::yield_now().await,
                    Err(refused @ VerifyError::Revoked { .. }) => return Ok(refused),
                    Err(other) => return Err(other),
                }
            }
        };
        let refused = tokio::time::timeout(limits::APPLY, refused).await;
        let refused = refused.context("the verifier still accepts the child")??;
        let took = self.world.clock.monotonic().saturating_sub(asked);
        let text = format!(
            "the token that the workload exchanged was revoked: {:.1} ms after that was asked for, it was on the record, and a \
             verifier that only listens refused what was made of it\n{refused}",
            took.as_secs_f64() * 1000.0
        );
        Ok(((), text))
    }

    /// A verifier for the shop, as whoever may follow what is revoked has it.
    async fn guard(&self) -> anyhow::Result<Guard> {
        let feed = Feed::builder(self.local()?)
            .clock(Arc::clone(&self.world.clock))
            .random(Arc::clone(&self.world.random))
            .build()?;
        feed.caught_up(limits::APPLY).await?;
        let roots: Vec<_> = CertificateDer::pem_file_iter(self.folder.file("tls/ca.pem"))?
            .collect::<Result<_, _>>()?;
        let issuer = self.folder.issuer();
        let keys = Keys::fixed(Fetcher::new(roots)?.key_set(issuer).await?);
        Ok(Guard::builder(issuer, Audience::parse("shop")?, keys, feed).build())
    }

    /// The broker's Unix socket, where administrators are known by their uid.
    pub(super) fn local(&self) -> anyhow::Result<Endpoint> {
        Ok(Endpoint::unix(self.folder.file("cambist.sock"))?)
    }
}
