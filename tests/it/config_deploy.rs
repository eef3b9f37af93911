//! What `deploy/` ships agrees with the program: files that are only read on somebody's production machine.

use cambist::cli::Exit;
use cambist::config::{Address, Config, CopyPlace};
use cambist::limits;
use regex::Regex;
use serde::Deserialize as _;
use serde_yaml_ng::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a stop may take when everything is late.
const LONGEST_STOP: Duration = limits::DRAIN
    .saturating_add(limits::CUT_OFF)
    .saturating_add(limits::FINISH);

/// Where the README has backups written to.
const BACKUPS: &str = "/var/lib/cambist-backups";

#[test]
fn the_readme_has_backups_written_where_they_can_be() {
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("cambist backup {BACKUPS}/")));
    let container = text("Containerfile");
    let volumes = container.lines().find(|line| line.starts_with("VOLUME"));
    assert!(volumes.unwrap().contains(&format!("\"{BACKUPS}\"")));
}

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(deploy(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_yaml_ng::from_str(&text(name)).unwrap()
}

/// A key in the format of the design, whose checksum is no matter of these rules.
fn key(id: usize, secret: usize, check: usize) -> String {
    let part = |length: usize| -> String { "0aZ9".chars().cycle().take(length).collect() };
    format!("cmb_{}_{}{}", part(id), part(secret), part(check))
}

fn finds_keys_and_nothing_else(rule: &str) {
    let rule = Regex::new(rule).unwrap();
    let found = |text: &str| rule.find(text).map(|found| found.as_str().to_owned());
    let real = key(16, 43, 6);
    for text in [
        real.clone(),
        format!("CAMBIST_KEY={real}\n"),
        format!("\"{real}\""),
        format!("https://example.org/?key={real}&a=b"),
    ] {
        assert_eq!(found(&text), Some(real.clone()), "{text}");
    }
    for text in [
        key(15, 43, 6),
        key(17, 43, 6),
        key(16, 43, 5),
        key(16, 43, 7),
        real.replace("cmb_", "cmc_"),
        real.replace('Z', "-"),
        format!("x{real}"),
    ] {
        assert_eq!(found(&text), None, "{text}");
    }
}

#[test]
fn the_scanners_rules_find_keys_and_nothing_else() {
    let gitleaks: toml::Table = text("scanner/gitleaks.toml").parse().unwrap();
    let rules = gitleaks["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 1);
    finds_keys_and_nothing_else(rules[0]["regex"].as_str().unwrap());
    let trufflehog = yaml("scanner/trufflehog.yaml");
    let detectors = trufflehog["detectors"].as_sequence().unwrap();
    assert_eq!(detectors.len(), 1);
    finds_keys_and_nothing_else(detectors[0]["regex"]["key"].as_str().unwrap());
}

#[test]
fn the_unit_stops_on_a_wrong_configuration_and_is_confined() {
    let unit = text("cambist.service");
    let value = |name: &str| -> Vec<&str> {
        let prefix = format!("{name}=");
        unit.lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .collect()
    };
    // A reload is told from a start, and its end is waited for.
    assert_eq!(value("Type"), ["notify-reload"]);
    // Of a command before the start, the code that ends all attempts would not be heard.
    assert!(value("ExecStartPre").is_empty());
    assert_eq!(
        value("RestartPreventExitStatus"),
        [Exit::Configuration.code().to_string()]
    );
    let stop: u64 = value("TimeoutStopSec")[0].parse().unwrap();
    assert!(stop > LONGEST_STOP.as_secs());
    let files: usize = value("LimitNOFILE")[0].parse().unwrap();
    assert!(files > limits::CONNECTIONS);
    for (name, expected) in [
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("PrivateDevices", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictNamespaces", "yes"),
        ("LimitCORE", "0"),
        ("UMask", "0077"),
    ] {
        assert_eq!(value(name), [expected], "{name}");
    }
    // The directories that systemd makes are those that the sample writes to.
    let config = Config::load(&deploy("cambist.toml")).unwrap();
    let state: Vec<_> = value("StateDirectory")[0]
        .split(' ')
        .map(|name| Path::new("/var/lib").join(name))
        .collect();
    assert_eq!(state, [config.data, PathBuf::from(BACKUPS)]);
    assert_eq!(value("StateDirectoryMode"), ["0700"]);
    // All else is read-only to it, and a copy of the log's checkpoints is written too.
    let writable: Vec<_> = value("ReadWritePaths")
        .into_iter()
        .map(|path| Path::new(path.trim_start_matches('-')))
        .collect();
    for copy in &config.log.copies {
        if let CopyPlace::File(file) = &copy.place {
            let is_writable = writable.iter().any(|path| file.starts_with(path));
            assert!(is_writable, "{}", file.display());
        }
    }
    let runtime = Path::new("/run").join(value("RuntimeDirectory")[0]);
    assert!(config.listeners.iter().any(|listener| matches!(
        &listener.address,
        Address::Unix(path) if path.parent() == Some(&runtime)
    )));
}

#[test]
fn the_image_is_built_with_our_compiler_and_runs_without_privileges() {
    let file = text("Containerfile");
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let version = manifest["package"]["rust-version"].as_str().unwrap();
    assert!(file.contains(&format!("FROM rust:{version}-")));
    let user = file
        .lines()
        .find_map(|line| line.strip_prefix("USER "))
        .unwrap();
    assert_eq!(user, "10001:10001");
    assert!(file.find("USER ").unwrap() < file.find("ENTRYPOINT").unwrap());
}

#[test]
fn the_manifests_mount_what_the_configuration_names() {
    let kustomization = yaml("kubernetes/kustomization.yaml");
    for resource in kustomization["resources"].as_sequence().unwrap() {
        let name = format!("kubernetes/{}", resource.as_str().unwrap());
        for document in serde_yaml_ng::Deserializer::from_str(&text(&name)) {
            let document = Value::deserialize(document).unwrap();
            assert!(
                document["kind"].is_string() && document["metadata"]["name"].is_string(),
                "{name}"
            );
        }
    }
    let set = yaml("kubernetes/statefulset.yaml");
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    // What the container file's first line builds.
    let image = container["image"].as_str().unwrap();
    assert_eq!(image, concat!("cambist:", env!("CARGO_PKG_VERSION")));
    assert!(text("Containerfile").contains(&format!(" -t {image} .")));
    assert_eq!(pod["securityContext"]["runAsUser"], 10_001);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > LONGEST_STOP.as_secs());

    let mounts = container["volumeMounts"].as_sequence().unwrap();
    let mounts: Vec<(&Path, bool)> = mounts
        .iter()
        .map(|mount| {
            let path = Path::new(mount["mountPath"].as_str().unwrap());
            (path, mount["readOnly"].as_bool().unwrap_or_default())
        })
        .collect();
    let mounted = |path: &Path, read_only: bool| {
        assert!(
            mounts
                .iter()
                .any(|(mount, mode)| path.starts_with(mount) && *mode == read_only),
            "{} is not mounted",
            path.display()
        );
    };
    let config = Config::load(&deploy("kubernetes/cambist.toml")).unwrap();
    let tls = config.tls.unwrap();
    mounted(&config.data, false);
    mounted(Path::new(BACKUPS), false);
    assert!(!Path::new(BACKUPS).starts_with(&config.data));
    // The root of a volume is its group's too, which a data folder must not be; one inside it is made by the broker.
    assert!(mounts.iter().all(|(mount, _)| *mount != config.data));
    let group = pod["securityContext"]["fsGroup"].as_u64();
    assert_eq!(group, pod["securityContext"]["runAsGroup"].as_u64());
    for secret in ["tls", "seal"] {
        let mut volumes = pod["volumes"].as_sequence().unwrap().iter();
        let volume = volumes.find(|volume| volume["name"] == secret).unwrap();
        // Root's, and read through the group: more would be refused at the start.
        let mode = serde_yaml_ng::to_string(&volume["secret"]["defaultMode"]).unwrap();
        assert_eq!(mode.trim().trim_matches('\''), "0440", "{secret}");
    }
    for path in [
        &tls.certificate,
        &tls.key,
        &config.keys.seal_key_file,
        &config.trust_domains[0].bundle,
    ] {
        mounted(path, true);
    }
    for path in &config.policy.files {
        mounted(path, true);
    }
    mounted(Path::new(container["args"][2].as_str().unwrap()), true);
    let ports = container["ports"].as_sequence().unwrap();
    let port = |name: &str| {
        let port = ports.iter().find(|port| port["name"] == name).unwrap();
        port["containerPort"].as_u64().unwrap()
    };
    for listener in &config.listeners {
        match &listener.address {
            Address::Tcp(address) => assert_eq!(u64::from(address.port()), port("https")),
            Address::Unix(path) => mounted(path, false),
        }
    }
    assert_eq!(u64::from(config.ops.address.port()), port("ops"));
}
