//! `cambist jwt`: what a token says, and whether it is so.

mod check;
mod verify;

use super::failure::Failure;
use super::input::Source;
use super::output::escaped;
use super::time::relative;
use super::world::World;
use crate::limits;
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// What to do where the broker does not tell a caller what is revoked.
const WHO_SERVES: &str = "a workload that serves the audience may ask, once an administrator has it so: `cambist audience put NAME --served-by SUB`, or `servers` of the audience in the broker's configuration";

/// Tokens
#[derive(Args, Debug)]
pub struct JwtArgs {
    #[command(subcommand)]
    command: JwtCommand,
}

#[derive(Debug, Subcommand)]
enum JwtCommand {
    /// Show what a token says about itself, without verifying anything
    Inspect {
        /// The file with the token, or - for standard input
        #[arg(default_value = "-", value_name = "FILE")]
        file: Source,
    },
    /// Say whether a token is its issuer's, for an audience, and good now; exits with 5 if it is not
    Verify(verify::VerifyArgs),
    /// Ask the broker whether a token is good now, revocations included; exits with 5 if it is not
    Check(check::CheckArgs),
}

/// What a token says.
#[derive(Serialize)]
struct Shown {
    verified: bool,
    #[serde(flatten)]
    presented: Option<Presented>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

/// What its verification says of whoever presents it.
#[derive(Serialize)]
struct Presented {
    binding: &'static str,
    /// Whether the presenter proved to hold the key that it is bound to.
    presenter_checked: bool,
    /// By what it is not revoked, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revocations: Option<Revocations>,
}

/// What is known of revocations.
#[derive(Serialize)]
struct Revocations {
    revision: String,
    as_of: Option<Timestamp>,
    markers: usize,
}

pub(super) async fn run(args: JwtArgs, world: &World) -> Result<(), Failure> {
    match args.command {
        JwtCommand::Inspect { file } => inspect(&file, world),
        JwtCommand::Verify(args) => verify::run(args, world).await,
        JwtCommand::Check(args) => check::run(args, world).await,
    }
}

fn inspect(file: &Source, world: &World) -> Result<(), Failure> {
    let shown = Shown::of(&file.secret(limits::TOKEN)?)?;
    world
        .output
        .warn("NOT VERIFIED. Anybody can write such a token: believe nothing of it.");
    world.output.show(&shown, || shown.text(world.clock.now()))
}

fn object(part: &str, name: &str) -> Result<Map<String, Value>, Failure> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| not_a_token(&format!("its {name} are not base64url without padding")))?;
    serde_json::from_slice(&bytes)
        .map_err(|_| not_a_token(&format!("its {name} are not a JSON object")))
}

/// Nothing of the text is repeated: it may be another secret in the wrong place.
fn not_a_token(why: &str) -> Failure {
    Failure::usage("this is not a signed token (RFC 7515)").why(why)
}

impl Shown {
    /// As it stands there, unverified.
    fn of(token: &Secret) -> Result<Self, Failure> {
        let parts: Vec<&str> = token.expose().split('.').collect();
        let [header, claims, _] = parts.as_slice() else {
            let why = match parts.len() {
                5 => "it has five parts: it is encrypted (RFC 7516)",
                _ => "it does not have three parts with dots between",
            };
            return Err(not_a_token(why));
        };
        Ok(Self {
            verified: false,
            presented: None,
            header: object(header, "header")?,
            claims: object(claims, "claims")?,
        })
    }

    fn text(&self, now: Timestamp) -> String {
        let pretty = |part: &Map<String, Value>| {
            escaped(&serde_json::to_string_pretty(part).unwrap_or_default())
        };
        let mut text = format!(
            "header {}\nclaims {}",
            pretty(&self.header),
            pretty(&self.claims)
        );
        let told = self.presented.as_ref();
        if let Some(told) = told.and_then(|told| told.revocations.as_ref()) {
            let as_of = relative(told.as_of, now);
            text = format!("{text}\nnot revoked, as of {as_of}");
        }
        for (name, label) in [("iat", "issued"), ("nbf", "not before"), ("exp", "expires")] {
            let at = self.claims.get(name).and_then(Value::as_i64);
            let at = at.and_then(|second| Timestamp::from_second(second).ok());
            if at.is_some() {
                text = format!("{text}\n{label}: {}", relative(at, now));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "[A-Za-z0-9_.-]{0,80}") {
            let _ = Shown::of(&Secret::new(text));
        }
    }

    #[test]
    fn what_is_no_token_is_not_repeated() {
        for text in [
            "cmb_secret",
            "a.b.c.d.e",
            "e30.e30",
            "e30.%%.x",
            "e30.W10.x",
        ] {
            let failure = Shown::of(&Secret::new(text.to_owned())).err().unwrap();
            assert!(!format!("{failure:?}").contains(text), "{text}");
        }
        assert!(Shown::of(&Secret::new("e30.e30.".to_owned())).is_ok());
    }
}
