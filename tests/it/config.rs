//! Configuration: what is accepted, what is refused, and how well the refusal helps.

use crate::support::config::{MINIMAL, minimal_with, only, parse};
use cambist::authn::Sight;
use cambist::config::{Address, Algorithm, ClientCertificates, Config, Face, KEYS};
use cambist::limits;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

const FULL: &str = include_str!("../../deploy/cambist.toml");

#[test]
fn every_sample_is_accepted() {
    let mut samples = Vec::new();
    let mut directories = vec![deploy()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|name| name == "toml") {
                samples.push(path);
            }
        }
    }
    // The scanner's rules are TOML too, and are another test's matter.
    samples.retain(|path| !path.ends_with("scanner/gitleaks.toml"));
    assert_eq!(samples.len(), 3, "{samples:?}");
    for sample in samples {
        if let Err(problems) = Config::load(&sample) {
            panic!("{problems:#?}");
        }
    }
}

#[test]
fn an_address_has_one_listener_and_port_0_is_no_address() {
    let twice = |port: u16| {
        let listener = format!("[[listener]]\naddress = \"127.0.0.1:{port}\"\n");
        minimal_with(&format!(
            "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n{listener}{listener}[ops]\naddress = \"127.0.0.1:{port}\"\n"
        ))
    };
    twice(0).unwrap();
    assert_eq!(twice(9000).unwrap_err().len(), 2);
}

/// The names of all keys at and under a table.
fn names(under: &str, table: &toml::Table, into: &mut BTreeSet<String>) {
    for (key, value) in table {
        let name = format!("{under}{key}");
        let sections: Vec<&toml::Table> = match value {
            toml::Value::Table(section) => vec![section],
            toml::Value::Array(all) => all.iter().filter_map(toml::Value::as_table).collect(),
            _ => vec![],
        };
        for section in sections {
            names(&format!("{name}."), section, into);
        }
        into.insert(name);
    }
}

#[test]
fn the_full_sample_shows_every_key_and_no_other() {
    let mut shown = BTreeSet::new();
    names("", &FULL.parse().unwrap(), &mut shown);
    let known: BTreeSet<String> = KEYS.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(shown, known);
}

#[test]
fn defaults_are_what_the_sample_says() {
    let (least, full) = (parse(MINIMAL).unwrap(), parse(FULL).unwrap());
    assert_eq!(least.ops, full.ops);
    assert_eq!(least.tokens, full.tokens);
    assert_eq!(least.keys.max_key_life, full.keys.max_key_life);
    assert_eq!(least.log.segment_bytes, full.log.segment_bytes);
    assert_eq!(least.log.segment_age, full.log.segment_age);
    assert!(least.log.readers.is_empty() && least.log.sinks.is_empty());
    assert_eq!((least.log.retention, least.log.max_bytes), (None, None));
    assert_eq!(least.store, full.store);
    assert_eq!(least.limits, full.limits);
    assert_eq!(least.tokens.algorithm, Algorithm::Es256);
    assert_eq!(least.tokens.default_lifetime, Duration::from_secs(900));
    assert_eq!(least.tokens.max_lifetime, Duration::from_secs(3600));
    assert_eq!(least.keys.max_key_life, Duration::from_secs(90 * 86_400));
    assert!(least.ops.address.ip().is_loopback());
    // Marked as default in the sample, in sections that the least configuration does not have.
    let spare = parse(&format!(
        "{MINIMAL}\n[[listener]]\naddress = \"0.0.0.0:8443\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n\
         [[audience]]\nname = \"a\"\nowner = \"o\"\n[[trust_domain]]\nname = \"d\"\nbundle = \"b\"\n"
    ))
    .unwrap();
    assert_eq!(spare.listeners[1], full.listeners[0]);
    assert_eq!(spare.trust_domains[0].crls, full.trust_domains[0].crls);
    assert_eq!(spare.admin.explain, full.admin.explain);
    assert_eq!(spare.audiences[0].bound, full.audiences[0].bound);
    assert_eq!(spare.audiences[0].max_lifetime(), None);
    assert_eq!(spare.admin.uids, [rustix::process::geteuid().as_raw()]);
}

