//! Who presents something.

use crate::support::broker::{Broker, Caller, spec};
use cambist::clock::{Clock as _, SystemClock};

/// A key or a workload's certificate, and the connection on which it is shown.
pub(super) struct Party {
    /// The text of a key.
    pub(super) secret: Option<String>,
    /// The certificate, DER; empty for a key.
    pub(super) leaf: Vec<u8>,
    /// The place of the certificate over whose connection a key is shown.
    pub(super) over: Option<usize>,
    /// As records name it.
    pub(super) id: String,
    pub(super) sub: String,
    /// From when on its subject's cut-offs count for it: a key was made then, a certificate began to be good.
    pub(super) since: i64,
    /// The audience that it serves.
    pub(super) serves: Option<&'static str>,
    pub(super) caller: Caller,
}

pub(super) struct Cast {
    pub(super) parties: Vec<Party>,
}

impl Cast {
    /// Two certificates of one workload that serves nobody, one certificate of each server, and two keys: one is shown over the
    /// first certificate.
    pub(super) async fn new(broker: &Broker, case: usize) -> Self {
        let mut parties = Vec::new();
        let own = format!("case-{case}");
        let workloads = [
            (&*own, None),
            (&*own, None),
            ("shop", Some("shop")),
            ("till", Some("shop")),
            ("billing", Some("billing")),
        ];
        for (name, serves) in workloads {
            let sub = format!("spiffe://example.org/{name}");
            let svid = broker.svid(&sub);
            parties.push(Party {
                secret: None,
                leaf: svid.leaf.to_vec(),
                over: None,
                id: format!("x509:{}", svid.thumbprint()),
                sub,
                // A minute before it was made, or somewhat later: long before any token of this case.
                since: SystemClock::shared().now().as_second() - 60,
                serves,
                caller: broker.workload(&svid).await,
            });
        }
        let anybody = broker.anybody().await;
        for over in [None, Some(0)] {
            let spec = spec(&["shop", "billing"], &["orders:read"]);
            let made = broker.create_key(spec).await;
            let key = made.key.unwrap();
            parties.push(Party {
                secret: Some(made.secret),
                leaf: Vec::new(),
                over,
                id: format!("key:{}", key.id),
                sub: format!("{}/keys/{}", broker.issuer, key.id),
                since: key.created_at.unwrap().seconds,
                serves: None,
                caller: over
                    .map_or(&anybody, |place| &parties[place].caller)
                    .clone(),
            });
        }
        Self { parties }
    }
}
