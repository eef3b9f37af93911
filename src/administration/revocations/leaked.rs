//! A key that was found where it should not be: recognised by its whole text, and revoked.

use super::{Revocable, RevocationAdmin};
use crate::administration::Written;
use crate::administration::change::{Author, Precondition};
use crate::id::KeyPublicId;
use crate::inventory::{KeyEntry, KeyState, Shown};
use crate::limits;
use crate::refusal::Denial;
use crate::secret::{Secret, api_key, holds_credential};
use crate::store::Revision;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the record calls it. A sink that takes only these tells owners of leaks.
const LEAKED: &str = "key.leaked";
/// The reason where nobody gives another one.
const REASON: &str = "reported as leaked";
/// What stands in the place of a text that would expose what it tells of.
const WITHHELD: &str = "(withheld: it holds a credential)";

/// Where a key was found, for the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// The place, as whoever found it names it: a URL most of the time. May be empty.
    pub url: String,
    /// What kind of place it is, such as `commit`. May be empty.
    pub source: String,
    /// What an administrator says of it. May be empty.
    pub reason: String,
}

/// Where a key was found, as it is kept: short, and without the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leak(BTreeMap<&'static str, String>);

/// What became of a key's text that was handed in.
#[derive(Debug)]
pub enum Leaked {
    /// It is a key's, which is revoked now, and at which revision that is in force: none where it is in force here and not
    /// written. The record, and what tells the owner, follow once it is.
    Revoked(Arc<KeyEntry>, Option<Revision>),
    /// It is a key's that was revoked before: nothing more is done or recorded.
    Before(Arc<KeyEntry>),
    /// A key has this id and another secret. Who knows an id, which is public, does not thereby end the key.
    WrongSecret,
    /// It is no key of ours.
    Unknown,
}

/// When a leak is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Before it is answered.
    First,
    /// After it is in force: something else could not be written just now, and nobody waits for that once more.
    Later,
}

impl RevocationAdmin {
    /// Revokes the key whose text this is, and with it every token made from it. The record says who reported it and where
    /// it was found, and never the text.
    ///
    /// # Errors
    /// As of [`RevocationAdmin::revoke`].
    pub async fn leaked(
        &self,
        text: &Secret,
        sighting: &Sighting,
        author: &Author,
        on: &Precondition,
        writing: Writing,
    ) -> Result<Leaked, Denial> {
        let Ok(shown) = api_key::parse(text.expose()) else {
            return Ok(Leaked::Unknown);
        };
        let entry = match self.keys.keys().recognise(&shown) {
            Shown::Ours(entry) => entry,
            Shown::Wrong => return Ok(Leaked::WrongSecret),
            Shown::Unknown => return Ok(Leaked::Unknown),
        };
        let id = shown.id;
        if entry.key().state == KeyState::Revoked {
            // A repeat is answered like the first. Where that cannot be read, nobody knows.
            let repeated = self.changes.repeated(LEAKED, id.as_str(), author, on);
            match repeated.await {
                Ok(None) => return Ok(Leaked::Before(entry)),
                Err(refused @ Denial::Refused(_)) => return Err(refused),
                Ok(Some(_)) | Err(Denial::Failed { .. }) => {}
            }
        }
        let reason = match &*sighting.reason {
            "" => REASON,
            reason => reason,
        };
        let what = Revocable::LeakedKey(id, sighting.kept(text));
        let revoked = match writing {
            Writing::First => self.revoke(&what, reason, author, on).await?,
            Writing::Later => self.revoke_unwritten(&self.asked(&what, reason, author), on)?,
        };
        Ok(Leaked::Revoked(self.keys.found(&id)?, revoked.revision))
    }

    /// Writes it.
    pub(super) async fn set_leaked(
        &self,
        id: &KeyPublicId,
        leak: &Leak,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<Written, Denial> {
        let state = KeyState::Revoked;
        let change = json!({ "state": state, "reason": reason, "leak": leak.0 });
        let set = self.keys.set(id, state, (LEAKED, &change), author, on);
        set.await
    }
}

impl Sighting {
    /// What is kept of it.
    fn kept(&self, key: &Secret) -> Leak {
        let places = [("url", &self.url), ("source", &self.source)];
        let said = places.into_iter().filter(|(_, place)| !place.is_empty());
        let kept = said.map(|(name, place)| (name, Self::place(place, key)));
        Leak(kept.collect())
    }

    /// A text of somebody else's as it may be kept: short, on one line, and without the key that it tells of.
    fn place(text: &str, key: &Secret) -> String {
        let secret = api_key::secret_part(key.expose());
        let exposes = secret.is_some_and(|secret| text.contains(secret));
        if exposes || holds_credential(text) {
            return WITHHELD.to_owned();
        }
        let mut kept = String::new();
        for c in text.chars() {
            let c = if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            };
            if kept.len().saturating_add(c.len_utf8()) > limits::LEAK_PLACE {
                break;
            }
            kept.push(c);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "cmb_CambistTestKey01_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ2Dgl12";

    fn kept(text: &str) -> String {
        Sighting::place(text, &Secret::new(KEY.to_owned()))
    }

    #[test]
    fn a_place_is_bounded_and_on_one_line() {
        let most = "a".repeat(limits::LEAK_PLACE);
        assert_eq!(kept(&most), most);
        assert_eq!(kept(&format!("{most}a")), most);
        let wide = format!("{}é", "a".repeat(limits::LEAK_PLACE - 1));
        assert_eq!(kept(&wide).len(), limits::LEAK_PLACE - 1);
        assert_eq!(kept("a\nb\u{1b}[2J"), "a\u{fffd}b\u{fffd}[2J");
        assert_eq!(kept(""), "");
    }

    #[test]
    fn a_place_that_holds_the_key_is_withheld_however_it_is_written() {
        let spelled = KEY.replace('_', "%5F");
        for text in [
            format!("https://a.example/?key={KEY}"),
            format!("https://a.example/?key={spelled}"),
            format!("{}{KEY}", "a".repeat(limits::LEAK_PLACE - 30)),
            "https://a.example/?t=eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln".to_owned(),
        ] {
            assert_eq!(kept(&text), WITHHELD, "{text}");
        }
        assert_eq!(
            kept("https://a.example/cmb_CambistTestKey01"),
            "https://a.example/cmb_CambistTestKey01"
        );
    }
}
