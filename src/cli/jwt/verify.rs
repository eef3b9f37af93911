//! `cambist jwt verify`: whether a token is what it says, by its issuer's keys, and whether it is revoked.

use super::{Presented, Revocations, Shown};
use crate::cli::connect::ConnectArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::input::Source;
use crate::cli::world::World;
use crate::id::Audience;
use crate::jose::KeySet;
use crate::limits;
use crate::refusal::Code;
use crate::secret::Secret;
use crate::verify::{
    AccessToken, Binding, Feed, FetchError, Fetcher, Guard, Keys, Presenter, Staleness, Verifier,
    VerifyError,
};
use clap::Args;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// The file with the token, or - for standard input
    #[arg(default_value = "-", value_name = "FILE")]
    file: Source,
    /// Who must have issued it, as its `iss` says
    #[arg(long, value_name = "URL", env = "CAMBIST_ISSUER")]
    issuer: String,
    /// Whom it must be for
    #[arg(long, value_name = "NAME", env = "CAMBIST_AUDIENCE", value_parser = Audience::parse)]
    audience: Audience,
    /// File with the issuer's key set; nothing is fetched then
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// Ask the broker what is revoked, as whoever serves the audience, reads its log or administers it
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) async fn run(args: VerifyArgs, world: &World) -> Result<(), Failure> {
    let token = args.file.secret(limits::TOKEN)?;
    let keys = match (&args.jwks, &args.connect.ca) {
        (Some(path), _) => read(path)?,
        (None, Some(ca)) => fetch(&args.issuer, ca).await?,
        (None, None) => {
            return Err(
                Failure::usage("nothing says which keys are the issuer's").next(
                    "name the authority of the issuer's server with --ca, or its key set with --jwks",
                ),
            );
        }
    };
    let (verified, revocations) = if args.live {
        let (verified, revocations) = live(&args, keys, &token, world).await?;
        (verified, Some(revocations))
    } else {
        let verifier = Verifier::new(&args.issuer, args.audience.clone(), Arc::new(keys));
        let verified = verifier.verify(token.expose(), Presenter::NotChecked, world.clock.now());
        (verified.map_err(refused)?, None)
    };
    if verified.binding != Binding::Bearer {
        world.output.warn(
            "this token is bound to a key, and whether its presenter holds it was not checked",
        );
    }
    let shown = Shown {
        verified: true,
        presented: Some(Presented {
            binding: match verified.binding {
                Binding::Bearer => "bearer",
                Binding::Certificate(_) => "certificate",
                Binding::Key(_) => "key",
                Binding::Unknown => "unknown",
            },
            presenter_checked: false,
            revocations,
        }),
        ..Shown::of(&token)?
    };
    world.output.show(&shown, || shown.text(world.clock.now()))
}

/// Checks it against what is revoked now, as the broker tells whoever watches.
async fn live(
    args: &VerifyArgs,
    keys: KeySet,
    token: &Secret,
    world: &World,
) -> Result<(AccessToken, Revocations), Failure> {
    let endpoint = args.connect.settings()?.endpoint()?;
    let feed = Feed::builder(endpoint)
        .clock(Arc::clone(&world.clock))
        .random(Arc::clone(&world.random))
        .build()
        .map_err(Failure::from_client)?;
    let all = feed.caught_up(limits::CLIENT_CALL).await;
    all.map_err(|error| {
        Failure::from_client(error).also_after(Code::NotAuthorised, super::WHO_SERVES)
    })?;
    let audience = args.audience.clone();
    let guard = Guard::builder(&args.issuer, audience, Keys::fixed(keys), feed).build();
    let fresh = Staleness::refuse_beyond(limits::STALENESS);
    let checked = guard.check_now(token.expose(), Presenter::NotChecked, fresh);
    let verified = checked.map_err(refused)?;
    let status = guard.feed().status();
    let revocations = Revocations {
        revision: status.revision.as_deref().unwrap_or_default().to_owned(),
        as_of: status.as_of,
        markers: status.markers,
    };
    Ok((AccessToken::clone(&verified), revocations))
}

fn refused(error: VerifyError) -> Failure {
    match error {
        VerifyError::Revoked { .. } => {
            Failure::new(Exit::Unverified, "revoked", "the token is revoked").why(error)
        }
        VerifyError::Stale | VerifyError::NoKeys => {
            let what = "whether the token is revoked is not known";
            Failure::new(Exit::Unreachable, "stale", what).why(error)
        }
        VerifyError::Token(_)
        | VerifyError::Issuer
        | VerifyError::Audience
        | VerifyError::Confirmation
        | VerifyError::Unbound
        | VerifyError::Proof(_) => {
            Failure::new(Exit::Unverified, "unverified", "the token does not verify").why(error)
        }
    }
}

fn read(path: &Path) -> Result<KeySet, Failure> {
    let text = Source::File(path.to_owned()).text(limits::KEY_SET_BYTES)?;
    KeySet::parse(text.as_bytes())
        .map_err(|error| Failure::usage(format!("{} is no key set", path.display())).why(error))
}

async fn fetch(issuer: &str, ca: &Path) -> Result<KeySet, Failure> {
    let pem = Source::File(ca.to_owned()).text(limits::PEM_FILE)?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let roots = roots.ok().filter(|roots| !roots.is_empty());
    let roots = roots.ok_or_else(|| {
        Failure::usage(format!(
            "{} holds no certificates in PEM form",
            ca.display()
        ))
    })?;
    let fetcher = Fetcher::new(roots).map_err(unavailable)?;
    fetcher.key_set(issuer).await.map_err(unavailable)
}

fn unavailable(error: FetchError) -> Failure {
    match error {
        FetchError::Roots(_) | FetchError::Url(_) | FetchError::Runtime => {
            Failure::usage("nothing can be fetched")
                .why(error)
                .next("check --issuer and --ca")
        }
        FetchError::Transport { .. }
        | FetchError::Status { .. }
        | FetchError::TooLarge(_)
        | FetchError::Metadata { .. }
        | FetchError::Keys { .. } => Failure::new(
            Exit::Unreachable,
            "keys_unavailable",
            "the issuer's keys cannot be had",
        )
        .why(error)
        .next("check --issuer and --ca, or give the key set with --jwks"),
    }
}
