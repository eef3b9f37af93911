//! Who may use whom (DESIGN.md section 5), and who may touch the outside world.
//!
//! A module that has no row fails the test: where it belongs is a decision, made here.

use super::source::{self, Named, Source};
use std::collections::{BTreeMap, BTreeSet};

/// A module: what it may use of this crate beside itself (names between spaces), and of the outside world.
struct Row {
    module: &'static str,
    uses: &'static [&'static str],
    outside: &'static [Outside],
}

impl Row {
    fn uses(&self) -> impl Iterator<Item = &'static str> {
        self.uses.iter().flat_map(|names| names.split_whitespace())
    }
}

const fn row(
    module: &'static str,
    uses: &'static [&'static str],
    outside: &'static [Outside],
) -> Row {
    Row {
        module,
        uses,
        outside,
    }
}

/// Values that every layer shares.
const VALUES: &str = "limits secret id clock refusal jose marker";

/// What decides. No gRPC, no HTTP, no files, no sockets: the backends have rows of their own.
const STAGES: &str = "store inventory trust revocation keys authn policy mint audit";

/// What carries the faces and the assembly.
const FRAME: &str = "listener telemetry lifecycle";

/// From low to high: a row uses rows above it only, so that nothing goes round in a circle.
const MODULES: &[Row] = &[
    // Values.
    row("limits", &[], &[]),
    row("id", &["limits"], &[]),
    row("clock", &["limits"], &[]),
    row("secret", &["limits id clock"], &[Files]), // secrets come from files only
    row("refusal", &[], &[]),
    row("jose", &["limits id secret clock refusal"], &[]),
    row("marker", &["limits id"], &[]),
    row("https", &[], &[Http]),
    row("regular", &[], &[Files]),
    // Domain.
    row("store", &[VALUES], &[]),
    row("revocation", &[VALUES, "store"], &[]),
    row("inventory", &[VALUES, "store revocation"], &[]),
    row("trust", &[VALUES, "store"], &[]),
    row("keys", &[VALUES, "store revocation"], &[]),
    row("authn", &[VALUES, "inventory trust revocation keys"], &[]),
    row("policy", &[VALUES, "store inventory authn"], &[]),
    row("mint", &[VALUES, "revocation keys authn policy"], &[]),
    row(
        "audit",
        &[VALUES, "store revocation keys authn policy mint"],
        &[],
    ),
    row("administration", &[VALUES, STAGES], &[]),
    row("leak", &[VALUES, STAGES, "administration"], &[]),
    row("exchange", &[VALUES, STAGES, "administration"], &[]),
    // Backends: each a piece of the outside world behind its domain module's trait.
    row("store::embedded", &[VALUES, "store"], &[Files]),
    row("trust::fetch", &[VALUES, "trust"], &[Files]),
    // Whose a file is, is told by who we are.
    row("keys::kek_file", &[VALUES, "keys"], &[Files, Machine]),
    row("keys::log_key", &[VALUES, "regular keys"], &[Files]),
    row("audit::disk", &[VALUES, "regular audit"], &[Files]),
    row("audit::web", &[VALUES, "https audit"], &[Http]),
    row("audit::sink::otlp", &[VALUES, "audit"], &[Grpc]),
    row("audit::sink::syslog", &[VALUES, "audit"], &[Sockets]),
    row("audit::sink::tls", &[VALUES, "https audit"], &[Files]),
    row("audit::sink::webhook", &[VALUES, "https audit"], &[Http]),
    row("leak::fetch", &[VALUES, "https leak"], &[Files, Http]),
    // Faces. gRPC and HTTP do not know each other; only gRPC knows the generated types.
    row("proto", &[], &[Grpc]),
    row(
        "listener",
        &[VALUES, "trust authn"],
        &[Grpc, Http, Files, Sockets],
    ),
    row(
        "telemetry",
        &[
            VALUES,
            "trust revocation authn audit leak exchange listener",
        ],
        &[Http, Sockets],
    ),
    row(
        "lifecycle",
        &[VALUES, "listener telemetry"],
        &[Files, Machine],
    ),
    row(
        "grpc",
        &[VALUES, STAGES, "administration leak exchange proto", FRAME],
        &[Grpc],
    ),
    row(
        "http",
        &[VALUES, STAGES, "administration leak exchange", FRAME],
        &[Http],
    ),
    // Assembly.
    row("config", &[VALUES, STAGES, "listener"], &[Files, Machine]),
    row(
        "app",
        &[
            VALUES,
            STAGES,
            "administration leak exchange",
            FRAME,
            "proto grpc http config",
        ],
        &[Grpc, Http, Files],
    ),
    // The users' side: nothing of the server, but for the commands that are the server.
    row(
        "client",
        &[VALUES, "https proto"],
        &[Grpc, Files, Sockets, Machine],
    ),
    // It follows the broker's feed by the same connections as tokens are asked for with.
    row("verify", &[VALUES, "https proto client"], &[Grpc, Http]),
    row(
        "cli",
        // Policies and logs are checked without a broker by the same code as with one.
        &[
            VALUES,
            "regular policy audit proto client verify config app",
            FRAME,
        ],
        &[Grpc, Files, Sockets, Machine],
    ),
    row("main", &["cli"], &[Machine]),
];

