//! Configurations that tests begin with.

use cambist::config::{Config, Problem};
use std::path::Path;

pub(crate) const MINIMAL: &str = include_str!("../../../deploy/minimal.toml");

/// As if it were the file in its usual place.
pub(crate) fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    Config::parse(Path::new("/etc/cambist/cambist.toml"), text)
}

pub(crate) fn minimal_with(more: &str) -> Result<Config, Vec<Problem>> {
    parse(&format!("{MINIMAL}\n{more}"))
}

/// What is wrong with it, which is one thing.
pub(crate) fn only(result: Result<Config, Vec<Problem>>) -> Problem {
    let problems = result.expect_err("must be refused");
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_iter().next().unwrap()
}
