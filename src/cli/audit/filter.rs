//! Which records are wanted, as flags, as a filter and as the broker is asked.

use crate::audit::{Field, Filter, KINDS};
use crate::cli::credential::credential;
use crate::cli::time::{length, to_proto};
use crate::proto as pb;
use clap::Args;
use clap::builder::PossibleValuesParser;
use ipnet::{AddrParseError, IpNet};
use jiff::Timestamp;
use std::net::IpAddr;
use std::time::Duration;

/// What must hold of a record; each may be repeated, and then one is enough.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Filter")]
pub(super) struct TermArgs {
    /// Of this kind
    #[arg(long = "kind", value_name = "KIND", value_parser = PossibleValuesParser::new(KINDS))]
    kinds: Vec<String>,
    /// Of a credential, or of a token that descends from it: a key's public id, or key:ID, or x509:DIGEST, or a
    /// certificate's SHA-256 fingerprint as openssl prints it
    #[arg(long = "credential", value_name = "ID", value_parser = credential)]
    credentials: Vec<String>,
    /// Who asked or acted: as subject, client, actor or peer
    #[arg(long = "principal", value_name = "NAME")]
    principals: Vec<String>,
    /// The team that answers for it
    #[arg(long = "owner", value_name = "OWNER")]
    owners: Vec<String>,
    /// The audience that was asked for or granted
    #[arg(long = "audience", value_name = "NAME")]
    audiences: Vec<String>,
    /// The token's id, its jti
    #[arg(long = "token", value_name = "JTI", allow_hyphen_values = true)]
    tokens: Vec<String>,
    /// A token that was presented: to make another from it, or to act
    #[arg(long = "made-from", value_name = "JTI", allow_hyphen_values = true)]
    made_from: Vec<String>,
    /// Why it was refused
    #[arg(long = "code", value_name = "CODE")]
    codes: Vec<String>,
    /// A rule that decided
    #[arg(long = "rule", value_name = "ID")]
    rules: Vec<String>,
    /// What an administrator did: key.create
    #[arg(long = "action", value_name = "ACTION")]
    actions: Vec<String>,
    /// What it was done to: key:ID
    #[arg(long = "target", value_name = "TARGET")]
    targets: Vec<String>,
    /// Where the request came from: an address, or a network in CIDR notation; summaries of refusals count by /24 and
    /// /48
    #[arg(long = "network", value_name = "NETWORK", value_parser = network)]
    networks: Vec<IpNet>,
}

/// An address is the network of that one host.
fn network(text: &str) -> Result<IpNet, AddrParseError> {
    let host = text.parse::<IpAddr>().map(IpNet::from);
    host.or_else(|_| text.parse())
}

/// When it was made.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Filter")]
pub(super) struct TimeArgs {
    /// From the last so long: 1h
    #[arg(long, value_name = "LENGTH", value_parser = length, conflicts_with = "from")]
    since: Option<Duration>,
    /// Not from before this: 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// From before this
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

impl TermArgs {
    pub(super) fn filter(self) -> Filter {
        let terms = [
            (Field::Kind, self.kinds),
            (Field::Credential, self.credentials),
            (Field::Principal, self.principals),
            (Field::Owner, self.owners),
            (Field::Audience, self.audiences),
            (Field::Token, self.tokens),
            (Field::MadeFrom, self.made_from),
            (Field::Code, self.codes),
            (Field::Rule, self.rules),
            (Field::Action, self.actions),
            (Field::Target, self.targets),
        ];
        let networks = self.networks;
        let all = Filter {
            networks,
            ..Filter::default()
        };
        let named = terms.into_iter().filter(|(_, values)| !values.is_empty());
        named.fold(all, |filter, (field, values)| {
            filter.within(field, values.into_iter().collect())
        })
    }
}

impl TimeArgs {
    /// The same filter within these times.
    pub(super) fn within(&self, filter: Filter, now: Timestamp) -> Filter {
        let since = |length: Duration| now.checked_sub(length).unwrap_or(Timestamp::MIN);
        Filter {
            from: self.since.map(since).or(self.from),
            until: self.until,
            ..filter
        }
    }
}

/// As the broker is asked.
pub(super) fn message(filter: &Filter) -> pb::RecordFilter {
    let values = |field: Field| {
        let values = filter.terms.get(&field).into_iter().flatten();
        values.cloned().collect()
    };
    pb::RecordFilter {
        from: filter.from.map(to_proto),
        until: filter.until.map(to_proto),
        networks: filter.networks.iter().map(ToString::to_string).collect(),
        kinds: values(Field::Kind),
        credentials: values(Field::Credential),
        principals: values(Field::Principal),
        owners: values(Field::Owner),
        audiences: values(Field::Audience),
        token_ids: values(Field::Token),
        made_from: values(Field::MadeFrom),
        codes: values(Field::Code),
        rules: values(Field::Rule),
        actions: values(Field::Action),
        targets: values(Field::Target),
    }
}
