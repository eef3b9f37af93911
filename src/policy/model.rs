//! The Cedar model: schema, entity types, and how an [`Input`] becomes a Cedar request.

use super::ceiling::Narrowed;
use super::diagnostic::Diagnostic;
use super::input::Input;
use crate::id::{CredentialId, SpiffeId, TrustDomain};
use crate::refusal::{Code, Refusal};
use aws_lc_rs::digest;
use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request,
    RestrictedExpression as Value, Schema, Validator,
};
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock};

/// The schema that policies are written against.
const SCHEMA: &str = include_str!("cambist.cedarschema");

static MODEL: LazyLock<Result<Model, String>> = LazyLock::new(Model::build);

/// The parsed schema and the names that requests are built from.
pub(super) struct Model {
    pub(super) validator: Validator,
    /// Hash of the schema's text.
    pub(super) revision: Arc<str>,
    exchange: EntityUid,
    api_key: EntityTypeName,
    workload: EntityTypeName,
    trust_domain: EntityTypeName,
    owner: EntityTypeName,
    tenant: EntityTypeName,
    audience: EntityTypeName,
}

/// Who a principal is to Cedar: what [`super::slice`] looks it up by.
pub(super) enum Subject<'a> {
    ApiKey(&'a str),
    Workload { id: SpiffeId, domain: TrustDomain },
}

/// A request and the entities that it is decided with.
pub(super) struct Question {
    pub(super) request: Request,
    pub(super) entities: Entities,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({})", self.revision)
    }
}

/// The model, once for the process.
pub(super) fn model() -> Result<&'static Model, Diagnostic> {
    MODEL
        .as_ref()
        .map_err(|e| Diagnostic::of_set(format!("the built-in schema is not valid: {e}")))
}

/// SHA-256, shortened to 128 bits, of length-prefixed parts, in hexadecimal.
pub(super) fn revision<'a>(parts: impl IntoIterator<Item = &'a str>) -> Arc<str> {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        // The length keeps ("ab", "c") apart from ("a", "bc").
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    let mut text = String::with_capacity(32);
    for byte in digest.as_ref().iter().take(16) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}

/// Tells keys from workloads by the credential at the root, and holds the `sub` against it: a key's `sub` must
/// not read as a SPIFFE ID, or a key could speak as a workload.
pub(super) fn subject(input: &Input) -> Result<Subject<'_>, Refusal> {
    let workload = SpiffeId::parse(&input.principal.sub);
    match (&input.principal.credential, workload) {
        (CredentialId::ApiKey(id), Err(_)) => Ok(Subject::ApiKey(id.as_str())),
        (CredentialId::Certificate(_), Ok(id)) => {
            let domain = id.trust_domain();
            Ok(Subject::Workload { id, domain })
        }
        (CredentialId::ApiKey(_), Ok(_)) | (CredentialId::Certificate(_), Err(_)) => {
            let detail = "the subject's name is not of its credential's kind";
            Err(Refusal::new(Code::PolicyDenied, detail))
        }
    }
}

impl Model {
    fn build() -> Result<Self, String> {
        let (schema, warnings) = Schema::from_cedarschema_str(SCHEMA).map_err(|e| e.to_string())?;
        if let Some(warning) = warnings.into_iter().next() {
            return Err(warning.to_string());
        }
        let name = |text: &str| text.parse::<EntityTypeName>().map_err(|e| e.to_string());
        Ok(Self {
            validator: Validator::new(schema),
            revision: revision([SCHEMA]),
            exchange: uid(&name("Action")?, "exchange"),
            api_key: name("ApiKey")?,
            workload: name("Workload")?,
            trust_domain: name("TrustDomain")?,
            owner: name("Owner")?,
            tenant: name("Tenant")?,
            audience: name("Audience")?,
        })
    }

    /// Builds the request. Values come from types that were parsed, so that no text of a caller can become
    /// another name, a wildcard or a piece of policy.
    pub(super) fn question(
        &self,
        input: &Input,
        subject: &Subject<'_>,
        narrowed: &Narrowed,
    ) -> Result<Question, Refusal> {
        let principal = self.principal(input, subject)?;
        let audience = self.audience(input)?;
        let request = Request::new(
            principal.uid(),
            self.exchange.clone(),
            audience.uid(),
            context(input, narrowed)?,
            None,
        )
        .map_err(unbuildable)?;
        let entities = Entities::from_entities([principal, audience], None).map_err(unbuildable)?;
        Ok(Question { request, entities })
    }

