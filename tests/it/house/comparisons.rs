//! What a caller shows is compared in constant time (invariant 9): how much of it is right takes no time to tell.

use super::source;
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// Where credentials are verified. Elsewhere nothing is compared with what somebody shows.
const VERIFIERS: &[&str] = &["secret", "authn", "inventory", "verify"];

/// Names of what must not be told from its like by `==`.
const SHOWN: &[&str] = &["digest", "expose", "fingerprint", "bound_to", "proven"];

#[test]
fn what_a_caller_shows_is_compared_in_constant_time() {
    let mut compared = Vec::new();
    for source in source::src() {
        let verifies = |module: &String| VERIFIERS.contains(&module.as_str());
        if !source.is_test() && source.module().first().is_some_and(verifies) {
            let found = comparisons(&source.code());
            compared.extend(found.into_iter().map(|what| (source.path.clone(), what)));
        }
    }
    assert!(compared.len() > 20, "found {} only", compared.len());
    compared.retain(|(_, what)| SHOWN.iter().any(|name| what.contains(&(*name).to_owned())));
    assert!(compared.is_empty(), "{compared:#?}");
}

/// The names on both sides of each `==` and `!=`, and of each call of `eq` and `ne`.
fn comparisons(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    within(code.parse().unwrap(), &mut found);
    found
}

fn within(stream: TokenStream, found: &mut Vec<Vec<String>>) {
    let tokens: Vec<_> = stream.into_iter().collect();
    for part in tokens.split(ends_condition) {
        let is_compared = part.windows(2).any(|two| {
            matches!(two, [TokenTree::Punct(first), TokenTree::Punct(second)]
                if second.as_char() == '=' && matches!(first.as_char(), '=' | '!'))
        });
        let is_called = part
            .iter()
            .any(|token| matches!(token, TokenTree::Ident(name) if name == "eq" || name == "ne"));
        if is_compared || is_called {
            found.push(names(part.iter().cloned().collect()));
        }
    }
    for token in tokens {
        if let TokenTree::Group(group) = token {
            within(group.stream(), found);
        }
    }
}

/// What stands between one comparison and the next: the end of a statement, an argument or a condition.
fn ends_condition(token: &TokenTree) -> bool {
    match token {
        TokenTree::Punct(and) if and.as_char() == '&' => and.spacing() == Spacing::Joint,
        TokenTree::Punct(punct) => matches!(punct.as_char(), ';' | ',' | '|'),
        TokenTree::Ident(word) => ["let", "if", "match", "return", "fn"]
            .iter()
            .any(|end| word == end),
        TokenTree::Group(body) => body.delimiter() == Delimiter::Brace,
        TokenTree::Literal(_) => false,
    }
}

fn names(stream: TokenStream) -> Vec<String> {
    let names = stream.into_iter().flat_map(|token| match token {
        TokenTree::Ident(name) => vec![name.to_string()],
        TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => {
            names(group.stream())
        }
        _ => Vec::new(),
    });
    names.collect()
}

#[test]
fn comparisons_are_found_with_both_their_sides() {
    let code = "fn f() { let a = x.digest; if a == b.of(c.digest()) && d { e } \
                g.map(|h| h != *i.fingerprint()); if j.ct_eq(k).into() { l <= m; n.eq(&o); } }";
    let found = comparisons(code);
    let expected = [
        vec!["a", "b", "of", "c", "digest"],
        vec!["h", "i", "fingerprint"],
        vec!["n", "eq", "o"],
    ];
    for names in expected {
        assert!(
            found.iter().any(|found| *found == names),
            "{names:?} in {found:?}"
        );
    }
    assert_eq!(found.len(), 3);
}
