//! Reading our own source: its files, and the paths that its code names.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file.
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A path of two segments or more, or an import, as the code names it.
#[derive(Debug)]
pub(crate) struct Named {
    /// Full: imports are spread out, `super` and `self` are resolved. Ours start with `crate::`.
    pub(crate) path: String,
    pub(crate) line: usize,
}

impl Source {
    /// The module that the file holds, without `crate`; empty for `lib.rs`.
    pub(crate) fn module(&self) -> Vec<String> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let segments = inner.split('/').filter(|segment| *segment != "lib");
        segments.map(str::to_owned).collect()
    }

    /// Whether the file holds tests only.
    pub(crate) fn is_test(&self) -> bool {
        let mut names = self.path.split('/').peekable();
        names.peek() == Some(&"tests")
            || names.any(|name| matches!(name, "tests" | "tests.rs" | "testing.rs"))
    }

    /// What the code outside of tests names. Comments and the text of strings are not code.
    pub(crate) fn names(&self) -> Vec<Named> {
        self.named(without_tests(&self.tokens()))
    }

    /// What the code of the tests names.
    pub(crate) fn test_names(&self) -> Vec<Named> {
        self.named(self.tests())
    }

    fn named(&self, code: TokenStream) -> Vec<Named> {
        let mut found = Names {
            module: self.module(),
            found: Vec::new(),
        };
        found.walk(&code.into_iter().collect::<Vec<_>>());
        found.found
    }

    /// The code outside of tests, as text of tokens.
    pub(crate) fn code(&self) -> String {
        without_tests(&self.tokens()).to_string()
    }

    /// The code of the tests: all of a test file, the `#[cfg(test)]` items of another.
    pub(crate) fn test_code(&self) -> String {
        self.tests().to_string()
    }

    fn tests(&self) -> TokenStream {
        let mut tests = Vec::new();
        if self.is_test() {
            tests.extend(self.tokens());
        } else {
            split_tests(&self.tokens(), &mut |item| tests.extend_from_slice(item));
        }
        tests.into_iter().collect()
    }

    pub(crate) fn tokens(&self) -> Vec<TokenTree> {
        let stream: TokenStream = self
            .text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", self.path));
        stream.into_iter().collect()
    }
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of ours.
pub(crate) fn rust() -> Vec<Source> {
    let ours = files().into_iter().filter(|path| path.ends_with(".rs"));
    ours.map(|path| Source {
        text: fs::read_to_string(root().join(&path)).unwrap(),
        path,
    })
    .collect()
}

/// Every Rust file under `src`.
pub(crate) fn src() -> Vec<Source> {
    let mut sources = rust();
    sources.retain(|source| source.path.starts_with("src/"));
    assert!(sources.len() > 20, "found {} files only", sources.len());
    sources
}

/// The names of all tests.
pub(crate) fn tests() -> Vec<String> {
    rust().iter().flat_map(tests_of).collect()
}

/// The tests of a file as the runner names them, but for the name of a `mod tests` inside it.
fn tests_of(file: &Source) -> Vec<String> {
    let path = file.path.trim_end_matches(".rs");
    let path = ["src/", "tests/it/"]
        .iter()
        .find_map(|under| path.strip_prefix(under));
    let Some(module) = path.map(|path| path.replace('/', "::")) else {
        return Vec::new();
    };
    let code = file.test_code();
    let functions = code.match_indices("fn ").filter_map(|(at, _)| {
        let before = &code[..at];
        let attributes = &before[before.rfind(['{', '}', ';']).map_or(0, |end| end + 1)..];
        let squeezed: String = attributes.split_whitespace().collect();
        let test = squeezed.contains("[test]") || squeezed.contains("[tokio::test");
        let name = code[at + 3..]
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()?;
        test.then(|| format!("{module}::{name}"))
    });
    functions.collect()
}

