//! Publication: which policies are in force, and how others take their place.

use super::diagnostic::{Diagnostic, Source};
use super::document::{CompiledDocument, CompiledPolicy, Document, Origin};
use super::engine::{Snapshot, memory};
use super::model::{model, revision};
use super::slice::Slices;
use crate::limits;
use arc_swap::ArcSwap;
use cedar_policy::Authorizer;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(test)]
mod tests;

/// The policies in force, from two sources: configuration files and the store. A change is checked as a whole
/// and takes the place of the old set at once, or not at all.
#[derive(Debug)]
pub struct Policies {
    current: ArcSwap<Snapshot>,
    /// One change at a time; deciding never takes it.
    change: Mutex<()>,
}

/// What was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The revision of the whole set.
    pub revision: Arc<str>,
    /// How many policies the set holds.
    pub policies: usize,
    /// What deserves a look but refuses nothing.
    pub warnings: Vec<Diagnostic>,
}

impl Policies {
    /// No policies: everything is denied.
    ///
    /// # Errors
    /// A defect of ours: the built-in schema does not parse.
    pub fn new() -> Result<Self, Vec<Diagnostic>> {
        let (snapshot, _) = build(Vec::new())?;
        Ok(Self {
            current: ArcSwap::from_pointee(snapshot),
            change: Mutex::new(()),
        })
    }

    /// The set in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The revision in force: goes into every record.
    #[must_use]
    pub fn revision(&self) -> Arc<str> {
        Arc::clone(&self.current.load().revision)
    }

    /// What is in force.
    #[must_use]
    pub fn loaded(&self) -> Loaded {
        let snapshot = self.current.load();
        Loaded {
            revision: Arc::clone(&snapshot.revision),
            policies: snapshot.len(),
            warnings: Vec::new(),
        }
    }

    /// The documents in force, by name.
    #[must_use]
    pub fn documents(&self) -> Vec<Document> {
        let snapshot = self.current.load();
        let documents = snapshot.documents.iter();
        documents
            .map(|compiled| compiled.document.clone())
            .collect()
    }

    /// Replaces every document, whatever its source.
    ///
    /// # Errors
    /// What is wrong; the old set stays in force.
    pub fn load(&self, documents: Vec<Document>) -> Result<Loaded, Vec<Diagnostic>> {
        self.change(|_| false, documents, true)
    }

    /// Replaces the documents that come from configuration.
    ///
    /// # Errors
    /// What is wrong; the old set stays in force.
    pub fn set_configured(&self, documents: Vec<Document>) -> Result<Loaded, Vec<Diagnostic>> {
        let documents = from(Origin::Configuration, documents);
        self.change(|old| old.origin != Origin::Configuration, documents, true)
    }

    /// Replaces the documents that come from the store.
    ///
    /// # Errors
    /// What is wrong; the old set stays in force.
    pub fn set_stored(&self, documents: Vec<Document>) -> Result<Loaded, Vec<Diagnostic>> {
        let documents = from(Origin::Store, documents);
        self.change(|old| old.origin != Origin::Store, documents, true)
    }

    /// Says what would be if a stored document were written, and changes nothing.
    ///
    /// # Errors
    /// What is wrong with it, by itself or beside the others.
    pub fn check(&self, name: &str, text: &str) -> Result<Loaded, Vec<Diagnostic>> {
        self.put(name, text, false)
    }

    /// Writes a stored document, new or in the place of the one with its name.
    ///
    /// # Errors
    /// What is wrong; the old set stays in force.
    pub fn put_document(&self, name: &str, text: &str) -> Result<Loaded, Vec<Diagnostic>> {
        self.put(name, text, true)
    }

    /// Removes a stored document; one that is not there is no error.
    ///
    /// # Errors
    /// What is wrong; the old set stays in force.
    pub fn remove_document(&self, name: &str) -> Result<Loaded, Vec<Diagnostic>> {
        let keep = |old: &Document| old.origin != Origin::Store || old.name != name;
        self.change(keep, Vec::new(), true)
    }

    fn put(&self, name: &str, text: &str, publish: bool) -> Result<Loaded, Vec<Diagnostic>> {
        let document = Document {
            name: name.to_owned(),
            text: text.to_owned(),
            origin: Origin::Store,
        };
        let keep = |old: &Document| old.origin != Origin::Store || old.name != name;
        self.change(keep, vec![document], publish)
    }

