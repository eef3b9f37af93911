//! Syslog messages (RFC 5424) over TLS (RFC 5425).
//!
//! ```text
//! 412 <109>1 2027-01-15T08:00:00.000001Z node-1 cambist - issue [cambist@32473 origin="https://…/node-1" seq="7"] {"v":1,…}
//! ```
//!
//! The facility is log audit (13), the severity the record's weight, the message id its kind. Structured data says the log's
//! origin, the record's sequence and, of a refusal, its code; its id carries the enterprise number that is set aside for
//! documentation (RFC 5612), since there is none of ours.
//!
//! Syslog has no answers: what was written may still be lost in a receiver that ends. So each batch has a connection of its own,
//! and is delivered once the receiver has closed it after reading to its end. A receiver that goes away with something unread
//! resets the connection instead. What a receiver has read and lost is beyond a sender's knowledge,
//! and so is what becomes of it behind a proxy that ends TLS in its place: name the receiver itself. Receivers in use end a
//! connection without TLS's own close, so who stands on the path can end one early and have its batch pass for delivered: a
//! gap in the sequences shows it.
//!
//! A message has a bound, and receivers cut what is longer, JSON or not. Of a longer record the largest members are left out,
//! one by one, until it fits; `cut` names them. The whole record is in the log.

use super::{Around, Delivery, Event, Sink, TlsFiles, Undelivered, Weight};
use jiff::fmt::temporal::DateTimePrinter;
use rustls_pki_types::ServerName;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

/// Log audit.
const FACILITY: u8 = 13;
/// The port of syslog over TLS.
const PORT: u16 = 6514;

/// A receiver of syslog messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// Where to: `tls://host:port`, or `tcp://` on the loopback interface.
    pub url: Url,
    /// With TLS.
    pub tls: Option<TlsFiles>,
    /// Longest message in bytes.
    pub message_bytes: usize,
}

/// The sink.
#[derive(Debug)]
pub(super) struct Messages {
    to: Syslog,
    origin: Arc<str>,
}

impl Syslog {
    pub(super) fn open(&self, around: &Around) -> Messages {
        Messages {
            to: self.clone(),
            origin: Arc::clone(around.log.origin()),
        }
    }

    /// Reads what its files hold.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn check(&self) -> Result<(), String> {
        let client = self.tls.as_ref().map(TlsFiles::client).transpose();
        client.map(drop).map_err(|error| error.to_string())
    }

    async fn send(&self, bytes: &[u8]) -> Result<(), Undelivered> {
        let failed = |error: io::Error| Undelivered::failed(&error);
        // Brackets around an IPv6 address are the URL's.
        let host = self.url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.url.port().unwrap_or(PORT);
        let tcp = TcpStream::connect((host, port)).await.map_err(failed)?;
        let Some(tls) = &self.tls else {
            return hand_over(tcp, bytes).await.map_err(failed);
        };
        let config = tls.client().map_err(|error| Undelivered::failed(&error))?;
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| Undelivered::failed(&error))?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let stream = connecting.await.map_err(failed)?;
        hand_over(stream, bytes).await.map_err(failed)
    }
}

/// Writes all of it, says that this was all, and waits until the other end has read that.
async fn hand_over<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    bytes: &[u8],
) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    let mut said = [0; 512];
    loop {
        match stream.read(&mut said).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // Many receivers close without TLS's own good-bye. Nothing of theirs was to come.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

impl Sink for Messages {
    fn deliver<'a>(&'a mut self, batch: &'a [Event]) -> Delivery<'a> {
        Box::pin(async move {
            let mut frames = Vec::new();
            for event in batch {
                let message = message(event, &self.origin, self.to.message_bytes);
                frames.extend_from_slice(message.len().to_string().as_bytes());
                frames.push(b' ');
                frames.extend_from_slice(message.as_bytes());
            }
            self.to.send(&frames).await.map(|()| 0)
        })
    }
}

/// One event as a message of at most `most` bytes.
fn message(event: &Event, origin: &str, most: usize) -> String {
    let priority = FACILITY * 8 + severity(event.weight);
    let time = DateTimePrinter::new().precision(Some(6));
    let time = time.timestamp_to_string(&event.time);
    let host = origin.rsplit('/').next().filter(|host| !host.is_empty());
    let mut head = format!(
        "<{priority}>1 {time} {} cambist - {} [cambist@32473 origin=\"{}\" seq=\"{}\"",
        host.unwrap_or("-"),
        event.kind,
        escaped(origin),
        event.sequence,
    );
    if let Some(code) = &event.code {
        head.push_str(&format!(" code=\"{}\"", escaped(code)));
    }
    head.push_str("] ");
    let text = fitted(&event.text, most.saturating_sub(head.len()));
    head + &text
}

/// RFC 5424 table 2.
const fn severity(weight: Weight) -> u8 {
    match weight {
        Weight::Error => 3,
        Weight::Warning => 4,
        Weight::Notice => 5,
        Weight::Information => 6,
    }
}

/// A parameter's value: RFC 5424 section 6.3.3.
fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['"', '\\', ']']) {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len().saturating_add(8));
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            text.push('\\');
        }
        text.push(c);
    }
    Cow::Owned(text)
}

