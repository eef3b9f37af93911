//! `cambist policy explain`: what would be decided, and why.

use crate::cli::connect::ConnectArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{fields, visible};
use crate::cli::time;
use crate::cli::world::World;
use crate::config::duration;
use crate::proto::explain_request::Subject;
use crate::proto::{Binding, ExplainRequest, ExplainResponse, FailedCondition};
use clap::Args;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// The audience that would be asked for
    #[arg(long)]
    audience: String,
    /// A scope that would be asked for; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// The lifetime that would be asked for
    #[arg(long, value_parser = time::length, value_name = "TIME")]
    lifetime: Option<Duration>,
    /// A bound token would be asked for
    #[arg(long)]
    bound: bool,
    /// Where the request would come from: a key with networks is refused without it
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct SubjectArgs {
    /// An API key, by its public id
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// A workload, by its SPIFFE ID
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<String>,
}

#[derive(Serialize)]
struct Explained {
    allowed: bool,
    /// The refusal's stable code; empty when allowed.
    code: String,
    detail: String,
    rules: Vec<String>,
    failed: Vec<Failed>,
    scopes: Vec<String>,
    lifetime_seconds: Option<u64>,
    bound: bool,
    policy_revision: String,
}

#[derive(Serialize)]
struct Failed {
    rule: String,
    condition: String,
}

pub(super) async fn run(
    args: ExplainArgs,
    connect: &ConnectArgs,
    world: &World,
) -> Result<(), Failure> {
    let subject = match (args.subject.key_id, args.subject.spiffe_id) {
        (Some(id), None) => Subject::KeyId(crate::cli::key::public_id(&id)?.to_string()),
        (None, Some(id)) => Subject::SpiffeId(id),
        _ => return Err(Failure::usage("name either a key or a workload")),
    };
    let binding = if args.bound {
        Binding::Required
    } else {
        Binding::Unspecified
    };
    let request = ExplainRequest {
        subject: Some(subject),
        audience: args.audience,
        scopes: args.scopes,
        lifetime: args.lifetime.map(time::length_to_proto),
        binding: binding.into(),
        source_address: args
            .source
            .map(|source| source.to_string())
            .unwrap_or_default(),
    };
    let mut client = connect.connect().await?.exchange();
    let answer = client.explain(request).await;
    let answer = answer.map_err(|status| Failure::from_status(&status))?;
    let explained = Explained::from(answer.into_inner());
    world.output.show(&explained, || explained.text())?;
    if explained.allowed {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Refused,
        explained.code,
        "the exchange would be refused",
    ))
}

impl Explained {
    fn text(&self) -> String {
        let mut rows = vec![
            (
                "decision",
                if self.allowed { "allowed" } else { "refused" }.to_owned(),
            ),
            ("code", self.code.clone()),
            ("cause", self.detail.clone()),
            ("rules", self.rules.join(" ")),
            (
                "policies",
                format!("as of revision {}", self.policy_revision),
            ),
        ];
        if self.allowed {
            let lifetime = self.lifetime_seconds.map(Duration::from_secs);
            rows.push(("scopes", self.scopes.join(" ")));
            rows.push((
                "lifetime",
                lifetime.map(duration::display).unwrap_or_default(),
            ));
            rows.push(("bound", self.bound.to_string()));
        }
        let mut lines = vec![fields(&rows)];
        for failed in &self.failed {
            let (rule, condition) = (visible(&failed.rule), visible(&failed.condition));
            lines.push(format!("did not hold: {rule}: {condition}"));
        }
        lines.join("\n")
    }
}

impl From<ExplainResponse> for Explained {
    fn from(response: ExplainResponse) -> Self {
        let ExplainResponse {
            allowed,
            code,
            detail,
            rules,
            failed,
            scopes,
            lifetime,
            bound,
            policy_revision,
        } = response;
        let failed = failed
            .into_iter()
            .map(|FailedCondition { rule, condition }| Failed { rule, condition });
        Self {
            allowed,
            code,
            detail,
            rules,
            failed: failed.collect(),
            scopes,
            lifetime_seconds: time::length_from_proto(lifetime),
            bound,
            policy_revision,
        }
    }
}
