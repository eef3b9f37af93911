//! Sizes, names and words of the files themselves.

use super::source::{self, Source};
use std::fs;

/// Lines past which no file of ours goes; 250 is worth a look.
const LINES: usize = 500;

/// Lines of `main.rs`: it parses nothing and decides nothing.
const MAIN: usize = 60;

/// What the top level holds; dot-files are for the tools that read them.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "build.rs",
    "deploy",
    "proto",
    "src",
    "tests",
];

#[test]
fn no_file_is_too_long() {
    let written = |path: &String| {
        let ends = [".rs", ".py", ".mjs", ".proto", ".md", ".toml", ".yaml"];
        ends.iter().any(|end| path.ends_with(end))
    };
    for path in source::files().into_iter().filter(written) {
        let lines = read(&path).lines().count();
        let most = if path == "src/main.rs" { MAIN } else { LINES };
        assert!(
            lines <= most,
            "{path} has {lines} lines, {most} are the most"
        );
    }
}

#[test]
fn a_module_with_children_is_not_called_mod_rs() {
    let wrong: Vec<_> = source::files()
        .into_iter()
        .filter(|path| path.ends_with("/mod.rs"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// A lint is met or its exception is `expect`ed with a reason; a test runs or is not there.
#[test]
fn nothing_is_allowed_or_ignored() {
    let told = |source: &Source, word: &str| {
        let text = source
            .tokens()
            .into_iter()
            .collect::<proc_macro2::TokenStream>()
            .to_string();
        let squeezed: String = text.split_whitespace().collect();
        squeezed.contains(&format!("[{word}"))
    };
    for source in source::rust() {
        for word in ["allow(", "ignore]", "ignore="] {
            assert!(!told(&source, word), "{} says {word}", source.path);
        }
    }
}

/// What names one machine or one mirror works there only.
#[test]
fn nothing_names_a_machine_or_a_registry() {
    let hosts = [
        concat!("registry.", "npmjs"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("index.crates", ".io"),
        concat!("static.crates", ".io"),
        concat!("deb.debian", ".org"),
    ];
    let homes = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
    ];
    for path in source::files() {
        // Binary fixtures hold no words.
        let Ok(text) = fs::read_to_string(source::root().join(&path)) else {
            continue;
        };
        for host in hosts {
            assert!(!text.contains(host), "{path} names {host}");
        }
        for home in homes {
            let absolute = text.match_indices(home).any(|(at, _)| {
                let before = text[..at].chars().next_back();
                before.is_none_or(|c| c.is_whitespace() || "\"'`=([<:,".contains(c))
            });
            assert!(!absolute, "{path} names a folder under {home}");
        }
    }
}

#[test]
fn the_top_level_holds_what_the_tools_need() {
    for path in source::files() {
        let top = path.split('/').next().unwrap();
        let known = TOP.contains(&top) || top.starts_with('.');
        assert!(known, "{path}: `{top}` has no place at the top level");
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(source::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