    fn change(
        &self,
        keep: impl Fn(&Document) -> bool,
        new: Vec<Document>,
        publish: bool,
    ) -> Result<Loaded, Vec<Diagnostic>> {
        // Nothing is left half-done by a thread that dies here: the set is swapped whole.
        let _one = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.current.load();
        let mut documents: Vec<Arc<CompiledDocument>> = Vec::new();
        documents.extend(
            old.documents
                .iter()
                .filter(|old| keep(&old.document))
                .cloned(),
        );
        let mut findings = Vec::new();
        for document in new {
            // Reading is what costs: a document that did not change is not read again.
            let same = old.documents.iter().find(|old| old.document == document);
            match same
                .cloned()
                .map_or_else(|| CompiledDocument::new(document).map(Arc::new), Ok)
            {
                Ok(compiled) => documents.push(compiled),
                Err(found) => findings.extend(found),
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        let (snapshot, warnings) = build(documents)?;
        let loaded = Loaded {
            revision: Arc::clone(&snapshot.revision),
            policies: snapshot.len(),
            warnings,
        };
        if publish {
            self.current.store(Arc::new(snapshot));
        }
        Ok(loaded)
    }
}

fn from(origin: Origin, mut documents: Vec<Document>) -> Vec<Document> {
    for document in &mut documents {
        document.origin = origin;
    }
    documents
}

/// Puts documents that are valid by themselves together. Returns warnings with the set.
fn build(
    mut documents: Vec<Arc<CompiledDocument>>,
) -> Result<(Snapshot, Vec<Diagnostic>), Vec<Diagnostic>> {
    let model = model().map_err(|finding| vec![finding])?;
    documents.sort_by(|a, b| a.document.name.cmp(&b.document.name));
    let mut findings = unique_documents(&documents);
    let mut warnings: Vec<Diagnostic> = Vec::new();
    let mut rules: HashMap<Arc<str>, Arc<CompiledPolicy>> = HashMap::new();
    let mut slices = Slices::default();
    let mut open = 0_usize;
    for document in &documents {
        warnings.extend(document.warnings.iter().cloned());
        let source = Source {
            name: &document.document.name,
            text: &document.document.text,
        };
        for policy in &document.policies {
            let name = &policy.rule.0;
            let refuse = |message: String| source.error(name, policy.start, message);
            if rules.insert(Arc::clone(name), Arc::clone(policy)).is_some() {
                findings.push(refuse(format!("another policy is named `{name}` too")));
                continue;
            }
            if rules.len() > limits::POLICIES {
                findings.push(refuse(format!("more than {} policies", limits::POLICIES)));
                return Err(findings);
            }
            open = open.saturating_add(usize::from(policy.scope.is_open()));
            if policy.scope.is_open() && open > limits::UNINDEXED_POLICIES {
                findings.push(refuse(unindexed()).help(Some(NAME_ONE)));
            }
            match slices.add(policy) {
                Ok(count) if count == limits::CROWDED_POLICIES + 1 && !policy.scope.is_open() => {
                    warnings.push(refuse(crowded()).help(Some(NAME_BOTH)).warning());
                }
                Ok(_) => {}
                Err(error) => findings.push(refuse(error)),
            }
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let texts = documents.iter().map(|compiled| &compiled.document);
    let snapshot = Snapshot {
        model,
        revision: revision(texts.flat_map(|d| [d.name.as_str(), d.text.as_str()])),
        slices,
        rules,
        documents,
        authorizer: Authorizer::new(),
        remembered: memory(),
    };
    Ok((snapshot, warnings))
}

const NAME_ONE: &str =
    "name an audience, owner, tenant, trust domain or principal in the scope, with `==` or `in`";
const NAME_BOTH: &str = "name both a principal (or group) and an audience in the scope";

fn unindexed() -> String {
    format!(
        "more than {} policies name nobody in their scope; every request would have to look at each",
        limits::UNINDEXED_POLICIES
    )
}

fn crowded() -> String {
    format!(
        "more than {} policies name the same principal and audience in their scope; each costs every request in reach",
        limits::CROWDED_POLICIES
    )
}

fn unique_documents(sorted: &[Arc<CompiledDocument>]) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let next = sorted.iter().skip(1);
    for (one, two) in sorted.iter().zip(next) {
        let name = &two.document.name;
        if one.document.name == *name {
            let source = Source {
                name,
                text: &two.document.text,
            };
            let configured = [one, two]
                .iter()
                .any(|compiled| compiled.document.origin == Origin::Configuration);
            let message = if configured {
                "a document of this name is set by configuration"
            } else {
                "two documents have this name"
            };
            findings.push(source.error("", 0, message));
        }
    }
    findings
}
