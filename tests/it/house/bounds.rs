//! Every bound protects something, and every "no" was said to someone.

use super::source;
use cambist::refusal::{Code, Fault};
use std::collections::BTreeSet;
use std::fs;

/// A bound that no code applies protects nothing (invariant 7).
#[test]
fn every_limit_is_applied() {
    let (limits, others): (Vec<_>, Vec<_>) = source::src()
        .into_iter()
        .partition(|source| source.path == "src/limits.rs");
    let used: BTreeSet<String> = others
        .iter()
        .flat_map(|source| words(&source.code()))
        .collect();
    let idle: Vec<_> = constants(&limits[0].text)
        .into_iter()
        .filter(|name| !used.contains(*name))
        .collect();
    assert!(idle.is_empty(), "nothing applies {idle:?} of src/limits.rs");
}

/// Every code is met by a test, by its name or as it is on the wire, or told of where users look.
#[test]
fn every_code_is_seen_in_a_test_or_told_in_the_readme() {
    let readme = fs::read_to_string(source::root().join("README.md")).unwrap();
    let tests = source::rust()
        .into_iter()
        .filter(|source| !source.path.contains("/house"));
    let tests: Vec<String> = tests
        .map(|source| source.test_code().split_whitespace().collect())
        .collect();
    let is_seen = |kind: &str, name: &str, code: &str| {
        let name = format!("{kind}::{name}");
        let quoted = format!("\"{code}\"");
        let is_named = |test: &String| {
            test.match_indices(&name)
                .any(|(at, _)| !test[at + name.len()..].starts_with(char::is_alphanumeric))
        };
        readme.contains(&format!("`{code}`"))
            || tests
                .iter()
                .any(|test| test.contains(&quoted) || is_named(test))
    };
    let codes = Code::ALL
        .iter()
        .filter(|code| !is_seen("Code", &format!("{code:?}"), code.code()))
        .map(|code| code.code());
    let faults = Fault::ALL
        .iter()
        .filter(|fault| !is_seen("Fault", &format!("{fault:?}"), fault.code()))
        .map(|fault| fault.code());
    let unseen: Vec<_> = codes.chain(faults).collect();
    assert!(unseen.is_empty(), "no test meets {unseen:?}");
}

fn constants(text: &str) -> Vec<&str> {
    let names = text.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("pub const ")?.split_once(':')?;
        Some(name)
    });
    let names: Vec<_> = names.collect();
    assert!(names.len() > 30, "found {} limits only", names.len());
    names
}

fn words(text: &str) -> Vec<String> {
    let word = |c: char| !c.is_alphanumeric() && c != '_';
    text.split(word).map(str::to_owned).collect()
}
