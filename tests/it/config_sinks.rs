//! `[[log.sink]]`: what is accepted, and what is refused where.

use crate::support::config::{self, MINIMAL};
use cambist::audit::sink::{Body, Format, Kind, Settings, Start};
use cambist::audit::{Field, Filter};
use cambist::config::{Config, Problem};
use cambist::limits;
use std::time::Duration;

const FULL: &str = include_str!("../../deploy/cambist.toml");

fn parse(text: &str) -> Result<Vec<Settings>, Vec<Problem>> {
    config::parse(text).map(|config| config.log.sinks)
}

fn sinks(sections: &str) -> Result<Vec<Settings>, Vec<Problem>> {
    parse(&format!("{MINIMAL}\n{sections}"))
}

fn sink(more: &str) -> String {
    format!("[[log.sink]]\n{more}\n")
}

#[test]
fn the_sample_shows_each_kind() {
    let all = parse(FULL).unwrap();
    let [container, siem, leaks, collector, syslog] = &all[..] else {
        panic!("{all:#?}");
    };
    assert_eq!(container.kind, Kind::Stdout);
    assert_eq!(container.timeout, limits::SINK_DELIVERY);
    assert_eq!(
        (container.format, container.start),
        (Format::Record, Start::Beginning)
    );
    let Kind::Webhook(webhook) = &siem.kind else {
        panic!("{siem:?}");
    };
    assert_eq!(webhook.body, Body::Array);
    let names: Vec<_> = siem.files().iter().map(|(key, ..)| *key).collect();
    assert_eq!(
        names,
        [
            "ca",
            "certificate",
            "key",
            "bearer_file",
            "signing_key_file"
        ]
    );
    let secret: Vec<_> = siem.files().iter().map(|(.., secret)| *secret).collect();
    assert_eq!(secret, [false, false, true, true, true]);
    let owner = |sink: &Settings| sink.only.terms.get(&Field::Owner).cloned();
    assert_eq!(owner(leaks), Some(["team-shop".to_owned()].into()));
    assert_eq!(siem.only, Filter::default());
    assert!(matches!(&collector.kind, Kind::Otlp(otlp) if otlp.bearer.is_none()));
    assert_eq!(collector.format, Format::Ocsf);
    let Kind::Syslog(syslog) = &syslog.kind else {
        panic!("{syslog:?}");
    };
    assert_eq!(syslog.message_bytes, limits::SYSLOG_MESSAGE);
}

#[test]
fn what_a_key_leaves_out_is_its_default() {
    let least = sinks(&sink("name = \"a\"\nkind = \"stdout\"")).unwrap();
    let full = parse(FULL).unwrap();
    assert_eq!(
        (&least[0].kind, least[0].timeout),
        (&full[0].kind, full[0].timeout)
    );
    assert_eq!(
        (least[0].format, least[0].start),
        (full[0].format, full[0].start)
    );
    let longer = sinks(&sink(
        "name = \"a\"\nkind = \"stdout\"\ntimeout = \"1m\"\nstart = \"end\"",
    ));
    let longer = longer.unwrap();
    assert_eq!(
        (longer[0].timeout, longer[0].start),
        (Duration::from_secs(60), Start::End)
    );
}

#[test]
fn each_mistake_is_told_where_it_is() {
    let webhook = "name = \"a\"\nkind = \"webhook\"\n";
    let https = format!("{webhook}url = \"https://siem.example.org\"\n");
    let syslog = "name = \"a\"\nkind = \"syslog\"\n";
    let otlp = "name = \"a\"\nkind = \"otlp\"\n";
    for (section, key, says) in [
        (
            "kind = \"stdout\"".to_owned(),
            "log.sink[0]",
            "`name` is missing",
        ),
        (
            "name = \"A\"\nkind = \"stdout\"".to_owned(),
            "log.sink[0].name",
            "small letters",
        ),
        (
            "name = \"a\"\nkind = \"kafka\"".to_owned(),
            "log.sink[0].kind",
            "kafka",
        ),
        (
            "name = \"a\"\nkind = \"stdout\"\nurl = \"https://a\"".to_owned(),
            "log.sink[0].url",
            "no such key",
        ),
        (
            "name = \"a\"\nkind = \"stdout\"\nkinds = [\"refusal\"]".to_owned(),
            "log.sink[0].kinds",
            "no record has `refusal` there",
        ),
        (
            "name = \"a\"\nkind = \"stdout\"\nactions = [\"leaked\"]".to_owned(),
            "log.sink[0].actions",
            "no record has `leaked` there",
        ),
        (
            "name = \"a\"\nkind = \"stdout\"\nowners = []".to_owned(),
            "log.sink[0].owners",
            "takes 1 to 256 of them",
        ),
        (
            "name = \"a\"\nkind = \"stdout\"\ntimeout = \"2m\"".to_owned(),
            "log.sink[0].timeout",
            "not within",
        ),
        (webhook.to_owned(), "log.sink[0]", "`url` is missing"),
        (
            format!("{webhook}url = \"siem\""),
            "log.sink[0].url",
            "relative URL",
        ),
        (
            format!("{webhook}url = \"ftp://a\""),
            "log.sink[0].url",
            "does not begin with `https://`",
        ),
        (
            format!("{webhook}url = \"http://siem.example.org\""),
            "log.sink[0].url",
            "loopback",
        ),
        (
            format!("{webhook}url = \"http://localhost\""),
            "log.sink[0].url",
            "loopback",
        ),
        (
            format!("{webhook}url = \"https://u:p@a\"\nca = \"ca\""),
            "log.sink[0].url",
            "a user",
        ),
        (https.clone(), "log.sink[0]", "`ca` is missing"),
        (
            format!("{https}ca = \"ca\"\ncertificate = \"c\""),
            "log.sink[0]",
            "`key` is missing",
        ),
        (
            format!("{https}ca = \"ca\"\nkey = \"k\""),
            "log.sink[0]",
            "`certificate` is missing",
        ),
        (
            format!("{https}ca = \"ca\"\nmessage_bytes = 4096"),
            "log.sink[0].message_bytes",
            "no such key",
        ),
        (
            format!("{webhook}url = \"http://127.0.0.1\"\nca = \"ca\""),
            "log.sink[0].ca",
            "no TLS",
        ),
        (
            format!("{syslog}url = \"tcp://logs.example.org:514\""),
            "log.sink[0].url",
            "loopback",
        ),
        (
            format!("{syslog}url = \"tls://a\"\nca = \"ca\"\nmessage_bytes = 2047"),
            "log.sink[0].message_bytes",
            "not within",
        ),
        (
            format!("{syslog}url = \"tls://a\"\nca = \"ca\"\nbearer_file = \"t\""),
            "log.sink[0].bearer_file",
            "no such key",
        ),
        (
            format!("{otlp}url = \"https://a:4317\"\nca = \"ca\"\nbody = \"lines\""),
            "log.sink[0].body",
            "no such key",
        ),
    ] {
        let problems = sinks(&sink(&section)).unwrap_err();
        let told = |problem: &Problem| problem.key == key && problem.message.contains(says);
        assert_eq!(problems.len(), 1, "{section}: {problems:#?}");
        assert!(told(&problems[0]), "{section}: {problems:#?}");
    }
}

