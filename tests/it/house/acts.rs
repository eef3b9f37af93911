//! Every act that can be recorded is done by a test that looks at its record.

use super::source;
use crate::e2e::acts::{ACTS, Met};
use std::collections::BTreeSet;

/// Where acts are recorded.
const RECORDED_IN: &[&str] = &[
    "src/administration/",
    "src/app/",
    "src/audit/",
    "src/exchange/",
];

/// What is named the same way and is no act: attributes of OTLP.
const NO_ACTS: &[&str] = &["cambist.audit", "service.name"];

#[test]
fn every_act_is_met_by_a_test_that_looks_at_its_record() {
    let mut acts = BTreeSet::new();
    for source in source::src() {
        let is_here = RECORDED_IN.iter().any(|at| source.path.starts_with(at));
        if is_here && !source.is_test() {
            let code = source.code();
            acts.extend(
                code.split('"')
                    .filter(|text| is_act(text))
                    .map(str::to_owned),
            );
        }
    }
    for name in NO_ACTS {
        assert!(acts.remove(*name), "{name} is nowhere");
    }
    assert!(acts.len() > 20, "found {acts:?} only");
    let met: BTreeSet<_> = ACTS.iter().map(|(act, _)| (*act).to_owned()).collect();
    assert_eq!(
        acts, met,
        "in the code, and with a row in tests/it/e2e/acts.rs"
    );
    let tests = source::tests();
    for (act, met) in ACTS {
        if let Met::By(test) = met {
            assert!(
                tests.iter().any(|name| name == test),
                "{act}: no test {test}"
            );
        }
    }
}

/// `noun.verb`.
fn is_act(text: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    text.split_once('.')
        .is_some_and(|(noun, verb)| is_word(noun) && is_word(verb))
}
