//! `cambist.v1.TokenExchange`.

use super::convert::{self, Exchange as Presentation};
use super::lease::{self, LeaseStream};
use super::{Gate, context, peer, told};
use crate::audit::Issued;
use crate::authn::{Peer, Presented};
use crate::exchange::{Exchange, Hypothesis, Times};
use crate::id::{KeyPublicId, SpiffeId};
use crate::policy::Explanation;
use crate::proto::token_exchange_server::TokenExchange;
use crate::proto::{
    ExchangeRequest, ExchangeResponse, ExplainRequest, ExplainResponse, FailedCondition,
    LeaseRequest, explain_request,
};
use crate::refusal::{Denial, Refusal};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// The method of this service whose refusals no exchange records.
const EXPLAIN: &str = "/cambist.v1.TokenExchange/Explain";

/// Serves exchanges.
#[derive(Debug)]
pub struct TokenExchangeService {
    exchange: Arc<Exchange>,
    gate: Gate,
    draining: CancellationToken,
}

impl TokenExchangeService {
    /// Exchanges through `exchange`; leases end when `draining` is cancelled.
    #[must_use]
    pub fn new(exchange: Arc<Exchange>, gate: Gate, draining: CancellationToken) -> Self {
        Self {
            exchange,
            gate,
            draining,
        }
    }
}

/// One exchange for the peer.
pub(super) async fn once(
    exchange: &Arc<Exchange>,
    peer: Arc<Peer>,
    request: ExchangeRequest,
    times: Times,
) -> Result<Issued, Status> {
    let presentation = Presentation::try_from(request).inspect_err(|refusal| {
        exchange.refused(refusal, &context(Arc::clone(&peer), None));
    })?;
    let Presentation {
        subject,
        actor,
        ask,
    } = presentation;
    let presented = Presented {
        subject,
        actor,
        peer: Arc::clone(&peer),
    };
    let context = context(peer, Some(ask.clone()));
    Ok(exchange.run(&presented, &ask, &context, times).await?)
}

#[tonic::async_trait]
impl TokenExchange for TokenExchangeService {
    type LeaseStream = LeaseStream;

    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let peer = peer(&request)?;
        once(&self.exchange, peer, request.into_inner(), Times::Once)
            .await
            .map(|issued| Response::new(convert::issued(&issued)))
    }

    async fn lease(&self, request: Request<LeaseRequest>) -> Result<Response<LeaseStream>, Status> {
        let peer = peer(&request)?;
        let exchange = Arc::clone(&self.exchange);
        lease::open(exchange, peer, request.into_inner(), self.draining.clone())
            .await
            .map(Response::new)
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        let peer = peer(&request)?;
        self.gate.inquirer(&request)?;
        let no = |denial: Denial| {
            if let Denial::Refused(refusal) = &denial {
                let (peer, method) = (Arc::clone(&peer), EXPLAIN.to_owned());
                told::record(&self.exchange, peer, refusal.code(), method);
            }
            Status::from(denial)
        };
        let hypothesis = hypothesis(request.into_inner()).map_err(|refusal| no(refusal.into()))?;
        let explanation = self.exchange.explain(&hypothesis).await.map_err(no)?;
        Ok(Response::new(explained(explanation)))
    }
}

fn hypothesis(request: ExplainRequest) -> Result<Hypothesis, Refusal> {
    let ExplainRequest {
        subject,
        audience,
        scopes,
        lifetime,
        binding,
        source_address,
    } = request;
    let ask = convert::ask(&audience, scopes, lifetime, binding, "")?;
    let source = match source_address.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|error| convert::invalid("source_address", error))?,
        ),
    };
    match subject.ok_or_else(|| convert::invalid("subject", "missing"))? {
        explain_request::Subject::KeyId(id) => {
            let id = KeyPublicId::parse(&id).map_err(|error| convert::invalid("key_id", error))?;
            Ok(Hypothesis::Key { id, ask, source })
        }
        explain_request::Subject::SpiffeId(id) => {
            let id = SpiffeId::parse(&id).map_err(|error| convert::invalid("spiffe_id", error))?;
            Ok(Hypothesis::Workload { id, ask, source })
        }
    }
}

fn explained(explanation: Explanation) -> ExplainResponse {
    let Explanation {
        allowed,
        code,
        detail,
        rules,
        failed,
        scopes,
        lifetime,
        bound,
        revision,
    } = explanation;
    ExplainResponse {
        allowed,
        code: code.map(|code| code.code().to_owned()).unwrap_or_default(),
        detail,
        rules: rules.iter().map(|rule| rule.0.to_string()).collect(),
        failed: failed
            .into_iter()
            .map(|failed| FailedCondition {
                rule: failed.rule.0.to_string(),
                condition: failed.condition,
            })
            .collect(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        lifetime: prost_types::Duration::try_from(lifetime).ok(),
        bound,
        policy_revision: revision.to_string(),
    }
}
