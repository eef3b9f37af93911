//! Compiles `proto/` without a system `protoc`.

use prost::Message as _;
use std::error::Error;
use std::path::PathBuf;

/// Messages with a secret in a field.
const SECRET: [&str; 7] = [
    "Credential",
    "Token",
    "ExchangeResponse",
    "CreateKeyResponse",
    "RotateKeyResponse",
    "RevokeRequest",
    "CheckRequest",
];

/// Messages that the command line prints as they are.
const SHOWN: [&str; 2] = ["PolicyDiagnostic", "PolicyDocument"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = ["audit", "exchange", "inventory", "policy", "revocation"]
        .map(|name| format!("proto/cambist/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Messages that hold a credential or a token are printed by `src/proto.rs`, which leaves it out.
    let mut generator = tonic_prost_build::configure();
    for name in SHOWN {
        generator =
            generator.type_attribute(format!(".cambist.v1.{name}"), "#[derive(serde::Serialize)]");
    }
    generator
        .bytes(".cambist.v1.SnapshotPart.markers")
        .bytes(".cambist.v1.Delta.markers")
        .skip_debug(SECRET.map(|name| format!(".cambist.v1.{name}")))
        .compile_fds(descriptors)?;
    Ok(())
}
