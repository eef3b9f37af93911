use super::*;
use std::collections::HashMap;

fn args(server: &str) -> ConnectArgs {
    ConnectArgs {
        server: Some(server.to_owned()),
        ..ConnectArgs::default()
    }
}

fn nothing(_: &str) -> Option<String> {
    None
}

#[test]
fn addresses_have_two_forms() {
    let ca = Some("ca.pem".into());
    for (text, exit) in [
        ("unix:///run/cambist.sock", None),
        ("https://broker.example.org:8443", None),
        ("https://[::1]:8443", None),
        ("https://broker.example.org", None),
        ("http://broker.example.org", Some(Exit::Usage)),
        ("broker.example.org:8443", Some(Exit::Usage)),
        ("unix://relative", Some(Exit::Usage)),
        ("https://user@broker.example.org", Some(Exit::Usage)),
        ("https://broker.example.org/path", Some(Exit::Usage)),
    ] {
        let args = ConnectArgs {
            ca: ca.clone(),
            ..args(text)
        };
        let endpoint = args.resolve(nothing).unwrap().endpoint();
        assert_eq!(endpoint.err().map(|f| f.exit()), exit, "{text}");
    }
}

#[test]
fn tls_needs_its_authority_and_a_certificate_its_key() {
    let https = args("https://broker.example.org:8443");
    let without_ca = https.resolve(nothing).unwrap().endpoint().unwrap_err();
    assert_eq!(without_ca.exit(), Exit::Usage);
    let with_ca = ConnectArgs {
        ca: Some("ca.pem".into()),
        ..https
    };
    assert!(with_ca.resolve(nothing).unwrap().endpoint().is_ok());
    let half = ConnectArgs {
        cert: Some("cert.pem".into()),
        ..with_ca
    };
    assert_eq!(half.resolve(nothing).unwrap_err().exit(), Exit::Usage);
    let no_server = ConnectArgs::default().resolve(nothing).unwrap_err();
    assert_eq!(no_server.exit(), Exit::Usage);
}

#[test]
fn the_file_fills_what_flags_leave_open() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("cambist");
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("client.toml");
    let variables = HashMap::from([("XDG_CONFIG_HOME", home.path().to_str().unwrap().to_owned())]);
    let variable = |name: &str| variables.get(name).cloned();

    std::fs::write(
        &file,
        "server = \"https://file.example.org\"\nca = \"ca.pem\"\n",
    )
    .unwrap();
    let settings = ConnectArgs::default().resolve(variable).unwrap();
    assert_eq!(settings.server, "https://file.example.org");
    assert_eq!(settings.ca, Some(directory.join("ca.pem")));
    let settings = args("https://flag.example.org").resolve(variable).unwrap();
    assert_eq!(settings.server, "https://flag.example.org");

    std::fs::write(&file, "server = \"unix:///a\"\n\nserve = 1\n").unwrap();
    let failure = ConnectArgs::default().resolve(variable).unwrap_err();
    assert_eq!(failure.exit(), Exit::Configuration);
    let text = serde_json::to_string(&failure.document()).unwrap();
    assert!(text.contains("line 3"), "{text}");

    // It is there, and cannot be read.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let failure = ConnectArgs::default().resolve(variable).unwrap_err();
    assert_eq!(failure.exit(), Exit::Configuration);
    let text = serde_json::to_string(&failure.document()).unwrap();
    assert!(text.contains("XDG_CONFIG_HOME"), "{text}");
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let named = ConnectArgs {
        client_config: Some("/nowhere/client.toml".into()),
        ..args("unix:///a")
    };
    assert_eq!(
        named.resolve(nothing).unwrap_err().exit(),
        Exit::Configuration
    );
}
