//! Audiences in memory: from configuration and from the store, found by name or alias.

use super::AudienceSpec;
use crate::id::{Audience, SpiffeId, Tenant};
use crate::limits;
use crate::revocation::View;
use crate::store::{Entry, Key, Op, Value};
use arc_swap::ArcSwap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Store prefix of audiences.
pub const PREFIX: &str = "audience/";
/// Store prefix of what audiences were, for as long as tokens from then may be alive.
pub const FORMER_PREFIX: &str = "former/";

/// A registered audience and where it comes from.
#[derive(Debug)]
pub struct AudienceEntry {
    /// What was registered.
    pub spec: AudienceSpec,
    /// Counter of the store revision that wrote it; `None` when it comes from configuration.
    pub revision: Option<u64>,
}

/// Why an audience cannot be registered.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidAudience {
    /// A name or alias means two audiences.
    #[error("`{0}` is the name or an alias of two audiences")]
    Ambiguous(Audience),
    /// More aliases or servers than [`limits::AUDIENCE_LINKS`].
    #[error("`{0}` has more than {limit} aliases or servers", limit = limits::AUDIENCE_LINKS)]
    TooManyLinks(Audience),
    /// A server is neither a SPIFFE ID nor another URI.
    #[error("`{0}` has a server that is not a URI: `{1}`")]
    Server(Audience, String),
    /// Larger than [`limits::AUDIENCE_SPEC`] as JSON.
    #[error("`{0}` takes more than {limit} bytes: give it fewer or shorter aliases, servers and scopes", limit = limits::AUDIENCE_SPEC)]
    TooLarge(Audience),
    /// A lifetime of nothing.
    #[error("`{0}` has a lifetime ceiling of zero")]
    NoLifetime(Audience),
}

type ByName = HashMap<Audience, Arc<AudienceEntry>>;

/// What is looked up.
#[derive(Debug, Default)]
struct Index {
    by_name: ByName,
    /// Everybody who serves an audience, and what they are told of what is revoked.
    servers: HashMap<Box<str>, View>,
    /// The same of everybody who serves none any more, while tokens from then may be alive.
    former: HashMap<Box<str>, View>,
}

/// All audiences. Reads are lock-free; a change builds the map anew, off the hot path.
#[derive(Debug, Default)]
pub struct Audiences {
    index: ArcSwap<Index>,
    sources: Mutex<Sources>,
    /// Is told whenever somebody is to be told otherwise of what is revoked.
    views: watch::Sender<()>,
}

#[derive(Clone, Debug, Default)]
struct Sources {
    configured: Vec<AudienceSpec>,
    stored: BTreeMap<Audience, (AudienceSpec, u64)>,
    former: BTreeMap<Key, Former>,
}

/// Who served an audience, of whose tokens some may be alive.
#[derive(Clone, Debug, Deserialize)]
struct Former {
    tenant: Option<Tenant>,
    #[serde(default)]
    servers: Vec<String>,
}

impl Audiences {
    /// The audience of this name or alias, compared byte by byte.
    #[must_use]
    pub fn find(&self, name: &Audience) -> Option<Arc<AudienceEntry>> {
        self.index.load().by_name.get(name).cloned()
    }

    /// What a workload that serves an audience is told of what is revoked; none of one that serves none.
    #[must_use]
    pub fn served(&self, by: &SpiffeId) -> Option<View> {
        self.index.load().servers.get(by.as_str()).cloned()
    }

    /// As [`Audiences::served`], of one that serves none any more and did while tokens were issued that may be alive.
    #[must_use]
    pub fn formerly_served(&self, by: &SpiffeId) -> Option<View> {
        self.index.load().former.get(by.as_str()).cloned()
    }