/// A piece of the outside world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outside {
    Grpc,
    Http,
    Files,
    Sockets,
    Machine,
}
use Outside::{Files, Grpc, Http, Machine, Sockets};

impl Outside {
    const ALL: [Self; 5] = [Grpc, Http, Files, Sockets, Machine];

    /// The paths by which code gets at it.
    const fn paths(self) -> &'static str {
        match self {
            Grpc => {
                "tonic tonic_health tonic_prost tonic_reflection tonic_types prost prost_types \
                 opentelemetry_proto"
            }
            Http => "axum hyper reqwest",
            Files => "std::fs tokio::fs rustix::fs rusqlite notify tempfile",
            Sockets => {
                "std::net::* std::net::TcpListener std::net::TcpStream std::net::ToSocketAddrs \
                 std::net::UdpSocket std::os::unix::net tokio::net tokio_rustls rustix::net"
            }
            // Processes, signals, the environment.
            Machine => {
                "std::env std::process tokio::process tokio::signal rustix::process sd_notify"
            }
        }
    }

    fn is_touched_by(self, path: &str) -> bool {
        self.paths()
            .split_whitespace()
            .any(|outside| is_under(path, outside))
    }
}

#[test]
fn every_module_has_a_row_and_every_row_a_module() {
    let sources = source::src();
    let tops: BTreeSet<_> = sources.iter().filter_map(top).collect();
    let without: Vec<_> = tops.iter().filter(|top| row_named(top).is_none()).collect();
    assert!(
        without.is_empty(),
        "{without:?} have no row in MODULES of {}: add them, each at the layer it belongs to",
        file!()
    );
    let modules: BTreeSet<_> = sources
        .iter()
        .map(|source| source.module().join("::"))
        .collect();
    let rows = MODULES.iter().map(|row| row.module);
    let gone: Vec<_> = rows.filter(|row| !modules.contains(*row)).collect();
    assert!(
        gone.is_empty(),
        "{gone:?} have a row in MODULES and no file"
    );
}

#[test]
fn a_row_uses_rows_above_it_only() {
    for (at, row) in MODULES.iter().enumerate() {
        let above = &MODULES[..at];
        for used in row.uses() {
            let known = above.iter().any(|other| other.module == used);
            assert!(
                known,
                "`{}` may not use `{used}`: it has no row above it",
                row.module
            );
        }
    }
}

