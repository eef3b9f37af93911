//! What the configuration names by path, read as a start would read it, and nothing else touched.

use super::{files, leaks, sinks};
use crate::clock::Clock;
use crate::config::{Config, Problem, PublishedAt};
use crate::keys::Kek;
use crate::listener::{IdentityFiles, ServerIdentity};
use crate::policy::Policies;
use crate::trust::TrustStore;
use std::sync::Arc;

/// What would keep a broker of this configuration from starting that its files' content tells: a certificate of
/// another key, a bundle without authorities, a seal key of a wrong length, policies that are not valid.
#[must_use]
pub fn check(config: &Config, clock: &Arc<dyn Clock>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut look = |keys: &[&str], index: Option<usize>, found: anyhow::Result<()>| {
        if let Err(error) = found {
            problems.push(config.problem(keys, index, error.to_string()));
        }
    };
    if let Some(tls) = &config.tls {
        let pair = IdentityFiles {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
        };
        let identity = ServerIdentity::load(pair, Arc::clone(clock));
        look(
            &["tls", "certificate"],
            None,
            identity.map(drop).map_err(Into::into),
        );
    }
    let seal = Kek::from_file(&config.keys.seal_key_file);
    look(
        &["keys", "seal_key_file"],
        None,
        seal.map(drop).map_err(Into::into),
    );
    for (index, domain) in config.trust_domains.iter().enumerate() {
        let loaded = files::trust_files(std::iter::once(domain)).load_into(&TrustStore::new());
        look(
            &["trust_domain", "bundle"],
            Some(index),
            loaded.map(drop).map_err(Into::into),
        );
    }
    for (index, settings) in config.log.sinks.iter().enumerate() {
        look(&["log", "sink", "url"], Some(index), sinks::check(settings));
    }
    for (index, reporter) in config.leak.reporters.iter().enumerate() {
        let key = match &reporter.keys {
            PublishedAt::File(_) => "file",
            PublishedAt::Web(_) => "ca",
        };
        look(
            &["leak", "reporter", key],
            Some(index),
            leaks::check(reporter),
        );
    }
    let policies = Policies::new().map_err(files::diagnosed);
    let loaded =
        policies.and_then(|policies| files::load_policies(&config.policy, &policies).map(drop));
    look(&["policy", "files"], None, loaded);
    problems
}
