use super::*;

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
    let tcp = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    let mut config = ListenerConfig::at(tcp);
    assert_eq!(config.client_certificates(), ClientCertificates::Optional);
    config.proxy_from = vec!["10.0.0.0/8".parse().unwrap()];
    assert!(config.is_proxy("::ffff:10.1.2.3".parse().unwrap()));
    assert!(!config.is_proxy("11.1.2.3".parse().unwrap()));
    config.limits.connections = 0;
    assert_eq!(config.validate(), Err(InvalidListener::Zero("connections")));
    config.faces = Faces {
        grpc: false,
        http: false,
    };
    assert_eq!(config.validate(), Err(InvalidListener::NoFace));
}