#[test]
fn the_full_sample_means_what_it_says() {
    let config = parse(FULL).unwrap();
    assert_eq!(config.issuer.as_str(), "https://cambist.example.org:8443");
    assert_eq!(config.store_file(), Path::new("/var/lib/cambist/store.db"));
    assert_eq!(config.log_directory(), Path::new("/var/lib/cambist/log"));
    let [tcp, unix] = config.listeners.as_slice() else {
        panic!("two listeners");
    };
    assert_eq!(tcp.address, Address::Tcp("0.0.0.0:8443".parse().unwrap()));
    assert_eq!(tcp.client_certificates, ClientCertificates::Optional);
    assert_eq!(unix.client_certificates, ClientCertificates::None);
    assert_eq!(unix.faces, [Face::Grpc]);
    assert_eq!(
        config.audiences[0].max_lifetime(),
        Some(Duration::from_secs(600))
    );
    assert_eq!(config.admin.uids, [0]);
    let [all, some] = config.log.readers.as_slice() else {
        panic!("two readers");
    };
    assert_eq!(all.sight, Sight::Everything);
    let owned = Sight::Owned(["team-shop".parse().unwrap()].into());
    assert_eq!(
        (some.spiffe_id.as_str(), &some.sight),
        ("spiffe://example.org/shop/on-call", &owned)
    );
}

#[test]
fn a_reader_of_the_log_is_somebody_who_can_come() {
    let reader = |id: &str, more: &str| format!("[[log.reader]]\nspiffe_id = \"{id}\"\n{more}\n");
    let known = "spiffe://example.org/siem";
    let domain = "[[trust_domain]]\nname = \"example.org\"\nbundle = \"b\"\n";
    let with = |text: &str| minimal_with(&format!("{domain}{text}"));
    with(&reader(known, "")).unwrap();
    for (wrong, key) in [
        (
            reader("spiffe://elsewhere.example/siem", ""),
            "log.reader[0].spiffe_id",
        ),
        (reader(known, "owners = []"), "log.reader[0].owners"),
        (
            reader(known, "") + &reader(known, ""),
            "log.reader[1].spiffe_id",
        ),
        (reader("siem", ""), "log.reader[0].spiffe_id"),
    ] {
        assert_eq!(only(with(&wrong)).key, key, "{wrong}");
    }
}

#[test]
fn paths_count_from_the_files_own_directory() {
    let text = MINIMAL
        .replace("/var/lib/cambist", "data")
        .replace("unix:/run/cambist/", "unix:")
        .replace("/etc/cambist/seal.key", "../seal.key");
    let config = Config::parse(Path::new("/srv/broker/cambist.toml"), &text).unwrap();
    assert_eq!(config.data, Path::new("/srv/broker/data"));
    assert_eq!(
        config.keys.seal_key_file,
        Path::new("/srv/broker/../seal.key")
    );
    assert_eq!(
        config.listeners[0].address,
        Address::Unix("/srv/broker/cambist.sock".into())
    );
}

#[test]
fn a_mistyped_key_is_named_with_its_place_and_its_neighbour() {
    let problem = only(minimal_with("[tokens]\nmax_livetime = \"1h\"\n"));
    let line = MINIMAL.lines().count() + 3;
    assert_eq!((problem.line, problem.column), (line, 1));
    assert_eq!(problem.key, "tokens.max_livetime");
    assert!(problem.help.contains("`max_lifetime`"), "{problem}");
    let text = problem.to_string();
    assert!(text.starts_with(&format!(
        "/etc/cambist/cambist.toml:{line}:1: tokens.max_livetime: "
    )));
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let text = r#"
issuer = "http://cambist.example.org"
nod = "node-1"
data = "/var/lib/cambist"

[[listener]]
address = "nowhere"

[[listener]]
address = "127.0.0.1:8443"
faces = ["grpc", "smtp"]

[[listener]]
address = "127.0.0.1:8443"
colour = "blue"

[tls]
certificate = "server.pem"

[tokens]
default_lifetime = "2h"

[keys]
seal_key_file = "seal.key"
max_key_life = "for ever"
"#;
    let problems = parse(text).unwrap_err();
    let found: Vec<(&str, usize)> = problems.iter().map(|p| (p.key.as_str(), p.line)).collect();
    assert_eq!(
        found,
        [
            ("node", 1),
            ("issuer", 2),
            ("nod", 3),
            ("listener[0].address", 7),
            ("listener[1].faces[1]", 11),
            ("listener[2].address", 14),
            ("listener[2].colour", 15),
            ("tls", 17),
            ("tokens.default_lifetime", 21),
            ("keys.max_key_life", 25),
        ],
        "{problems:#?}"
    );
    assert!(
        problems.iter().all(|problem| !problem.help.is_empty()),
        "{problems:#?}"
    );
}

