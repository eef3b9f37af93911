//! Generated code for `proto/cambist/v1`. Imported only by `grpc`, `client` and `cli`.

#![expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]

tonic::include_proto!("cambist.v1");

/// The file descriptors of this package, for server reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");
