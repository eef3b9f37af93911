//! Whether two URLs are one.

use super::super::place::{Place, PlaceError};
use proptest::prelude::*;

fn is_named(base: &str, url: &str, path: &str) -> bool {
    Place::parse(base).unwrap().is_named(url, path)
}

#[test]
fn a_url_has_many_forms() {
    let base = "https://shop.example.org";
    for (url, path) in [
        ("https://shop.example.org/a/b", "/a/b"),
        ("HTTPS://Shop.Example.ORG/a/b", "/a/b"),
        ("https://shop.example.org:443/a/b", "/a/b"),
        ("https://shop.example.org:/a/b", "/a/b"),
        ("https://shop.example.org/a/b?c=d", "/a/b"),
        ("https://shop.example.org/a/b#c", "/a/b"),
        // What is ignored may be anything.
        ("https://shop.example.org/a/b?c|d e#%", "/a/b"),
        ("https://shop.example.org/a/b?/c#d?e", "/a/b"),
        ("https://shop.example.org/%61/%7Eb", "/a/~b"),
        ("https://shop.example.org/a/~b", "/%61/%7eb"),
        ("https://shop.example.org/%c3%a9", "/%C3%A9"),
        ("https://shop.example.org/./a/../a/x/../b", "/a/b"),
        ("https://shop.example.org/a/%2E%2e/a/b", "/a/b"),
        ("https://shop.example.org/../a/b", "/a/b"),
        ("https://shop.example.org", "/"),
        ("https://shop.example.org?a", "/"),
        ("https://shop.example.org/", "/"),
        ("https://%73hop.example.org/a/b", "/a/b"),
    ] {
        assert!(is_named(base, url, path), "{url} {path}");
    }
}

#[test]
fn other_urls_are_others() {
    let base = "https://shop.example.org";
    for url in [
        "http://shop.example.org/a/b",
        "http://shop.example.org:443/a/b",
        "https://shop.example.org:8443/a/b",
        "https://shop.example.org:80/a/b",
        "https://shop.example.org./a/b",
        "https://shop.example.org.evil.example/a/b",
        "https://evil.example/a/b",
        "https://evil.example/https://shop.example.org/a/b",
        "https://shop.example.org@evil.example/a/b",
        "https://user@shop.example.org/a/b",
        "https://@shop.example.org/a/b",
        "https://shop.example.org/A/b",
        "https://shop.example.org/a/b/",
        "https://shop.example.org/a//b",
        "https://shop.example.org//a/b",
        "https://shop.example.org/a%2Fb",
        "https://shop.example.org/a%2fb",
        "https://shop.example.org/a/%62%00",
        "https://shop.example.org/a/b%",
        "https://shop.example.org\\a\\b",
        "https://shop.example.org/a\\b",
        " https://shop.example.org/a/b",
        "https://shop.example.org/a/b ",
        "https://shop.example.org/a/b\n",
        "https:\t//shop.example.org/a/b",
        "https:/shop.example.org/a/b",
        "https:shop.example.org/a/b",
        "https:///a/b",
        "//shop.example.org/a/b",
        "/a/b",
        "a/b",
        "",
        "urn:a:b",
    ] {
        assert!(!is_named(base, url, "/a/b"), "{url}");
    }
    // What is no path is nobody's, and what no client could write matches nothing.
    for path in [
        "*", "", "a/b", "/a\\b", "/a\tb", "/a\u{7f}", "/a\u{85}", "/%", "/%5", "/%zz",
    ] {
        let url = format!("{base}/{}", path.trim_start_matches('/'));
        assert!(!is_named(base, &url, path), "{path}");
    }
}

/// Clients and servers let stand in a path what RFC 3986 does not.
#[test]
fn what_is_sent_as_it_is_and_what_is_encoded_are_one() {
    let base = "https://shop.example.org";
    let odd = "/[a]|b/\u{e9}\u{1f600}^`{}\"<> c";
    let encoded = "/%5Ba%5D%7Cb/%C3%A9%F0%9F%98%80%5E%60%7B%7D%22%3C%3E%20c";
    let small = encoded.to_ascii_lowercase();
    for (named, asked) in [odd, encoded, &small]
        .into_iter()
        .flat_map(|named| [odd, encoded, &small].map(|asked| (named, asked)))
    {
        assert!(
            is_named(base, &format!("{base}{named}?q[]"), asked),
            "{named} {asked}"
        );
        // A server may be known under it, too.
        let under = format!("{base}{encoded}/");
        assert!(
            is_named(&under, &format!("{base}{named}{asked}"), asked),
            "{named} {asked}"
        );
    }
    // That is how it arrives.
    let odd = "/[a]|b/\u{e9}\u{1f600}";
    let arrived = http::Uri::try_from(odd).unwrap();
    assert_eq!(arrived.path(), odd);
    // What is encoded is not encoded again, nor is anything but the path.
    for (url, path) in [
        ("/%255Ba", "/[a"),
        ("/%255Ba", "/%5Ba"),
        ("/[a", "/]a"),
        ("/e", "/\u{e9}"),
    ] {
        assert!(
            !is_named(base, &format!("{base}{url}"), path),
            "{url} {path}"
        );
    }
    for url in [
        "https://shop.exampl\u{e9}.org/",
        "https://shop|.example.org/",
        "htt|ps://shop.example.org/",
    ] {
        assert!(!is_named(base, url, "/"), "{url}");
    }
}

