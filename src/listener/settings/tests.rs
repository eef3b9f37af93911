use super::*;

fn parse(text: &str) -> Result<ListenerConfig, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn a_whole_configuration_is_read() {
    let config = parse(
        r#"
        address = "[::1]:8443"
        client_certificates = "required"
        proxy_from = ["10.0.0.0/8"]
        faces = ["grpc"]
        limits = { connections = 7, idle = "90s", age = "1h 30m" }
        "#,
    )
    .unwrap();
    config.validate().unwrap();
    assert_eq!(config.client_certificates(), ClientCertificates::Required);
    assert_eq!(
        config.faces,
        Faces {
            grpc: true,
            http: false
        }
    );
    assert_eq!(config.limits.connections, 7);
    assert_eq!(config.limits.idle, Duration::from_secs(90));
    assert_eq!(config.limits.age, Duration::from_secs(5400));
    assert_eq!(config.limits.streams, limits::STREAMS);
    assert!(config.is_proxy("::ffff:10.1.2.3".parse().unwrap()));
    assert!(!config.is_proxy("11.1.2.3".parse().unwrap()));
}

#[test]
fn unknown_keys_and_values_are_errors() {
    for text in [
        "address = 'localhost:1'",
        "address = 'unix:relative'",
        "address = '127.0.0.1'",
        "address = '127.0.0.1:1'\nport = 1",
        "address = '127.0.0.1:1'\nfaces = []",
        "address = '127.0.0.1:1'\nfaces = ['soap']",
        "address = '127.0.0.1:1'\nclient_certificates = 'maybe'",
        "address = '127.0.0.1:1'\nlimits = { idle = 90 }",
        "address = '127.0.0.1:1'\nlimits = { patience = '1s' }",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn what_makes_no_sense_together_is_named() {
    let unix = ListenAddress::Unix("/run/x.sock".into());
    let mut config = ListenerConfig::at(unix.clone());
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.client_certificates(), ClientCertificates::None);
    config.client_certificates = Some(ClientCertificates::Optional);
    assert_eq!(config.validate(), Err(InvalidListener::CertificatesOnUnix));
    let mut config = ListenerConfig::at(unix);
    config.proxy_from = vec!["10.0.0.0/8".parse().unwrap()];
    assert_eq!(config.validate(), Err(InvalidListener::ProxyOnUnix));
    let mut config = ListenerConfig::at("127.0.0.1:0".parse().unwrap());
    assert_eq!(config.client_certificates(), ClientCertificates::Optional);
    config.limits.connections = 0;
    assert_eq!(config.validate(), Err(InvalidListener::Zero("connections")));
}

#[test]
fn addresses_print_as_they_are_read() {
    for text in ["127.0.0.1:8443", "[::]:0", "unix:/run/cambist.sock"] {
        assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
    }
}
