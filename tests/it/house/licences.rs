//! What we link, we may link: the licence of every dependency, the tests' included.

use super::source;
use spdx::{Expression, ParseMode};
use std::fs;
use std::process::Command;

/// Licences that ask for no more than a notice.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn every_dependency_is_under_a_licence_we_accept() {
    let packages = tree("normal,build,dev", "{l}\t{p}");
    assert!(
        packages.len() > 100,
        "found {} packages only",
        packages.len()
    );
    for line in packages {
        let (text, package) = line.split_once('\t').unwrap();
        let licence = Expression::parse_mode(text, ParseMode::LAX)
            .unwrap_or_else(|error| panic!("{package} is under {text:?}: {error}"));
        let accepted = licence.evaluate(|asked| {
            let id = asked.license.id().map(|id| id.name);
            id.is_some_and(|id| LICENCES.contains(&id))
        });
        assert!(accepted, "{package} is under {text}");
    }
}

/// One provider of cryptography is linked: with two, which one signs would depend on who came first.
#[test]
fn one_provider_of_cryptography_is_linked() {
    let packages = tree("normal,build", "{p}");
    let named = |name: &str| {
        packages
            .iter()
            .any(|line| line.split(' ').next() == Some(name))
    };
    assert!(named("aws-lc-rs") && !named("ring"));
}

#[test]
fn every_dependency_comes_from_the_registry() {
    let lock = fs::read_to_string(source::root().join("Cargo.lock")).unwrap();
    let sources: Vec<_> = lock
        .lines()
        .filter(|line| line.starts_with("source = "))
        .collect();
    assert!(sources.len() > 100, "found {} packages only", sources.len());
    let registry = |line: &&str| line.starts_with("source = \"registry+");
    assert!(sources.iter().all(registry), "{sources:?}");
}

/// One line a package, for the platform that the tests run on.
fn tree(edges: &str, format: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "none"])
        .args(["--edges", edges, "--format", format])
        .current_dir(source::root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines.dedup();
    lines
}