#[test]
fn each_rule_between_values_has_its_problem() {
    let tls = "[tls]\ncertificate = \"c\"\nkey = \"k\"\n";
    for (more, key) in [
        ("[[listener]]\naddress = \"0.0.0.0:8443\"\n".to_owned(), "tls"),
        (format!("[[listener]]\naddress = \"127.0.0.1:8444\"\n{tls}"), "ops.address"),
        ("[[listener]]\naddress = \"unix:/run/cambist/cambist.sock\"\n".into(), "listener[1].address"),
        ("[[listener]]\naddress = \"unix:/a\"\nfaces = []\n".into(), "listener[1].faces"),
        ("[[listener]]\naddress = \"unix:/a\"\nfaces = [\"grpc\", \"grpc\"]\n".into(), "listener[1].faces"),
        ("[[listener]]\naddress = \"unix:/a\"\nclient_certificates = \"optional\"\n".into(), "listener[1].client_certificates"),
        ("[[listener]]\naddress = \"unix:/a\"\nproxy_from = [\"10.0.0.0/8\"]\n".into(), "listener[1].proxy_from"),
        (format!("[[listener]]\naddress = \"unix:/{}\"\n", "a".repeat(limits::UNIX_PATH)), "listener[1].address"),
        (format!("[[listener]]\naddress = \"0.0.0.0:1\"\nclient_certificates = \"required\"\n{tls}"), "trust_domain"),
        ("[admin]\nspiffe_ids = [\"spiffe://example.org/admin\"]\n".into(), "admin.spiffe_ids"),
        ("[admin]\nexplain = [\"spiffe://example.org/admin\"]\n".into(), "admin.explain"),
        ("[tokens]\nmax_lifetime = \"25h\"\nrotation_age = \"60d\"\n".into(), "tokens.max_lifetime"),
        ("[tokens]\ndefault_lifetime = \"1500ms\"\n".into(), "tokens.default_lifetime"),
        ("[tokens]\nrotation_age = \"1h\"\n".into(), "tokens.rotation_age"),
        ("[tokens]\nmax_lifetime = \"1m\"\ndefault_lifetime = \"1m\"\nrotation_age = \"10m\"\n".into(), "tokens.rotation_age"),
        ("[log]\nsync = \"data\"\n".into(), "log.sync"),
        ("[[audience]]\nname = \"a\"\nowner = \"o\"\n[[audience]]\nname = \"b\"\nowner = \"o\"\naliases = [\"a\"]\n".into(), "audience[1].aliases"),
        ("[[audience]]\nname = \"a\"\nowner = \"o\"\nmax_lifetime = \"61m\"\n".into(), "audience[0].max_lifetime"),
        ("[[audience]]\nname = \"a\"\nowner = \"o\"\nservers = [\"x://a b\"]\n".into(), "audience[0].servers"),
        ("[[audience]]\nname = \"a\"\nowner = \"o\"\nservers = [\"shop\"]\n".into(), "audience[0].servers"),
        (format!("[[audience]]\nname = \"a\"\nowner = \"o\"\naliases = {:?}\n", (0..=limits::AUDIENCE_LINKS).map(|n| format!("a{n}")).collect::<Vec<_>>()), "audience[0].aliases"),
        ("[[audience]]\nname = \"a\"\nowner = \"o\"\nmax_lifetime = \"0s\"\n".into(), "audience[0].max_lifetime"),
        (format!("[[audience]]\nname = \"a\"\nowner = \"o\"\nservers = {:?}\n", vec!["x://s"; limits::AUDIENCE_LINKS + 1]), "audience[0].servers"),
        ("[[trust_domain]]\nname = \"a\"\nbundle = \"b\"\n[[trust_domain]]\nname = \"a\"\nbundle = \"c\"\n".into(), "trust_domain[1].name"),
        (format!("[log]\nsegment_bytes = {}\n", limits::SMALLEST_SEGMENT - 1), "log.segment_bytes"),
        ("[log]\nretention = \"23h\"\n".into(), "log.retention"),
        (format!("[log]\nmax_bytes = {}\n", 4 * limits::LOG_SEGMENT_BYTES - 1), "log.max_bytes"),
        (format!("[log]\nsegment_bytes = 1048576\nmax_bytes = {}\n", limits::SMALLEST_LOG - 1), "log.max_bytes"),
        ("[store]\nstaleness = \"0s\"\n".into(), "store.staleness"),
        ("[limits]\nconnections = 10\n".into(), "limits.source_connections"),
        ("[limits]\nstreams = 65536\n".into(), "limits.streams"),
        (format!("[limits]\nmessage_bytes = {}\n", limits::MESSAGE + 1), "limits.message_bytes"),
        ("[limits]\ndrain = \"11m\"\n".into(), "limits.drain"),
        ("[limits]\nhandshake = \"-5s\"\n".into(), "limits.handshake"),
        ("[ops]\naddress = \"localhost\"\n".into(), "ops.address"),
    ] {
        let problem = only(minimal_with(&more));
        assert_eq!(problem.key, key, "{more}");
        assert!(!problem.help.is_empty(), "{problem}");
    }
}

