//! The PROXY protocol, version 2, from peers that are named.

use crate::limits;
use ppp::v2::{Addresses, Command, Header, PROTOCOL_PREFIX, ParseError, Protocol};
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The fixed part: signature, version and command, family and protocol, length.
const FIXED: usize = 16;

/// Why a header is not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    /// The stream ended or broke within the header.
    #[error("the PROXY header is incomplete: {0}")]
    Incomplete(#[from] io::Error),
    /// Not a version 2 header.
    #[error("not a PROXY v2 header: {0}")]
    Malformed(ParseError),
    /// Over [`limits::PROXY_HEADER`].
    #[error("the PROXY header is larger than {} bytes", limits::PROXY_HEADER)]
    TooLarge,
    /// A proxied connection whose client cannot be told: to take the proxy for the client would give it the
    /// rights of the proxy's network.
    #[error("the PROXY header does not name the client's IP address")]
    NoAddress,
}

/// Reads exactly the header. `None` where the proxy speaks for itself (a health check).
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<IpAddr>, ProxyError> {
    let mut header = vec![0; FIXED];
    stream.read_exact(&mut header).await?;
    let length = match header.as_slice() {
        [rest @ .., high, low] if rest.starts_with(PROTOCOL_PREFIX) => {
            usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => return Err(ProxyError::Malformed(ParseError::Prefix)),
    };
    if FIXED + length > limits::PROXY_HEADER {
        return Err(ProxyError::TooLarge);
    }
    let mut variable = vec![0; length];
    stream.read_exact(&mut variable).await?;
    header.append(&mut variable);
    client(&header)
}

fn client(header: &[u8]) -> Result<Option<IpAddr>, ProxyError> {
    let header = Header::try_from(header).map_err(ProxyError::Malformed)?;
    match (header.command, header.protocol, header.addresses) {
        (Command::Local, ..) => Ok(None),
        (_, Protocol::Stream, Addresses::IPv4(ip)) => Ok(Some(IpAddr::V4(ip.source_address))),
        (_, Protocol::Stream, Addresses::IPv6(ip)) => {
            Ok(Some(IpAddr::V6(ip.source_address).to_canonical()))
        }
        _ => Err(ProxyError::NoAddress),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ppp::v2::{Builder, Version};
    use proptest::prelude::*;
    use std::net::SocketAddr;

    fn header(command: Command, protocol: Protocol, tlv: usize) -> Vec<u8> {
        let client: SocketAddr = "192.0.2.7:1234".parse().unwrap();
        let server: SocketAddr = "192.0.2.1:443".parse().unwrap();
        let builder = Builder::with_addresses(Version::Two | command, protocol, (client, server));
        let builder = match tlv {
            0 => builder,
            length => builder.write_tlv(4_u8, &vec![0; length]).unwrap(),
        };
        builder.build().unwrap()
    }

    async fn parse(bytes: &[u8]) -> (Result<Option<IpAddr>, ProxyError>, usize) {
        let mut rest = bytes;
        let result = read(&mut rest).await;
        (result, rest.len())
    }

    #[tokio::test]
    async fn the_client_is_named_and_nothing_behind_the_header_is_taken() {
        let mut bytes = header(Command::Proxy, Protocol::Stream, 20);
        bytes.extend_from_slice(b"hello");
        let (client, rest) = parse(&bytes).await;
        assert_eq!(client.unwrap(), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(rest, 5);
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself_but_not_for_nobody() {
        let (local, _) = parse(&header(Command::Local, Protocol::Stream, 0)).await;
        assert_eq!(local.unwrap(), None);
        let (datagram, _) = parse(&header(Command::Proxy, Protocol::Datagram, 0)).await;
        assert!(matches!(datagram, Err(ProxyError::NoAddress)));
    }

    #[tokio::test]
    async fn every_truncation_is_refused() {
        let whole = header(Command::Proxy, Protocol::Stream, 20);
        for length in 0..whole.len() {
            let (result, _) = parse(&whole[..length]).await;
            assert!(matches!(result, Err(ProxyError::Incomplete(_))), "{length}");
        }
    }

    #[tokio::test]
    async fn the_bound_holds_at_n_and_n_plus_one() {
        let empty = header(Command::Proxy, Protocol::Stream, 0).len() + 3;
        let room = limits::PROXY_HEADER - empty;
        let (fits, _) = parse(&header(Command::Proxy, Protocol::Stream, room)).await;
        assert!(fits.is_ok());
        let (over, _) = parse(&header(Command::Proxy, Protocol::Stream, room + 1)).await;
        assert!(matches!(over, Err(ProxyError::TooLarge)));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_garbage_names_nobody(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            prop_assert!(runtime.block_on(parse(&bytes)).0.is_err());
        }

        #[test]
        fn nothing_panics_behind_the_signature(bytes in prop::collection::vec(any::<u8>(), 4..300)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut header = PROTOCOL_PREFIX.to_vec();
            header.extend_from_slice(&bytes);
            let _ = runtime.block_on(parse(&header));
        }
    }
}
