//! `cambist jwt check`: whether a token is good now, as the broker says.

use crate::cli::connect::ConnectArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::input::Source;
use crate::cli::output::fields;
use crate::cli::time::{from_proto, relative};
use crate::cli::world::World;
use crate::limits;
use crate::proto::{CheckRequest, CheckResponse};
use crate::refusal::Code;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// The file with the token, or - for standard input
    #[arg(default_value = "-", value_name = "FILE")]
    file: Source,
}

#[derive(Serialize)]
struct Checked {
    active: bool,
    issuer: String,
    subject: String,
    audience: String,
    client_id: String,
    scopes: Vec<String>,
    token_id: String,
    issued_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    bound: bool,
    actors: Vec<String>,
    revision: String,
}

pub(super) async fn run(args: CheckArgs, world: &World) -> Result<(), Failure> {
    let token = args.file.secret(limits::TOKEN)?;
    let connection = args.connect.connect().await?;
    let request = CheckRequest {
        token: token.expose().to_owned(),
        presenter_certificate_sha256: Vec::new(),
    };
    let answer = connection.revocation().check(request).await;
    let answer = answer.map_err(|status| {
        Failure::from_status(&status).also_after(Code::NotAuthorised, super::WHO_SERVES)
    })?;
    let CheckResponse {
        active,
        issuer,
        subject,
        audience,
        client_id,
        scopes,
        token_id,
        issued_at,
        expires_at,
        bound_to,
        actors,
        revision,
        as_of: _,
    } = answer.into_inner();
    if !active {
        let failure = Failure::new(Exit::Unverified, "inactive", "the token is not good");
        return Err(
            failure.why("it is none, has lapsed, was revoked, or is not for you to ask about")
        );
    }
    let checked = Checked {
        active,
        issuer,
        subject,
        audience,
        client_id,
        scopes,
        token_id,
        issued_at: from_proto(issued_at),
        expires_at: from_proto(expires_at),
        bound: !bound_to.is_empty(),
        actors,
        revision,
    };
    world.output.show(&checked, || {
        let now = world.clock.now();
        fields(&[
            ("token", checked.token_id.clone()),
            ("of", checked.subject.clone()),
            ("acts for it", checked.actors.join(" ")),
            ("issued to", checked.client_id.clone()),
            ("by", checked.issuer.clone()),
            ("audience", checked.audience.clone()),
            ("scopes", checked.scopes.join(" ")),
            ("issued", relative(checked.issued_at, now)),
            ("lapses", relative(checked.expires_at, now)),
            ("bound", checked.bound.to_string()),
            ("as of", checked.revision.clone()),
        ])
    })
}