#[test]
fn ports_that_the_system_chooses_are_never_the_same() {
    let any = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let more = format!(
        "{any}{any}[tls]\ncertificate = \"c\"\nkey = \"k\"\n[ops]\naddress = \"127.0.0.1:0\"\n"
    );
    assert_eq!(minimal_with(&more).unwrap().listeners.len(), 3);
}

#[test]
fn bounds_hold_at_n() {
    let links = format!(
        "[[audience]]\nname = \"a\"\nowner = \"o\"\nservers = {:?}\n",
        vec!["x://s"; limits::AUDIENCE_LINKS]
    );
    let path = format!(
        "[[listener]]\naddress = \"unix:/{}\"\n",
        "a".repeat(limits::UNIX_PATH - 1)
    );
    for more in [
        links.as_str(),
        path.as_str(),
        "[tokens]\nmax_lifetime = \"24h\"\n",
        "[limits]\nstreams = 65535\nmessage_bytes = 131072\ndrain = \"10m\"\n",
        "[log]\nretention = \"1d\"\nmax_bytes = 268435456\n",
        &format!(
            "[log]\nsegment_bytes = 1048576\nmax_bytes = {}\n",
            limits::SMALLEST_LOG
        ),
        "[tokens]\nmax_lifetime = \"1m\"\ndefault_lifetime = \"1m\"\nrotation_age = \"601s\"\n",
    ] {
        assert!(minimal_with(more).is_ok(), "{more}");
    }
}

#[test]
fn numbers_and_times_are_bounded_at_n_and_n_plus_one() {
    let life = limits::LONGEST_KEY_LIFE.as_secs();
    let long = |seconds: u64| parse(&format!("{MINIMAL}max_key_life = \"{seconds}s\"\n"));
    assert!(long(life).is_ok());
    assert_eq!(only(long(life + 1)).key, "keys.max_key_life");
    let lifetime = limits::LONGEST_LIFETIME.as_secs();
    let (segment, most) = (limits::LARGEST_SEGMENT, limits::MOST_CONNECTIONS);
    for (key, good, bad) in [
        (
            "tokens.max_lifetime",
            format!("\"{lifetime}s\""),
            format!("\"{}s\"", lifetime + 1),
        ),
        (
            "log.segment_bytes",
            segment.to_string(),
            (segment + 1).to_string(),
        ),
        (
            "limits.connections",
            most.to_string(),
            (most + 1).to_string(),
        ),
    ] {
        let (section, name) = key.split_once('.').unwrap();
        let with = |value: &str| minimal_with(&format!("[{section}]\n{name} = {value}\n"));
        assert!(with(&good).is_ok(), "{key} = {good}");
        assert_eq!(only(with(&bad)).key, key);
    }
    let server = |length| {
        let servers = [format!("{:s<length$}", "urn://")];
        minimal_with(&format!(
            "[[audience]]\nname = \"a\"\nowner = \"o\"\nservers = {servers:?}\n"
        ))
    };
    assert!(server(limits::SPIFFE_ID).is_ok());
    assert_eq!(
        only(server(limits::SPIFFE_ID + 1)).key,
        "audience[0].servers"
    );
}

#[test]
fn problems_are_reported_up_to_the_bound() {
    let most = limits::CONFIGURATION_PROBLEMS;
    for (wrong, reported) in [(most - 1, most - 1), (most, most), (most + 1, most)] {
        let many: String = (0..wrong).map(|n| format!("unknown_{n} = 1\n")).collect();
        let problems = parse(&format!("{many}{MINIMAL}")).unwrap_err();
        assert_eq!(problems.len(), reported, "{wrong} are wrong");
    }
}

#[test]
fn syntax_errors_say_where() {
    let problem = only(parse("issuer = \"https://a\nnode = \"n\"\n"));
    assert_eq!(problem.line, 1, "{problem}");
    let problem = only(minimal_with("[tokens\n"));
    assert_eq!(problem.line, MINIMAL.lines().count() + 2, "{problem}");
}