/// Every file of ours, by its path from the root, sorted.
pub(crate) fn files() -> Vec<String> {
    fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.file_name().and_then(|name| name.to_str()) {
                // `cambist-dev` is what `cambist dev` makes where it runs.
                Some(".git" | "target" | "__pycache__" | "cambist-dev") => {}
                _ if path.is_dir() => visit(&path, found),
                _ => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    visit(root(), &mut found);
    let mut found: Vec<_> = found
        .iter()
        .map(|path| path.strip_prefix(root()).unwrap().display().to_string())
        .collect();
    found.sort();
    found
}

struct Names {
    module: Vec<String>,
    found: Vec<Named>,
}

impl Names {
    fn walk(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at = match token {
                TokenTree::Ident(name) if name == "mod" => self.inline_module(tokens, at),
                TokenTree::Ident(_) => self.path(tokens, at),
                TokenTree::Group(group) => {
                    self.walk(&inside(group));
                    at + 1
                }
                _ => at + 1,
            };
        }
    }

    /// `mod name { … }`: its contents are one level deeper.
    fn inline_module(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        if let [TokenTree::Ident(name), TokenTree::Group(body), ..] = &tokens[at + 1..] {
            self.module.push(name.to_string());
            self.walk(&inside(body));
            self.module.pop();
            return at + 3;
        }
        at + 1
    }

    fn path(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let imported = at > 0 && matches!(&tokens[at - 1], TokenTree::Ident(word) if word == "use");
        let before = self.found.len();
        let end = self.spread(&[], tokens, at);
        let mut added = self.found.split_off(before);
        added.retain(|named| imported || named.path.contains("::"));
        self.found.append(&mut added);
        end
    }

    /// Reads one path, and an import's braces, from `at`; returns where it ends.
    fn spread(&mut self, prefix: &[String], tokens: &[TokenTree], mut at: usize) -> usize {
        let mut path = prefix.to_vec();
        let line = tokens[at].span().start().line;
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(name)) => path.push(name.to_string()),
                Some(TokenTree::Punct(star)) if star.as_char() == '*' => path.push("*".into()),
                Some(TokenTree::Group(braces)) if braces.delimiter() == Delimiter::Brace => {
                    self.braces(&path, &inside(braces));
                    return at + 1;
                }
                _ => break,
            }
            at += 1;
            if !is_separator(tokens, at) {
                break;
            }
            at += 2;
        }
        let path = self.resolve(&path).join("::");
        self.found.push(Named { path, line });
        at
    }

    fn braces(&mut self, prefix: &[String], tokens: &[TokenTree]) {
        let is_comma =
            |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ',');
        for one in tokens.split(is_comma).filter(|one| !one.is_empty()) {
            self.spread(prefix, one, 0);
        }
    }

    fn resolve(&self, path: &[String]) -> Vec<String> {
        let first = path.first().map(String::as_str);
        let ups = path
            .iter()
            .take_while(|segment| *segment == "super")
            .count();
        let (base, rest) = match first {
            Some("self") if path.len() > 1 => (self.module.as_slice(), &path[1..]),
            Some("super") => {
                let parent = self.module.len().saturating_sub(ups);
                (&self.module[..parent], &path[ups..])
            }
            Some("cambist") => (&[][..], &path[1..]),
            _ => return path.to_vec(),
        };
        let absolute = ["crate".to_owned()].into_iter();
        absolute
            .chain(base.iter().cloned())
            .chain(rest.iter().cloned())
            .collect()
    }
}

fn inside(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(tokens.get(at)) && colon(tokens.get(at + 1))
}

/// The tokens without `#[cfg(test)]` items.
fn without_tests(tokens: &[TokenTree]) -> TokenStream {
    split_tests(tokens, &mut |_| {})
}

/// Hands each `#[cfg(test)]` item to `test` and returns the rest.
fn split_tests(tokens: &[TokenTree], test: &mut dyn FnMut(&[TokenTree])) -> TokenStream {
    let mut rest = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if is_cfg_test(&tokens[at..]) {
            let item = &tokens[at + 2..];
            let end = item
                .iter()
                .position(ends_item)
                .map_or(item.len(), |end| end + 1);
            test(&item[..end]);
            at += 2 + end;
            continue;
        }
        rest.push(match token {
            TokenTree::Group(group) => {
                let inner = split_tests(&inside(group), test);
                let mut kept = Group::new(group.delimiter(), inner);
                kept.set_span(group.span());
                kept.into()
            }
            other => other.clone(),
        });
        at += 1;
    }
    rest.into_iter().collect()
}

/// `#[cfg(test)]`, also among other conditions; `not(test)` is no test.
fn is_cfg_test(tokens: &[TokenTree]) -> bool {
    let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = tokens else {
        return false;
    };
    let text = attribute.stream().to_string();
    let words: Vec<_> = text
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    hash.as_char() == '#'
        && words.first() == Some(&"cfg")
        && words.contains(&"test")
        && !words.contains(&"not")
}

fn ends_item(token: &TokenTree) -> bool {
    match token {
        TokenTree::Punct(end) => matches!(end.as_char(), ';' | ','),
        TokenTree::Group(body) => body.delimiter() == Delimiter::Brace,
        _ => false,
    }
}

#[test]
fn a_source_names_what_its_code_names_and_nothing_else() {
    let source = Source {
        path: "src/mint/claims.rs".into(),
        text: r#"
            //! Not [`crate::comment`].
            use crate::{id::{self, KeyId as Id}, limits};
            use super::super::{authn::Verified, policy::*};
            use super::{sibling, super::audit};
            use std::{fs, net::{IpAddr, TcpStream}};
            use tonic;
            struct S { field: crate::keys::Ring, other: self::Inner }
            impl S { fn f(&self) { self.x.crate_like(); let _ = "crate::text"; tokio::net::lookup_host(1) } }
            macro_rules! m { () => { $crate::macros::f() } }
            mod inline { use super::super::super::store; }
            #[cfg(test)] use crate::testing;
            #[cfg(not(test))] use crate::real;
            #[cfg_attr(test, derive(Debug))] struct T { field: crate::of_both::Kind }
            impl Drop for S { #[cfg(test)] fn g() { crate::in_test::f() } }
            #[cfg(all(unix, test))]
            mod tests { use crate::grpc; }
        "#
        .into(),
    };
    let names: Vec<_> = source.names().into_iter().map(|named| named.path).collect();
    let expected = [
        "crate::id::self",
        "crate::id::KeyId",
        "crate::limits",
        "crate::authn::Verified",
        "crate::policy::*",
        "crate::mint::sibling",
        "crate::audit",
        "std::fs",
        "std::net::IpAddr",
        "std::net::TcpStream",
        "tonic",
        "crate::keys::Ring",
        "crate::mint::claims::Inner",
        "tokio::net::lookup_host",
        "crate::macros::f",
        "crate::store",
        "crate::real",
        "crate::of_both::Kind",
    ];
    assert_eq!(names, expected);
    assert!(source.test_code().contains("testing") && !source.code().contains("in_test"));
}