/// A JSON object in at most `most` bytes: without its largest members, which `cut` names.
fn fitted(text: &str, most: usize) -> Cow<'_, str> {
    #[derive(Serialize)]
    struct Shortened<'a> {
        #[serde(flatten)]
        members: &'a BTreeMap<String, &'a RawValue>,
        cut: &'a [String],
    }
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
    let mut cut = Vec::new();
    loop {
        let shortened = Shortened {
            members: &members,
            cut: &cut,
        };
        let shortened = serde_json::to_string(&shortened).unwrap_or_default();
        let largest = members.iter().max_by_key(|(_, value)| value.get().len());
        match largest.map(|(name, _)| name.clone()) {
            Some(name) if shortened.len() > most => {
                members.remove(&name);
                cut.push(name);
            }
            _ => return Cow::Owned(shortened),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use jiff::Timestamp;
    use proptest::prelude::*;

    const ORIGIN: &str = "https://broker.example.org/node-1";

    fn event(text: &str) -> Event {
        Event {
            sequence: 7,
            time: Timestamp::from_microsecond(1_800_000_000_000_001).unwrap(),
            kind: "refuse".into(),
            code: Some("policy_denied".into()),
            weight: Weight::Warning,
            text: text.into(),
        }
    }

    #[test]
    fn a_message_is_as_the_rfc_has_it() {
        let expected = "<108>1 2027-01-15T08:00:00.000001Z node-1 cambist - refuse \
             [cambist@32473 origin=\"https://broker.example.org/node-1\" seq=\"7\" code=\"policy_denied\"] {\"v\":1}";
        let text = message(&event("{\"v\":1}"), ORIGIN, limits::SYSLOG_MESSAGE);
        assert_eq!(text, expected);
    }

    #[test]
    fn a_message_at_its_bound_is_whole_and_one_byte_longer_is_cut() {
        let head = message(&event("{}"), ORIGIN, limits::SYSLOG_MESSAGE).len() - 2;
        let record = |length: usize| {
            let policy = "x".repeat(length - "{\"policy\":\"\",\"seq\":7}".len());
            format!("{{\"policy\":\"{policy}\",\"seq\":7}}")
        };
        let whole = record(limits::SYSLOG_MESSAGE - head);
        let sent = message(&event(&whole), ORIGIN, limits::SYSLOG_MESSAGE);
        assert_eq!(sent.len(), limits::SYSLOG_MESSAGE);
        assert!(sent.ends_with(&whole));
        let longer = record(limits::SYSLOG_MESSAGE - head + 1);
        let sent = message(&event(&longer), ORIGIN, limits::SYSLOG_MESSAGE);
        assert!(
            sent.ends_with("] {\"seq\":7,\"cut\":[\"policy\"]}"),
            "{sent}"
        );
    }

    /// What a parser of structured data makes of a parameter's value.
    fn unescaped(text: &str) -> Option<String> {
        let (mut value, mut rest) = (String::new(), text.chars());
        while let Some(c) = rest.next() {
            match c {
                '\\' => value.push(rest.next()?),
                '"' | ']' => return None,
                c => value.push(c),
            }
        }
        Some(value)
    }

    proptest! {
        #[test]
        fn a_value_never_ends_its_parameter(value in ".*") {
            prop_assert_eq!(unescaped(&escaped(&value)), Some(value));
        }

        #[test]
        fn what_is_cut_is_json_and_fits(members in prop::collection::btree_map("[a-z]{1,8}", ".{0,400}", 0..20), most in 400_usize..2_000) {
            let text = serde_json::to_string(&members).unwrap();
            let short = fitted(&text, most);
            prop_assert!(short.len() <= most);
            let _: BTreeMap<String, serde_json::Value> = serde_json::from_str(&short).unwrap();
        }
    }
}