    fn principal(&self, input: &Input, subject: &Subject<'_>) -> Result<Entity, Refusal> {
        let who = &input.principal;
        let mut attributes = HashMap::new();
        let mut parents = HashSet::new();
        if let Some(owner) = &who.owner {
            let owner = uid(&self.owner, owner.as_str());
            attributes.insert("owner".to_owned(), Value::new_entity_uid(owner.clone()));
            parents.insert(owner);
        }
        if let Some(tenant) = &who.tenant {
            let tenant = uid(&self.tenant, tenant.as_str());
            attributes.insert("tenant".to_owned(), Value::new_entity_uid(tenant.clone()));
            parents.insert(tenant);
        }
        let id = match subject {
            Subject::ApiKey(id) => uid(&self.api_key, id),
            Subject::Workload { id, domain } => {
                let domain = uid(&self.trust_domain, domain.as_str());
                attributes.insert("path".to_owned(), Value::new_string(id.path().to_owned()));
                attributes.insert(
                    "trust_domain".to_owned(),
                    Value::new_entity_uid(domain.clone()),
                );
                parents.insert(domain);
                uid(&self.workload, id.as_str())
            }
        };
        let tags = who.labels.iter().map(|(name, value)| {
            (
                name.as_str().to_owned(),
                Value::new_string(value.as_str().to_owned()),
            )
        });
        Entity::new_with_tags(id, attributes, parents, tags).map_err(unbuildable)
    }

    fn audience(&self, input: &Input) -> Result<Entity, Refusal> {
        let facts = &input.audience;
        let owner = uid(&self.owner, facts.owner.as_str());
        let mut attributes = HashMap::from([
            ("bound".to_owned(), Value::new_bool(facts.bound)),
            ("owner".to_owned(), Value::new_entity_uid(owner.clone())),
        ]);
        let mut parents = HashSet::from([owner]);
        if let Some(tenant) = &facts.tenant {
            let tenant = uid(&self.tenant, tenant.as_str());
            attributes.insert("tenant".to_owned(), Value::new_entity_uid(tenant.clone()));
            parents.insert(tenant);
        }
        Entity::new(
            uid(&self.audience, facts.name.as_str()),
            attributes,
            parents,
        )
        .map_err(unbuildable)
    }
}

fn context(input: &Input, narrowed: &Narrowed) -> Result<Context, Refusal> {
    let text = |text: &str| Value::new_string(text.to_owned());
    let scopes = narrowed.scopes.iter().map(|scope| text(scope.as_str()));
    let mut pairs = vec![
        ("bound".to_owned(), Value::new_bool(narrowed.bound)),
        (
            "credential_kind".to_owned(),
            text(input.principal.kind.name()),
        ),
        (
            "lifetime".to_owned(),
            Value::new_long(long(narrowed.lifetime)),
        ),
        ("scopes".to_owned(), Value::new_set(scopes)),
    ];
    if let Some(source) = input.context.source {
        // An IPv4 address in IPv6 clothes would slip past rules about IPv4 networks.
        let source = Value::new_ip(source.to_canonical().to_string());
        pairs.push(("source".to_owned(), source));
    }
    if let Some(actor) = input.context.actors.first() {
        let chain = input.context.actors.iter().map(|sub| text(sub));
        let depth = u64::try_from(input.context.actors.len()).unwrap_or(u64::MAX);
        let record = Value::new_record([
            ("sub".to_owned(), text(actor)),
            ("chain".to_owned(), Value::new_set(chain)),
            ("depth".to_owned(), Value::new_long(long(depth))),
        ])
        .map_err(unbuildable)?;
        pairs.push(("actor".to_owned(), record));
    }
    Context::from_pairs(pairs).map_err(unbuildable)
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn long(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Cedar would not take what was built from parsed values; the answer is still "no".
fn unbuildable(error: impl fmt::Display) -> Refusal {
    Refusal::new(
        Code::PolicyDenied,
        format!("the policy request could not be built: {error}"),
    )
}
