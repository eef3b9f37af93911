//! Configuration of who reports leaked keys.

use crate::support::config::{MINIMAL, minimal_with, only};
use cambist::config::{Config, Problem, PublishedAt};
use cambist::limits;

#[test]
fn nobody_reports_unless_it_is_said_who() {
    assert!(minimal_with("").unwrap().leak.reporters.is_empty());
}

#[test]
fn reporters_have_a_name_and_a_place_each_and_are_few() {
    let reporters = |count: usize| -> String {
        (0..count)
            .map(|at| format!("[[leak.reporter]]\nname = \"r{at}\"\nfile = \"keys.json\"\n"))
            .collect()
    };
    let config = minimal_with(&reporters(limits::LEAK_REPORTERS)).unwrap();
    assert_eq!(config.leak.reporters.len(), limits::LEAK_REPORTERS);
    assert_eq!(
        config.leak.reporters[0].keys,
        PublishedAt::File("/etc/cambist/keys.json".into())
    );
    let problem = only(minimal_with(&reporters(limits::LEAK_REPORTERS + 1)));
    assert_eq!(problem.message, "there may be 8 reporters");
    let url = "url = \"https://scan.example.net/keys\"\n";
    let both = "a reporter publishes keys in a `file` or at a `url`, and not both";
    for (section, key, message) in [
        ("file = \"k\"", "leak.reporter[0]", "`name` is missing"),
        ("name = \"a\"", "leak.reporter[0]", both),
        (
            &*format!("name = \"a\"\nfile = \"k\"\n{url}ca = \"ca.pem\""),
            "leak.reporter[0]",
            both,
        ),
        (
            &*format!("name = \"a\"\n{url}"),
            "leak.reporter[0]",
            "`ca` is missing: nobody else's word for the server is taken",
        ),
        (
            "name = \"a\"\nfile = \"k\"\nca = \"ca.pem\"",
            "leak.reporter[0].ca",
            "says nothing of keys in a file",
        ),
        (
            "name = \"a\"\nurl = \"http://scan.example.net\"\nca = \"ca.pem\"",
            "leak.reporter[0].url",
            "not an https URL without user, query and fragment",
        ),
        (
            "name = \"a\"\nfile = \"k\"\n[[leak.reporter]]\nname = \"a\"\nfile = \"l\"",
            "leak.reporter[1].name",
            "another reporter is called `a`",
        ),
        (
            "name = \"a b\"\nfile = \"k\"",
            "leak.reporter[0].name",
            "reporter holds ' ', which is not allowed",
        ),
    ] {
        let problem = only(minimal_with(&format!("[[leak.reporter]]\n{section}")));
        assert_eq!(
            (&*problem.key, &*problem.message),
            (key, message),
            "{section}"
        );
    }
}

/// What `check-config` says of the files.
#[test]
fn the_files_of_a_reporter_are_looked_at_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let section = "[[leak.reporter]]\nname = \"a\"\nfile = \"keys.json\"\n\
                   [[leak.reporter]]\nname = \"b\"\nurl = \"https://a.example\"\nca = \"ca.pem\"\n";
    write("cambist.toml", &format!("{MINIMAL}\n{section}"));
    let config = Config::load(&folder.path().join("cambist.toml")).unwrap();
    let ours = |problems: Vec<Problem>| -> Vec<String> {
        let keys = problems.into_iter().map(|problem| problem.key);
        keys.filter(|key| key.starts_with("leak")).collect()
    };
    let content = || {
        let clock: std::sync::Arc<dyn cambist::clock::Clock> =
            cambist::clock::SystemClock::shared();
        ours(cambist::app::check(&config, &clock))
    };
    let both = ["leak.reporter[0].file", "leak.reporter[1].ca"];
    assert_eq!(ours(config.check_files()), both);
    assert_eq!(content(), both);
    write("keys.json", "{}");
    write("ca.pem", "");
    assert!(ours(config.check_files()).is_empty());
    assert_eq!(content(), both);
    let reporter = crate::support::reporter::Reporter::new("k1");
    write("keys.json", &reporter.published());
    write("ca.pem", crate::support::pki::Authority::new("a").pem());
    assert!(content().is_empty());
}
