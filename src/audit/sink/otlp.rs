//! OTLP logs over gRPC, as collectors of OpenTelemetry take them.
//!
//! | of a log record | is |
//! |---|---|
//! | `time_unix_nano`, `observed_time_unix_nano` | the record's time, and that of the delivery |
//! | `severity_number`, `severity_text` | its weight |
//! | `event_name` | `cambist.` and its kind |
//! | `body` | its text, as a string |
//! | `attributes` | `cambist.log.sequence`, and of a refusal `cambist.refusal.code` |
//! | the resource | `service.name` `cambist`, `service.instance.id` the node, `cambist.log.origin`, `cambist.log.id` |
//! | the scope | `cambist.audit`, with our version |
//!
//! `INVALID_ARGUMENT` is a refusal: it speaks of what was sent. Every other status is a failure. What a receiver threw away of a
//! delivery that it took otherwise, as OTLP lets it, is counted as refused: sending it again is forbidden.

use super::webhook::bearer;
use super::{Around, Delivery, Event, Sink, TlsFiles, Undelivered, Weight};
use crate::clock::Clock;
use http::HeaderValue;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::path::PathBuf;
use std::sync::Arc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use url::Url;

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// Where to: `https://host:port`, or `http://` on the loopback interface.
    pub url: Url,
    /// With TLS.
    pub tls: Option<TlsFiles>,
    /// The file with the bearer token.
    pub bearer: Option<PathBuf>,
}

/// The sink.
#[derive(Debug)]
pub(super) struct Exports {
    to: Otlp,
    resource: Resource,
    clock: Arc<dyn Clock>,
    /// None before the first delivery, and after each that failed: files are read anew then.
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    client: LogsServiceClient<Channel>,
    bearer: Option<HeaderValue>,
}

impl Otlp {
    pub(super) fn open(&self, around: &Around) -> Exports {
        let origin = around.log.origin();
        let node = origin.rsplit('/').next().unwrap_or_default();
        let id = String::from(around.log.id());
        let attributes = [
            ("service.name", "cambist"),
            ("service.instance.id", node),
            ("cambist.log.origin", origin),
            ("cambist.log.id", &id),
        ];
        Exports {
            to: self.clone(),
            resource: Resource {
                attributes: attributes.map(|(key, value)| text(key, value)).into(),
                ..Resource::default()
            },
            clock: Arc::clone(&around.clock),
            connection: None,
        }
    }

    /// Reads what its files hold.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn check(&self) -> Result<(), String> {
        let client = self.tls.as_ref().map(TlsFiles::client).transpose();
        client.map_err(|error| error.to_string())?;
        self.bearer.as_deref().map(bearer).transpose().map(drop)
    }

    async fn connect(&self) -> Result<Connection, Undelivered> {
        let failed = |error: tonic::transport::Error| Undelivered::failed(&error);
        let mut endpoint = Endpoint::from_shared(self.url.to_string()).map_err(failed)?;
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(self.encrypted(tls)?).map_err(failed)?;
        }
        let bearer = self.bearer.as_deref().map(bearer).transpose();
        Ok(Connection {
            bearer: bearer.map_err(Undelivered::Failed)?,
            client: LogsServiceClient::new(endpoint.connect().await.map_err(failed)?),
        })
    }

    fn encrypted(&self, tls: &TlsFiles) -> Result<ClientTlsConfig, Undelivered> {
        let material = tls.read().map_err(|error| Undelivered::failed(&error))?;
        let host = self.url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let config = ClientTlsConfig::new()
            .domain_name(host)
            .ca_certificate(Certificate::from_pem(&*material.ca));
        Ok(match &material.identity {
            Some(shown) => config.identity(Identity::from_pem(&*shown.chain, &*shown.key)),
            None => config,
        })
    }
}

impl Sink for Exports {
    fn deliver<'a>(&'a mut self, batch: &'a [Event]) -> Delivery<'a> {
        Box::pin(async move {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.to.connect().await?,
            };
            let mut request = Request::new(self.export(batch));
            if let Some(bearer) = &connection.bearer {
                let bearer = MetadataValue::try_from(bearer.as_bytes());
                let mut bearer = bearer.map_err(|error| Undelivered::failed(&error))?;
                bearer.set_sensitive(true);
                request.metadata_mut().insert("authorization", bearer);
            }
            let answer = connection.client.export(request).await;
            let answer = answer.map_err(|status| judge(&status));
            if !matches!(answer, Err(Undelivered::Failed(_))) {
                self.connection = Some(connection);
            }
            let refused = answer?.into_inner().partial_success.unwrap_or_default();
            let count = u64::try_from(refused.rejected_log_records).unwrap_or_default();
            if count > 0 {
                let reason = excerpt(&refused.error_message);
                tracing::warn!(
                    count,
                    reason,
                    "the collector threw records away; they are in the log"
                );
            }
            Ok(count)
        })
    }
}

impl Exports {
    fn export(&self, batch: &[Event]) -> ExportLogsServiceRequest {
        let observed = nanoseconds(self.clock.now());
        let scope = InstrumentationScope {
            name: "cambist.audit".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let records = batch.iter().map(|event| record(event, observed));
        let logs = ResourceLogs {
            resource: Some(self.resource.clone()),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope),
                log_records: records.collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        };
        ExportLogsServiceRequest {
            resource_logs: vec![logs],
        }
    }
}

fn record(event: &Event, observed: u64) -> LogRecord {
    let (number, name) = match event.weight {
        Weight::Information => (SeverityNumber::Info, "INFO"),
        Weight::Notice => (SeverityNumber::Info2, "INFO2"),
        Weight::Warning => (SeverityNumber::Warn, "WARN"),
        Weight::Error => (SeverityNumber::Error, "ERROR"),
    };
    let sequence = i64::try_from(event.sequence).unwrap_or(i64::MAX);
    let mut attributes = vec![attribute("cambist.log.sequence", Value::IntValue(sequence))];
    attributes.extend(
        event
            .code
            .as_deref()
            .map(|code| text("cambist.refusal.code", code)),
    );
    LogRecord {
        time_unix_nano: nanoseconds(event.time),
        observed_time_unix_nano: observed,
        severity_number: number.into(),
        severity_text: name.to_owned(),
        event_name: format!("cambist.{}", event.kind),
        body: Some(AnyValue {
            value: Some(Value::StringValue(event.text.clone())),
        }),
        attributes,
        ..LogRecord::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// Zero, which is "unknown", for a time that cannot be told so.
fn nanoseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or_default()
}

fn judge(status: &Status) -> Undelivered {
    let said = format!("{:?}: {}", status.code(), excerpt(status.message()));
    match status.code() {
        Code::InvalidArgument => Undelivered::Refused(said),
        _ => Undelivered::Failed(said),
    }
}

/// What another party wrote, as much of it as belongs in a line of ours.
fn excerpt(text: &str) -> String {
    text.chars().take(crate::limits::FOREIGN_TEXT).collect()
}