    /// Is told whenever what [`Audiences::served`] and [`Audiences::formerly_served`] answer has changed, of anybody.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<()> {
        self.views.subscribe()
    }

    /// All audiences by name, from the one after `after`.
    #[must_use]
    pub fn list(&self, after: Option<&Audience>) -> Vec<Arc<AudienceEntry>> {
        let index = self.index.load();
        let is_own_name =
            |(name, entry): &(&Audience, &Arc<AudienceEntry>)| **name == entry.spec.name;
        let own = index
            .by_name
            .iter()
            .filter(is_own_name)
            .map(|(_, entry)| Arc::clone(entry));
        let mut all: Vec<_> = own
            .filter(|entry| after.is_none_or(|after| entry.spec.name > *after))
            .collect();
        all.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        all
    }

    /// Takes over what configuration says.
    ///
    /// # Errors
    /// [`InvalidAudience`]; the old set stays.
    pub fn configure(&self, specs: Vec<AudienceSpec>) -> Result<(), InvalidAudience> {
        self.change(|sources| sources.configured = specs)
    }

    /// Whether `spec` could be registered beside what is there.
    ///
    /// # Errors
    /// [`InvalidAudience`].
    pub fn check(&self, spec: &AudienceSpec) -> Result<(), InvalidAudience> {
        let mut sources = self
            .sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        sources.stored.insert(spec.name.clone(), (spec.clone(), 0));
        build(&sources).map(drop)
    }

    /// Takes over the whole stored set.
    ///
    /// # Errors
    /// What is wrong; nothing is changed then.
    pub fn reset(&self, entries: &[Entry]) -> Result<(), String> {
        let parsed = entries
            .iter()
            .map(|entry| parse(&entry.value).map(|spec| (spec, entry.modified)));
        let parsed: Vec<(AudienceSpec, u64)> = parsed.collect::<Result<_, String>>()?;
        let stored = parsed
            .into_iter()
            .map(|(spec, at)| (spec.name.clone(), (spec, at)))
            .collect();
        self.change(|sources| sources.stored = stored)
            .map_err(|error| error.to_string())
    }

    /// Takes over one change.
    ///
    /// # Errors
    /// What is wrong; the old state stays.
    pub fn apply(&self, op: &Op, revision: u64) -> Result<(), String> {
        let changed = match op {
            Op::Put(_, value) => {
                let spec: AudienceSpec = parse(value)?;
                self.change(|sources| {
                    sources.stored.insert(spec.name.clone(), (spec, revision));
                })
            }
            Op::Delete(key) => {
                let name = key.as_str().strip_prefix(PREFIX).unwrap_or_default();
                self.change(|sources| {
                    sources.stored.remove(name);
                })
            }
        };
        changed.map_err(|error| error.to_string())
    }

    /// Takes over all that is stored of what audiences were.
    ///
    /// # Errors
    /// What is wrong; nothing is changed then.
    pub fn reset_former(&self, entries: &[Entry]) -> Result<(), String> {
        let former = entries
            .iter()
            .map(|entry| Ok((entry.key.clone(), parse(&entry.value)?)));
        let former = former.collect::<Result<_, String>>()?;
        self.change(|sources| sources.former = former)
            .map_err(|error| error.to_string())
    }

    /// Takes over one change of that.
    ///
    /// # Errors
    /// What is wrong; the old state stays.
    pub fn apply_former(&self, op: &Op) -> Result<(), String> {
        let changed = match op {
            Op::Put(key, value) => {
                let former = parse(value)?;
                self.change(|sources| drop(sources.former.insert(key.clone(), former)))
            }
            Op::Delete(key) => self.change(|sources| drop(sources.former.remove(key))),
        };
        changed.map_err(|error| error.to_string())
    }

    fn change(&self, change: impl FnOnce(&mut Sources)) -> Result<(), InvalidAudience> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = sources.clone();
        change(&mut next);
        let index = build(&next)?;
        *sources = next;
        let old = self.index.swap(Arc::new(index));
        let new = self.index.load();
        if old.servers != new.servers || old.former != new.former {
            self.views.send_replace(());
        }
        Ok(())
    }
}

/// The tenants of the audiences that somebody serves; none where one of them is shared by all.
type Served = Option<BTreeSet<Tenant>>;

/// Of whoever serves none yet.
fn none() -> Served {
    Some(BTreeSet::new())
}

/// With an audience more, of this tenant or shared by all.
fn widen(served: &mut Served, tenant: Option<&Tenant>) {
    match (served.as_mut(), tenant) {
        (Some(tenants), Some(tenant)) => drop(tenants.insert(tenant.clone())),
        _ => *served = None,
    }
}

