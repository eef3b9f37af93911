//! Which records somebody looks for.

use super::seen::{Field, Seen};
use ipnet::IpNet;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What must hold of a record. What is not set holds of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// It is not from before this.
    pub from: Option<Timestamp>,
    /// It is from before this.
    pub until: Option<Timestamp>,
    /// The request came from one of these; any where there are none. A summary of refusals counts requests by network: one
    /// of them has some address in common with one of these.
    pub networks: Vec<IpNet>,
    /// It has one of these values in each of these fields.
    pub terms: BTreeMap<Field, BTreeSet<String>>,
}

impl Filter {
    /// Also wants one of `values` in `field`. What was wanted there before is narrowed: an empty set is what no record has.
    #[must_use]
    pub fn within(mut self, field: Field, values: BTreeSet<String>) -> Self {
        let narrowed = match self.terms.remove(&field) {
            Some(before) => &before & &values,
            None => values,
        };
        self.terms.insert(field, narrowed);
        self
    }

    /// Whether a record is one of those.
    #[must_use]
    pub fn matches(&self, record: &Seen<'_>) -> bool {
        let has = |field: &Field, values: &BTreeSet<String>| {
            let mut terms = record.terms();
            terms.any(|(of, value)| of == *field && values.contains(value))
        };
        self.from.is_none_or(|from| record.time >= from)
            && self.until.is_none_or(|until| record.time < until)
            && self.terms.iter().all(|(field, values)| has(field, values))
            && self.is_from(record)
    }

    fn is_from(&self, record: &Seen<'_>) -> bool {
        let address = record.address();
        let inside = |network: &IpNet| address.is_some_and(|address| network.contains(&address));
        let overlaps = |network: &IpNet| {
            let mut counted = record.networks();
            counted.any(|counted| network.contains(&counted) || counted.contains(network))
        };
        let has = |network: &IpNet| inside(network) || overlaps(network);
        self.networks.is_empty() || self.networks.iter().any(has)
    }
}