/// A router looks for a route with the dots in its name, or for none; a client went where they lead.
#[test]
fn no_request_is_for_a_path_with_dots() {
    let base = "https://shop.example.org";
    for path in [
        "/a/../b",
        "/./b",
        "/b/.",
        "/b/..",
        "/..",
        "/.",
        "/../b",
        "/a/%2e%2E/b",
        "/a/.%2e/b",
        "/a/%2E./b",
        "/%2e/b",
    ] {
        for url in [
            format!("{base}/b"),
            format!("{base}/"),
            format!("{base}{path}"),
        ] {
            assert!(!is_named(base, &url, path), "{url} {path}");
        }
    }
    for path in ["/...", "/.a", "/a.", "/a..b", "/..%2Fa", "/%252e"] {
        assert!(is_named(base, &format!("{base}{path}"), path), "{path}");
    }
}

#[test]
fn a_server_may_be_under_a_path_of_another() {
    for base in [
        "https://example.org/shop",
        "https://Example.org:443/x/../shop/",
    ] {
        for (url, path) in [
            ("https://example.org/shop/a", "/a"),
            ("https://example.org/shop/", "/"),
            ("https://example.org/shop", "/"),
            ("https://example.org/%73hop/a", "/a"),
            ("https://example.org/x/../shop/./a", "/a"),
        ] {
            assert!(is_named(base, url, path), "{url} {path}");
        }
        for (url, path) in [
            ("https://example.org/a", "/a"),
            ("https://example.org/shopa", "/a"),
            ("https://example.org/shop/../a", "/a"),
            // A path with dots in it does not leave.
            ("https://example.org/bank", "/../bank"),
            ("https://example.org/shop/a", "/../a"),
            ("https://example.org/shop", "/a"),
        ] {
            assert!(!is_named(base, url, path), "{url} {path}");
        }
    }
    assert!(is_named("http://[::1]:8080", "http://[::1]:8080/a", "/a"));
    assert!(is_named("http://127.0.0.1", "http://127.0.0.1:80/a", "/a"));
}

#[test]
fn a_place_is_a_plain_url() {
    for url in [
        "",
        "shop.example.org",
        "https://",
        "https:///a",
        "ftp://shop.example.org",
        "https://user@shop.example.org",
        "https://shop.example.org?a",
        "https://shop.example.org#a",
        "https://shop.example.org/a b",
        "https://shop example.org",
    ] {
        let refused: PlaceError = Place::parse(url).unwrap_err();
        assert!(refused.to_string().starts_with(url), "{url}");
    }
}

/// A path of what may stand in it, as most clients write it.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-zA-Z0-9_~:@!$&'()*+,;=-]{1,8}", 0..5)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

/// The same in another form: `how` says for each of its characters which.
fn disguised(path: &str, how: &[u8]) -> String {
    let mut other = String::new();
    for (character, how) in path.chars().zip(how.iter().cycle()) {
        match (character, how % 5) {
            ('/', 0) => other.push_str("/./"),
            ('/', 1) => other.push_str("/x/../"),
            ('/', 2) => other.push_str("/%2E/"),
            (c, 0) if c.is_ascii_alphanumeric() || "-_~".contains(c) => {
                other.push_str(&format!("%{:02x}", u32::from(c)));
            }
            (c, 1) if c.is_ascii_alphanumeric() || "-_~".contains(c) => {
                other.push_str(&format!("%{:02X}", u32::from(c)));
            }
            (c, _) => other.push(c),
        }
    }
    other
}

proptest! {
    #[test]
    fn another_form_is_the_same(path in path(), how in prop::collection::vec(any::<u8>(), 1..40)) {
        let other = disguised(&path, &how);
        let base = "https://shop.example.org";
        let url = format!("HTTPS://SHOP.example.org:443{other}?q#f");
        prop_assert!(is_named(base, &url, &path), "{url} {path}");
        // A request's own path is not to be resolved.
        let url = format!("{base}{path}");
        let is_plain = !other.split('/').any(|part| matches!(part, "." | ".." | "%2E"));
        prop_assert_eq!(is_named(base, &url, &other), is_plain, "{} {}", url, other);
    }

    #[test]
    fn another_path_is_another(one in path(), two in path(), how in prop::collection::vec(any::<u8>(), 1..40)) {
        prop_assume!(one != two);
        let url = format!("https://shop.example.org{}", disguised(&one, &how));
        prop_assert!(!is_named("https://shop.example.org", &url, &two), "{url} {two}");
    }

    #[test]
    fn arbitrary_urls_never_panic(url in "\\PC{0,80}", path in "\\PC{0,40}") {
        let place = Place::parse("https://shop.example.org").unwrap();
        let _named = place.is_named(&url, &path);
        prop_assert!(!place.is_named(&url, "/a/b"));
    }
}
