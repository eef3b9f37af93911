//! Which records a caller wants.

use crate::audit::{Field, Filter};
use crate::grpc::convert::{instant, invalid, open};
use crate::limits;
use crate::proto as pb;
use crate::refusal::Refusal;

/// Reads a filter; none lets everything through.
pub(super) fn parsed(message: Option<pb::RecordFilter>) -> Result<Filter, Refusal> {
    let pb::RecordFilter {
        from,
        until,
        networks,
        kinds,
        credentials,
        principals,
        owners,
        audiences,
        token_ids,
        made_from,
        codes,
        rules,
        actions,
        targets,
    } = message.unwrap_or_default();
    let terms = [
        ("kinds", Field::Kind, kinds),
        ("credentials", Field::Credential, credentials),
        ("principals", Field::Principal, principals),
        ("owners", Field::Owner, owners),
        ("audiences", Field::Audience, audiences),
        ("token_ids", Field::Token, token_ids),
        ("made_from", Field::MadeFrom, made_from),
        ("codes", Field::Code, codes),
        ("rules", Field::Rule, rules),
        ("actions", Field::Action, actions),
        ("targets", Field::Target, targets),
    ];
    let values = terms.iter().map(|(_, _, values)| values.len());
    if values.sum::<usize>().saturating_add(networks.len()) > limits::FILTER_VALUES {
        let problem = format!("names more than {} values", limits::FILTER_VALUES);
        return Err(invalid("filter", problem));
    }
    let time = |name: &str, at: Option<prost_types::Timestamp>| {
        at.map(|at| instant(name, &at)).transpose()
    };
    let mut filter = Filter {
        from: time("filter.from", from)?,
        until: time("filter.until", until)?,
        ..Filter::default()
    };
    for network in networks {
        let network = open("filter.networks", &network)?.parse();
        let network = network.map_err(|error| invalid("filter.networks", error))?;
        filter.networks.push(network);
    }
    for (name, field, values) in terms {
        for value in &values {
            open(&format!("filter.{name}"), value)?;
        }
        if !values.is_empty() {
            filter = filter.within(field, values.into_iter().collect());
        }
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_bounded_in_all_of_its_fields_together() {
        let of = |values: usize| pb::RecordFilter {
            kinds: vec!["issue".to_owned(); values / 2],
            networks: vec!["192.0.2.0/24".to_owned(); values - values / 2],
            ..pb::RecordFilter::default()
        };
        assert!(parsed(Some(of(limits::FILTER_VALUES))).is_ok());
        assert!(parsed(Some(of(limits::FILTER_VALUES + 1))).is_err());
    }

    #[test]
    fn every_field_is_looked_for_where_it_stands() {
        let one = |value: &str| vec![value.to_owned()];
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let filter = parsed(Some(pb::RecordFilter {
            from: at(1),
            until: at(2),
            networks: one("192.0.2.0/24"),
            kinds: one("kind"),
            credentials: one("credential"),
            principals: one("principal"),
            owners: one("owner"),
            audiences: one("audience"),
            token_ids: one("token"),
            made_from: one("madefrom"),
            codes: one("code"),
            rules: one("rule"),
            actions: one("action"),
            targets: one("target"),
        }));
        let filter = filter.unwrap();
        let terms = filter.terms.iter();
        let terms: Vec<_> = terms
            .map(|(field, values)| (format!("{field:?}").to_lowercase(), values.clone()))
            .collect();
        assert_eq!(terms.len(), 11);
        assert!(terms.iter().all(|(field, values)| values.contains(field)));
        assert_eq!(filter.networks, ["192.0.2.0/24".parse().unwrap()]);
        assert_eq!(filter.from.unwrap().as_second(), 1);
        assert_eq!(filter.until.unwrap().as_second(), 2);
        assert_eq!(parsed(None), Ok(Filter::default()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let filter = pb::RecordFilter {
            networks: vec!["192.0.2.0".to_owned()],
            ..pb::RecordFilter::default()
        };
        assert!(parsed(Some(filter)).is_err());
    }
}