fn build(sources: &Sources) -> Result<Index, InvalidAudience> {
    let configured = sources.configured.iter().map(|spec| (spec, None));
    let stored = sources.stored.values().map(|(spec, at)| (spec, Some(*at)));
    let mut by_name = ByName::default();
    let mut served = HashMap::<&str, Served>::new();
    for (spec, revision) in configured.chain(stored) {
        check_alone(spec)?;
        let entry = Arc::new(AudienceEntry {
            spec: spec.clone(),
            revision,
        });
        for name in std::iter::once(&spec.name).chain(&spec.aliases) {
            let old = by_name.insert(name.clone(), Arc::clone(&entry));
            if old.is_some() {
                return Err(InvalidAudience::Ambiguous(name.clone()));
            }
        }
        for server in &spec.servers {
            let tenants = served.entry(server).or_insert_with(none);
            widen(tenants, spec.tenant.as_ref());
        }
    }
    let mut former = HashMap::<&str, Served>::new();
    for Former { tenant, servers } in sources.former.values() {
        for server in servers {
            // Tokens from then may still be shown to it. One that serves nothing any more may not watch for that, and knows it.
            let tenants = served.get_mut(server.as_str());
            let tenants = tenants.unwrap_or_else(|| former.entry(server).or_insert_with(none));
            widen(tenants, tenant.as_ref());
        }
    }
    Ok(Index {
        by_name,
        servers: views(served),
        former: views(former),
    })
}

fn views(of: HashMap<&str, Served>) -> HashMap<Box<str>, View> {
    let view = |served: Served| served.map_or(View::All, |tenants| View::Only(Arc::new(tenants)));
    of.into_iter()
        .map(|(server, served)| (server.into(), view(served)))
        .collect()
}

/// Whether an audience can be registered, whatever others there are.
///
/// # Errors
/// [`InvalidAudience`], never [`InvalidAudience::Ambiguous`].
pub fn check_alone(spec: &AudienceSpec) -> Result<(), InvalidAudience> {
    if spec.aliases.len().max(spec.servers.len()) > limits::AUDIENCE_LINKS {
        return Err(InvalidAudience::TooManyLinks(spec.name.clone()));
    }
    let size = serde_json::to_vec(spec).map_or(usize::MAX, |json| json.len());
    if size > limits::AUDIENCE_SPEC {
        return Err(InvalidAudience::TooLarge(spec.name.clone()));
    }
    if spec.max_lifetime_seconds == Some(0) {
        return Err(InvalidAudience::NoLifetime(spec.name.clone()));
    }
    let uri = |server: &str| {
        let printable = server.bytes().all(|byte| byte.is_ascii_graphic());
        printable && server.contains("://") && server.len() <= limits::SPIFFE_ID
    };
    match spec.servers.iter().find(|server| !uri(server)) {
        Some(server) => Err(InvalidAudience::Server(spec.name.clone(), server.clone())),
        None => Ok(()),
    }
}