#[test]
fn addresses_of_the_loopback_interface_need_no_tls() {
    for (kind, url) in [
        ("webhook", "http://127.0.0.1:8080/x"),
        ("webhook", "http://[::1]:8080/x"),
        ("otlp", "http://127.0.0.1:4317"),
        ("syslog", "tcp://127.0.0.1:514"),
        ("syslog", "tcp://[::1]:514"),
    ] {
        let made = sinks(&sink(&format!(
            "name = \"a\"\nkind = \"{kind}\"\nurl = \"{url}\""
        )));
        assert!(made.is_ok(), "{kind} {url}: {made:#?}");
    }
}

#[test]
fn names_and_standard_output_are_given_once_and_sinks_are_few() {
    let twice = sink("name = \"a\"\nkind = \"stdout\"").repeat(2);
    let problems = sinks(&twice).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| &*problem.key).collect();
    assert_eq!(keys, ["log.sink[1].name", "log.sink[1].kind"]);
    let many = |count: usize| -> String {
        let section = |n| {
            sink(&format!(
                "name = \"s{n}\"\nkind = \"syslog\"\nurl = \"tcp://127.0.0.1:514\""
            ))
        };
        (0..count).map(section).collect()
    };
    assert_eq!(sinks(&many(limits::SINKS)).unwrap().len(), limits::SINKS);
    let problems = sinks(&many(limits::SINKS + 1)).unwrap_err();
    assert_eq!(problems[0].key, "log.sink");
}

#[test]
fn a_sink_names_so_many_owners_and_no_more() {
    let named = |count: usize| {
        let owners: Vec<_> = (0..count).map(|at| format!("\"team-{at}\"")).collect();
        sinks(&sink(&format!(
            "name = \"a\"\nkind = \"stdout\"\nowners = [{}]",
            owners.join(",")
        )))
    };
    assert!(named(limits::FILTER_VALUES).is_ok());
    assert!(named(limits::FILTER_VALUES + 1).is_err());
}

/// What `check-config` says of the files.
#[test]
fn the_files_of_a_sink_are_looked_at_and_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let section = sink(
        "name = \"a\"\nkind = \"webhook\"\nurl = \"https://a\"\nca = \"ca.pem\"\nbearer_file = \"token\"\nsigning_key_file = \"key\"",
    );
    write("cambist.toml", &format!("{MINIMAL}\n{section}"), 0o600);
    let config = Config::load(&folder.path().join("cambist.toml")).unwrap();
    let files = || -> Vec<String> {
        let problems = config.check_files().into_iter().map(|problem| problem.key);
        problems.filter(|key| key.starts_with("log.sink")).collect()
    };
    let content = || -> Vec<String> {
        let clock: std::sync::Arc<dyn cambist::clock::Clock> =
            cambist::clock::SystemClock::shared();
        let problems = cambist::app::check(&config, &clock).into_iter();
        let ours = problems.filter(|problem| problem.key.starts_with("log.sink"));
        ours.map(|problem| format!("{}: {}", problem.key, problem.message))
            .collect()
    };
    assert_eq!(
        files(),
        [
            "log.sink[0].ca",
            "log.sink[0].bearer_file",
            "log.sink[0].signing_key_file"
        ]
    );
    write("ca.pem", "no certificate", 0o644);
    write("token", "s3cret\n", 0o644);
    write("key", "whsec_short\n", 0o600);
    assert_eq!(files(), ["log.sink[0].bearer_file"], "others may read it");
    assert!(
        content()[0].ends_with("ca.pem: holds no certificate"),
        "{:?}",
        content()
    );
    let authority = crate::support::pki::Authority::new("a");
    write("ca.pem", authority.pem(), 0o644);
    write("token", "s3cret\n", 0o600);
    assert_eq!(files(), [""; 0]);
    let said = content();
    assert!(
        said[0].starts_with("log.sink[0].url: ") && said[0].contains("key: not `whsec_`"),
        "{said:?}"
    );
    assert!(!said[0].contains("short"));
    write("key", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", 0o600);
    assert_eq!(content(), [""; 0]);
}