#[test]
fn files_that_are_no_configuration_are_refused_clearly() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cambist.toml");
    let problem = only(Config::load(&file));
    assert!(problem.message.contains("no such file"), "{problem}");
    for (content, message) in [
        (Vec::new(), "empty"),
        (b" \n\t\n".to_vec(), "empty"),
        (b"issuer = \"\xff\xfe\"".to_vec(), "offset 10 is not UTF-8"),
        (vec![b'#'; limits::CONFIGURATION + 1], "larger than"),
    ] {
        std::fs::write(&file, content).unwrap();
        let problem = only(Config::load(&file));
        assert!(problem.message.contains(message), "{problem}");
        assert_eq!((problem.line, &problem.file), (0, &file));
    }
    let mut largest = MINIMAL.as_bytes().to_vec();
    largest.resize(limits::CONFIGURATION, b'#');
    std::fs::write(&file, largest).unwrap();
    assert!(Config::load(&file).is_ok());
    let problem = only(Config::load(directory.path()));
    assert!(problem.message.contains("directory"), "{problem}");
    let problem = only(Config::load(Path::new("/dev/zero")));
    assert!(problem.message.contains("larger than"), "{problem}");
}

#[test]
fn named_files_are_looked_at() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let text = "issuer = \"https://a\"\nnode = \"n\"\ndata = \"data\"\n[[listener]]\naddress = \"unix:c.sock\"\n\
         [keys]\nseal_key_file = \"seal.key\"\n[policy]\nfiles = [\"policies\"]\n";
    std::fs::write(at("cambist.toml"), text).unwrap();
    let config = Config::load(&at("cambist.toml")).unwrap();
    let keys = |config: &Config| -> Vec<String> {
        config
            .check_files()
            .into_iter()
            .map(|problem| problem.key)
            .collect()
    };
    assert_eq!(keys(&config), ["keys.seal_key_file", "policy.files"]);
    let lines: Vec<usize> = config
        .check_files()
        .iter()
        .map(|problem| problem.line)
        .collect();
    assert_eq!(lines, [7, 9]);
    std::fs::create_dir(at("policies")).unwrap();
    std::fs::write(at("seal.key"), "secret").unwrap();
    let open_to = |mode| {
        std::fs::set_permissions(at("seal.key"), std::fs::Permissions::from_mode(mode)).unwrap()
    };
    open_to(0o644);
    assert_eq!(keys(&config), ["keys.seal_key_file"]);
    open_to(0o640);
    assert_eq!(keys(&config), ["keys.seal_key_file"]);
    open_to(0o600);
    assert!(keys(&config).is_empty());
    for name in ["b.cedar", "a.cedar", "notes.txt"] {
        std::fs::write(at("policies").join(name), "").unwrap();
    }
    let listed = config.policy.list().unwrap();
    assert_eq!(listed, [at("policies/a.cedar"), at("policies/b.cedar")]);
    std::fs::write(at("cambist.toml"), text.replace("unix:", "unix:run/")).unwrap();
    let missing = Config::load(&at("cambist.toml")).unwrap().check_files();
    let problem = only(Err(missing));
    assert_eq!((&*problem.key, problem.line), ("listener[0].address", 5));
    assert!(problem.help.contains("the socket's folder"), "{problem}");
}

#[test]
fn the_digest_is_of_the_meaning() {
    let digest = |text: &str| parse(text).unwrap().digest_text();
    let same = MINIMAL.replace(
        "node = \"node-1\"\ndata = \"/var/lib/cambist\"",
        "data  = '/var/lib/cambist' # here\nnode = \"node-1\"",
    );
    assert_ne!(same, MINIMAL);
    assert_eq!(digest(&same), digest(MINIMAL));
    assert_ne!(
        digest(&MINIMAL.replace("node-1", "node-2")),
        digest(MINIMAL)
    );
    assert_eq!(digest(MINIMAL).len(), 64);
}

proptest! {
    /// Whatever one byte becomes, the answer is a configuration or problems with places inside the file.
    #[test]
    fn a_changed_byte_never_surprises(at in 0..FULL.len(), byte: u8) {
        let mut bytes = FULL.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes)
            && let Err(problems) = parse(&text)
        {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!(problem.line <= text.matches('\n').count() + 1);
                prop_assert!(!problem.message.is_empty());
            }
        }
    }
}