fn parse<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_slice(value.as_bytes()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Owner;

    fn spec(name: &str, aliases: &[&str]) -> AudienceSpec {
        AudienceSpec {
            name: Audience::parse(name).unwrap(),
            aliases: aliases
                .iter()
                .map(|alias| Audience::parse(alias).unwrap())
                .collect(),
            owner: Owner::parse("team").unwrap(),
            servers: Vec::new(),
            scopes: Default::default(),
            bound: false,
            max_lifetime_seconds: None,
            tenant: None,
        }
    }

    #[test]
    fn names_and_aliases_find_one_audience_byte_by_byte() {
        let audiences = Audiences::default();
        audiences
            .configure(vec![spec("shop", &["https://shop.example.com"])])
            .unwrap();
        let find = |name| {
            audiences
                .find(&Audience::parse(name).unwrap())
                .map(|entry| entry.spec.name.to_string())
        };
        assert_eq!(find("shop").as_deref(), Some("shop"));
        assert_eq!(find("https://shop.example.com").as_deref(), Some("shop"));
        assert_eq!(find("Shop"), None);
        assert_eq!(find("https://shop.example.com/"), None);
    }

    /// One that the till serves.
    fn served(name: &str, tenant: Option<&str>) -> AudienceSpec {
        AudienceSpec {
            servers: vec!["spiffe://example.org/till".to_owned()],
            tenant: tenant.map(|name| Tenant::parse(name).unwrap()),
            ..spec(name, &[])
        }
    }

    fn till() -> SpiffeId {
        SpiffeId::parse("spiffe://example.org/till").unwrap()
    }

    #[test]
    fn who_serves_an_audience_is_known_until_it_does_no_longer() {
        let audiences = Audiences::default();
        audiences
            .configure(vec![spec("bank", &[]), served("shop", None)])
            .unwrap();
        assert_eq!(audiences.served(&till()), Some(View::All));
        let other = SpiffeId::parse("spiffe://example.org/tills").unwrap();
        assert_eq!(audiences.served(&other), None);
        audiences.configure(vec![spec("shop", &[])]).unwrap();
        assert_eq!(audiences.served(&till()), None);
    }

    #[test]
    fn it_is_told_when_somebody_serves_other_tenants_and_of_nothing_else() {
        let audiences = Audiences::default();
        let mut views = audiences.views();
        let mut is_told = |specs: Vec<AudienceSpec>| {
            audiences.configure(specs).unwrap();
            let is_told = views.has_changed().unwrap();
            views.mark_unchanged();
            is_told
        };
        let (a, b) = (|| served("one", Some("a")), || served("two", Some("b")));
        assert!(!is_told(vec![spec("shop", &[])]));
        assert!(is_told(vec![a()]));
        assert!(!is_told(vec![a(), served("three", Some("a"))]));
        assert!(is_told(vec![a(), b()]));
        assert!(is_told(vec![b()]));
        assert!(is_told(vec![]));
    }

    #[test]
    fn who_serves_tenants_alone_is_told_of_those_and_who_serves_all_of_everything() {
        let view = |specs: &[(&str, Option<&str>)]| {
            let audiences = Audiences::default();
            let specs = specs.iter().map(|(name, tenant)| served(name, *tenant));
            audiences.configure(specs.collect()).unwrap();
            audiences.served(&till()).unwrap()
        };
        let only = |names: &[&str]| {
            let names = names.iter().map(|name| Tenant::parse(name).unwrap());
            View::Only(Arc::new(names.collect()))
        };
        let (a, b) = (("one", Some("a")), ("two", Some("b")));
        assert_eq!(view(&[a]), only(&["a"]));
        assert_eq!(view(&[a, b, ("three", Some("a"))]), only(&["a", "b"]));
        for shared in [[a, ("two", None)], [("one", None), b]] {
            assert_eq!(view(&shared), View::All);
        }
    }

    #[test]
    fn a_name_that_means_two_audiences_is_refused_and_the_old_set_stays() {
        let audiences = Audiences::default();
        audiences.configure(vec![spec("shop", &[])]).unwrap();
        let ambiguous = Audience::parse("shop").unwrap();
        assert_eq!(
            audiences.check(&spec("store", &["shop"])),
            Err(InvalidAudience::Ambiguous(ambiguous))
        );
        assert!(
            audiences
                .configure(vec![spec("a", &["b"]), spec("b", &[])])
                .is_err()
        );
        assert_eq!(audiences.list(None).len(), 1);
    }

    #[test]
    fn links_are_bounded_at_n_and_n_plus_one() {
        let with = |n: usize| {
            let mut spec = spec("shop", &[]);
            spec.servers = (0..n)
                .map(|i| format!("spiffe://example.org/{i}"))
                .collect();
            Audiences::default().check(&spec)
        };
        assert!(with(limits::AUDIENCE_LINKS).is_ok());
        assert!(with(limits::AUDIENCE_LINKS + 1).is_err());
    }

    #[test]
    fn its_size_is_bounded_at_n_and_n_plus_one() {
        let of_size = |size: usize| {
            let server = |length: usize| format!("urn://{}", "x".repeat(length));
            let mut spec = spec("shop", &[]);
            spec.servers = vec![server(1950); 16];
            let without = serde_json::to_vec(&spec).unwrap().len();
            // Quotes, a comma and the scheme.
            spec.servers.push(server(size - without - 9));
            assert_eq!(serde_json::to_vec(&spec).unwrap().len(), size);
            Audiences::default().check(&spec)
        };
        assert_eq!(of_size(limits::AUDIENCE_SPEC), Ok(()));
        let over = of_size(limits::AUDIENCE_SPEC + 1).unwrap_err();
        assert!(matches!(over, InvalidAudience::TooLarge(_)), "{over}");
    }
}
