//! What is exchanged and for what: the flags that `exchange` and `run` share.

use super::failure::Failure;
use super::input;
use super::time;
use crate::client::{Ask, Source, Text, TokenType};
use crate::id::{Audience, Scope, ScopeSet};
use crate::limits;
use clap::Args;
use std::time::Duration;

/// What is exchanged and for what.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Token")]
pub(super) struct AskArgs {
    /// Whom the token is for
    #[arg(long, env = "CAMBIST_AUDIENCE", value_name = "NAME", value_parser = Audience::parse)]
    audience: Option<Audience>,
    /// A scope; repeat for more [default: all that a key or token has for the audience; none with a certificate]
    #[arg(long = "scope", value_name = "SCOPE", value_parser = Scope::parse)]
    scopes: Vec<Scope>,
    /// How long the token should be good for, at most
    #[arg(long, value_name = "TIME", value_parser = time::length)]
    lifetime: Option<Duration>,
    /// Bound to the client certificate, or none at all
    #[arg(long)]
    bound: bool,
    /// File with an API key, or - for standard input
    #[arg(
        long,
        env = "CAMBIST_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Credential"
    )]
    key_file: Option<input::Source>,
    /// File with a token of this broker, or - for standard input
    #[arg(
        long,
        env = "CAMBIST_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Credential"
    )]
    token_file: Option<input::Source>,
    /// The connection's client certificate acts for the credential's subject
    #[arg(long, help_heading = "Credential")]
    certificate_acts: bool,
}

impl AskArgs {
    /// The ask, for `usual` where no audience is named.
    ///
    /// # Errors
    /// When none is named at all, or too many scopes are.
    pub(super) fn ask(&self, usual: Option<Audience>) -> Result<Ask, Failure> {
        let audience = self.audience.clone().or(usual).ok_or_else(|| {
            Failure::usage("no audience is named")
                .next("name it with --audience or in CAMBIST_AUDIENCE")
        })?;
        let scopes = ScopeSet::new(self.scopes.iter().cloned())
            .map_err(|error| Failure::usage("these scopes cannot be asked for").why(error))?;
        let mut ask = Ask::new(audience).with_scopes(scopes);
        if let Some(lifetime) = self.lifetime {
            ask = ask.with_lifetime(lifetime);
        }
        if self.bound {
            ask = ask.bound();
        }
        if self.certificate_acts {
            ask = ask.with_actor(Source::PeerCertificate);
        }
        Ok(ask)
    }

    /// The credential: the one that is named, otherwise the client certificate, if the connection is
    /// `certified`. A file is read anew for each exchange; standard input once.
    ///
    /// # Errors
    /// When none or two are named, a credential stands where its file should, or standard input holds none.
    pub(super) fn source(&self, certified: bool) -> Result<Source, Failure> {
        let text = |from: &input::Source| match from {
            input::Source::File(path) if input::holds_credential(&path.to_string_lossy()) => {
                Err(input::pasted())
            }
            input::Source::File(path) => Ok(Text::File(path.clone())),
            input::Source::Stdin => from.secret(limits::TOKEN).map(Text::Held),
        };
        match (&self.key_file, &self.token_file) {
            (Some(_), Some(_)) => Err(Failure::usage("an API key and a token are both named")
                .next("give one of --key-file and --token-file, and unset the other's variable")),
            (Some(key), None) => Ok(Source::ApiKey(text(key)?)),
            (None, Some(token)) => Ok(Source::Token(text(token)?, TokenType::AccessToken)),
            (None, None) if certified => Ok(Source::PeerCertificate),
            (None, None) => Err(Failure::usage("no credential is named")
                .next("give --key-file, --token-file, or --cert and --cert-key")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        ask: AskArgs,
    }

    fn parse(line: &[&str]) -> Result<AskArgs, clap::Error> {
        let line = std::iter::once("test").chain(line.iter().copied());
        Line::try_parse_from(line).map(|line| line.ask)
    }

    #[test]
    fn the_credential_is_the_named_one_or_the_certificate() {
        let source = |line: &[&str]| parse(line).unwrap().source(true);
        assert!(matches!(source(&[]), Ok(Source::PeerCertificate)));
        let none = parse(&[]).unwrap().source(false).unwrap_err();
        assert_eq!(none.exit(), Exit::Usage);
        assert!(matches!(
            source(&["--key-file", "k"]),
            Ok(Source::ApiKey(Text::File(_)))
        ));
        assert!(matches!(
            source(&["--token-file", "t"]),
            Ok(Source::Token(Text::File(_), TokenType::AccessToken))
        ));
        let both = source(&["--key-file", "k", "--token-file", "t"]).unwrap_err();
        assert_eq!(both.exit(), Exit::Usage);
    }

    #[test]
    fn a_credential_in_its_files_place_is_not_repeated() {
        for (flag, text) in [
            ("--key-file", "cmb_9hUyCSJrTE3vv9rz_QkWobVReHImEiKiNlT24"),
            ("--token-file", "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln"),
        ] {
            let failure = parse(&[flag, text]).unwrap().source(true).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(!format!("{failure:?}").contains(text));
        }
        let file = parse(&["--key-file", "cmb_ci.key"]).unwrap().source(true);
        assert!(file.is_ok());
    }

    #[test]
    fn an_audience_is_needed_and_may_be_the_clusters() {
        assert_eq!(
            parse(&[]).unwrap().ask(None).unwrap_err().exit(),
            Exit::Usage
        );
        let usual = Audience::parse("k8s").unwrap();
        assert!(parse(&[]).unwrap().ask(Some(usual)).is_ok());
        let full = [
            "--audience",
            "a",
            "--scope",
            "x",
            "--scope",
            "y",
            "--lifetime",
            "5m",
            "--bound",
        ];
        assert!(parse(&full).unwrap().ask(None).is_ok());
        for bad in [
            ["--audience", "a b"],
            ["--scope", "a b"],
            ["--lifetime", "soon"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }
}