#[test]
fn code_uses_what_its_row_permits() {
    let sources = source::src();
    let code = sources.iter().filter(|source| !source.is_test());
    let wrong: Vec<_> = code.flat_map(breaches).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The check above can fail: each of these is told, and by what is wrong with it.
#[test]
fn a_breach_is_told() {
    let planted = [
        (
            "src/mint/x.rs",
            "use crate::{id, grpc::Face};",
            "crate::grpc::Face",
        ),
        (
            "src/inventory.rs",
            "fn f() { super::proto::Key::new() }",
            "crate::proto::Key::new",
        ),
        (
            "src/http/x.rs",
            "type F = crate::grpc::Face;",
            "crate::grpc::Face",
        ),
        ("src/grpc.rs", "use super::http;", "crate::http"),
        (
            "src/verify/x.rs",
            "use crate::trust::Bundle;",
            "crate::trust::Bundle",
        ),
        ("src/client.rs", "use crate::app;", "crate::app"),
        ("src/http.rs", "use crate::proto;", "crate::proto"),
        ("src/policy/x.rs", "use std::{fs, io};", "std::fs"),
        (
            "src/audit/record.rs",
            "fn f() { tokio::fs::read(1) }",
            "tokio::fs::read",
        ),
        (
            "src/authn.rs",
            "use std::net::{IpAddr, TcpStream};",
            "std::net::TcpStream",
        ),
        (
            "src/exchange.rs",
            "fn f() -> tonic::Status { g() }",
            "tonic::Status",
        ),
        (
            "src/keys/x.rs",
            "use prost::Message as _;",
            "prost::Message",
        ),
        (
            "src/store.rs",
            "use rusqlite::Connection;",
            "rusqlite::Connection",
        ),
    ];
    for (path, text, breach) in planted {
        let source = Source {
            path: path.into(),
            text: text.into(),
        };
        let told = breaches(&source);
        assert_eq!(told.len(), 1, "{path}: {text}: {told:?}");
        assert!(told[0].contains(&format!("`{breach}`")), "{told:?}");
    }
}

fn breaches(source: &Source) -> Vec<String> {
    let (Some(module), Some(row)) = (top(source), row_of(source)) else {
        return Vec::new();
    };
    let why_not = |path: &str| match ours(path) {
        Some(used) if used != module && row.uses().all(|other| other != used) => {
            Some("its row does not name it".to_owned())
        }
        Some(_) => None,
        None => {
            let mut touched = Outside::ALL.into_iter();
            touched
                .find(|outside| outside.is_touched_by(path) && !row.outside.contains(outside))
                .map(|outside| format!("that is {outside:?}, which its row does not name"))
        }
    };
    let told = |named: Named| {
        let Named { path, line } = named;
        let why = why_not(&path)?;
        let (file, module) = (&source.path, row.module);
        Some(format!(
            "{file}:{line}: `{module}` may not use `{path}`: {why}"
        ))
    };
    source.names().into_iter().filter_map(told).collect()
}

/// Every permission is used: the table says what is so, not what might be.
#[test]
fn no_permission_of_the_outside_world_is_idle() {
    let mut touched: BTreeMap<&str, BTreeSet<Outside>> = BTreeMap::new();
    for source in source::src().iter().filter(|source| !source.is_test()) {
        let Some(row) = row_of(source) else {
            continue;
        };
        let names = source.names();
        let found = Outside::ALL.into_iter().filter(|outside| {
            let mut paths = names.iter().map(|named| named.path.as_str());
            paths.any(|path| outside.is_touched_by(path))
        });
        touched.entry(row.module).or_default().extend(found);
    }
    let permitted = MODULES
        .iter()
        .flat_map(|row| row.outside.iter().map(move |outside| (row.module, outside)));
    let idle: Vec<_> = permitted
        .filter(|(module, outside)| !touched.get(module).is_some_and(|set| set.contains(outside)))
        .collect();
    assert!(idle.is_empty(), "take out what is not touched: {idle:?}");
}

#[test]
fn the_crate_docs_map_every_module() {
    let sources = source::src();
    let root = sources.iter().find(|source| source.path == "src/lib.rs");
    let text = &root.unwrap().text;
    let docs: String = text
        .lines()
        .filter(|line| line.starts_with("//!"))
        .collect();
    for module in sources.iter().filter_map(top).collect::<BTreeSet<_>>() {
        let mapped = module == "main" || docs.contains(&format!("[`{module}`]"));
        assert!(
            mapped,
            "the map in the docs of src/lib.rs has no [`{module}`]"
        );
    }
}

/// The module right under the root that a source belongs to; `lib.rs` belongs to none.
fn top(source: &Source) -> Option<String> {
    source.module().into_iter().next()
}

/// The most precise row for a source.
fn row_of(source: &Source) -> Option<&'static Row> {
    let module = source.module().join("::");
    let rows = MODULES.iter().filter(|row| is_under(&module, row.module));
    rows.max_by_key(|row| row.module.len())
}

fn row_named(module: &str) -> Option<&'static Row> {
    MODULES.iter().find(|row| row.module == module)
}

/// The module right under the root that a path leads to, if the path is ours.
fn ours(path: &str) -> Option<&str> {
    path.strip_prefix("crate::")?.split("::").next()
}

fn is_under(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
