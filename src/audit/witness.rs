//! Witnesses (C2SP tlog-witness): parties that sign a checkpoint once they have seen that the log has only grown since the one
//! that they signed before. Their word stands under the checkpoint.
//!
//! They are asked after it was published, each by itself: none holds up the log, its checkpoint or another witness.
//!
//! A checkpoint is durable here before a witness is sent it. So a witness that has cosigned more than there is, or another tree,
//! tells that this log lost records that were published ([`WitnessError::contradicts`]):
//!
//! | it answers | and that is |
//! |---|---|
//! | 200 | its cosignature |
//! | 409, of a size up to the checkpoint's | where it stands: it is sent the proof from there |
//! | 409, of a size that the log has records for, but no checkpoint yet | asked again with the next one |
//! | 409, of more records than the log has | a contradiction |
//! | to the proof from where it just said that it stands: 422; or 409, where that is the checkpoint's own size | a contradiction, unless the proof does not verify here, or the witness has cosigned just that tree |
//! | anything else: 403, 404, 422 to everything | no cosignature, and nothing against the log |
//!
//! A single 422 is not believed, be it of a fault of the witness or of something in front of it: it must also say where it
//! stands, and what it refuses must be right by our own code. It is a party that the operator has chosen, as who keeps a copy is.

use super::checkpoint::Checkpoint;
use super::note::{NoteError, NoteKey};
use super::publisher::{PublishError, Published, Publisher};
use super::tree::Hash;
use super::web::{Web, WebError};
use crate::limits;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::timeout;
use url::Url;

/// One witness, and how far it has seen the log.
#[derive(Debug)]
pub struct Witness {
    web: Web,
    prefix: Url,
    key: NoteKey,
    seen: Mutex<Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    /// The size of the last checkpoint that it cosigned, as far as we know.
    size: u64,
    /// That checkpoint, since the start.
    last: Option<Checkpoint>,
}

/// Why a witness has not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// No answer, or one that says no: it does not know the log (404), its key (403), or does not believe the proof (422).
    #[error(transparent)]
    Web(#[from] WebError),
    /// No answer in time.
    #[error("it does not answer in time")]
    Slow,
    /// It has seen more than there is.
    #[error(
        "it has cosigned a checkpoint of {witness} records, and the log ends at {log}: records that were published are missing here"
    )]
    Ahead {
        /// What it has seen.
        witness: u64,
        /// What there is.
        log: u64,
    },
    /// It has seen more than the last checkpoint, and the log holds as much.
    #[error(
        "it has cosigned a checkpoint of {witness} records, and the last one here is of {checkpoint}: the next one is held against it"
    )]
    Beyond {
        /// What it has seen.
        witness: u64,
        /// What the last checkpoint is of.
        checkpoint: u64,
    },
    /// It has seen others.
    #[error(
        "it has cosigned a checkpoint of {0} records, and the first {0} here are not those, or it is at fault: what it was sent verifies here"
    )]
    Forked(u64),
    /// It refuses what it has cosigned itself.
    #[error(
        "it does not believe its own cosignature of the first {0} records: the witness is at fault"
    )]
    Fickle(u64),
    /// It says that it stands elsewhere, and not where, or where it was just told that it does not.
    #[error("its answer does not say where it stands")]
    Lost,
    /// What it answered is no cosignature of this checkpoint by its key.
    #[error("its cosignature: {0}")]
    Cosignature(#[from] NoteError),
    /// The proof cannot be made.
    #[error("the log's tree cannot be read: {0}")]
    Tree(#[from] io::Error),
    /// The cosigned checkpoint cannot be kept.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The task that reads or writes files ended.
    #[error("the witnessing task ended")]
    Ended,
}

impl WitnessError {
    /// Whether it tells that this log is not the one that was published.
    #[must_use]
    pub fn contradicts(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::Forked(_))
    }
}

impl Witness {
    /// One with this submission prefix, whose cosignatures are by this key.
    #[must_use]
    pub fn new(web: Web, prefix: Url, key: NoteKey) -> Self {
        Self {
            web,
            prefix,
            key,
            seen: Mutex::default(),
        }
    }

    /// Has a checkpoint cosigned, and puts the cosignature under it where it is still the last one. `durable` is how many records
    /// the log holds.
    ///
    /// # Errors
    /// [`WitnessError`]; the checkpoint stands as it is.
    pub async fn cosign(
        &self,
        publisher: &Arc<Publisher>,
        last: &Published,
        durable: u64,
    ) -> Result<(), WitnessError> {
        if self.seen().last.as_ref() == Some(&last.checkpoint) {
            return Ok(());
        }
        // All of it in the time of one call: a start waits for it.
        let line = timeout(limits::LOG_PARTY_CALL, self.line(publisher, last, durable)).await;
        let line = line.unwrap_or(Err(WitnessError::Slow))?;
        self.set_seen(Seen {
            size: last.checkpoint.size,
            last: Some(last.checkpoint.clone()),
        });
        let (publisher, key, of) = (
            Arc::clone(publisher),
            self.key.clone(),
            last.checkpoint.clone(),
        );
        let added = tokio::task::spawn_blocking(move || publisher.cosigned(&of, &key, &line));
        added.await.map_err(|_| WitnessError::Ended)??;
        Ok(())
    }

    /// Its line under a checkpoint.
    async fn line(
        &self,
        publisher: &Arc<Publisher>,
        last: &Published,
        durable: u64,
    ) -> Result<String, WitnessError> {
        let size = last.checkpoint.size;
        let known = Some(self.seen().size).filter(|known| *known <= size);
        let mut old = known.unwrap_or(0);
        // Where it says that it stands. It knows better: as after a start, when we know nothing.
        let mut stands = None;
        loop {
            match self.submit(publisher, last, old).await? {
                Answer::Cosigned(lines) => {
                    let text = last.checkpoint.to_string();
                    return Ok(self.key.line(&text, &lines)?.to_owned());
                }
                Answer::Stands(_) if stands.is_some() => return Err(WitnessError::Lost),
                Answer::Stands(witness) if witness > durable => {
                    let log = durable;
                    return Err(WitnessError::Ahead { witness, log });
                }
                Answer::Stands(witness) if witness > size => {
                    let checkpoint = size;
                    return Err(WitnessError::Beyond {
                        witness,
                        checkpoint,
                    });
                }
                Answer::Stands(witness) => (old, stands) = (witness, Some(witness)),
                Answer::Differs if stands.is_some() => {
                    return Err(self.against(publisher, last, old).await);
                }
                // We thought that it stands there. It is to say so itself: to nothing at all, where nothing can differ.
                Answer::Differs => old = 0,
            }
        }
    }

    /// What it means that it does not believe that a checkpoint has grown from the first `old` records.
    async fn against(
        &self,
        publisher: &Arc<Publisher>,
        last: &Published,
        old: u64,
    ) -> WitnessError {
        let (publisher, of) = (Arc::clone(publisher), last.checkpoint.clone());
        let root = match tokio::task::spawn_blocking(move || publisher.grown_from(old, &of)).await {
            Ok(Ok(root)) => root,
            Ok(Err(error)) => return error.into(),
            Err(_) => return WitnessError::Ended,
        };
        let is_that = |seen: Checkpoint| seen.size == old && seen.root == root;
        let signed = old == last.checkpoint.size && self.key.open(last.note.as_bytes()).is_ok();
        match signed || self.seen().last.is_some_and(is_that) {
            true => WitnessError::Fickle(old),
            false => WitnessError::Forked(old),
        }
    }

    /// `add-checkpoint`.
    async fn submit(
        &self,
        publisher: &Arc<Publisher>,
        last: &Published,
        old: u64,
    ) -> Result<Answer, WitnessError> {
        let (publisher, size) = (Arc::clone(publisher), last.checkpoint.size);
        let proof = tokio::task::spawn_blocking(move || publisher.consistency(old, size)).await;
        let proof = proof.map_err(|_| WitnessError::Ended)??;
        let body = request(old, &proof, &last.note);
        match self.web.post(&self.prefix, "add-checkpoint", body).await? {
            (StatusCode::OK, lines) => {
                let lines = String::from_utf8(lines).map_err(|_| NoteError::Malformed)?;
                Ok(Answer::Cosigned(lines))
            }
            (StatusCode::CONFLICT, answer) => match stands_at(&answer) {
                Some(other) if other != old => Ok(Answer::Stands(other)),
                // As large, and another root.
                _ if old > 0 && old == size => Ok(Answer::Differs),
                _ => Err(WitnessError::Lost),
            },
            (StatusCode::UNPROCESSABLE_ENTITY, _) if old > 0 => Ok(Answer::Differs),
            (status, _) => Err(WebError::Status(status).into()),
        }
    }

    fn seen(&self) -> Seen {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    fn set_seen(&self, now: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// What a witness says to a checkpoint.
enum Answer {
    /// Lines of signatures.
    Cosigned(String),
    /// The size of the checkpoint that it cosigned last, which is not the one that we thought.
    Stands(u64),
    /// What it has cosigned is not the beginning of it.
    Differs,
}

fn request(old: u64, proof: &[Hash], note: &str) -> String {
    let mut body = format!("old {old}\n");
    for hash in proof {
        // Writing to memory does not fail.
        let _ = writeln!(body, "{}", STANDARD.encode(hash.bytes()));
    }
    body + "\n" + note
}

/// A size in decimal and a newline, and nothing else.
fn stands_at(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?.strip_suffix('\n')?;
    let size: u64 = text.parse().ok()?;
    (size.to_string() == text).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of C2SP tlog-witness, as far as it goes.
    #[test]
    fn a_request_has_the_specifications_form() {
        let hash = |text: &str| Hash::new(STANDARD.decode(text).unwrap().try_into().unwrap());
        let lines = [
            "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=",
            "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=",
        ];
        let note = "example.com/behind-the-sofa\n20852163\n";
        let body = request(20_852_014, &lines.map(hash), note);
        let expected = format!("old 20852014\n{}\n{}\n\n{note}", lines[0], lines[1]);
        assert_eq!(body, expected);
        assert_eq!(request(0, &[], note), format!("old 0\n\n{note}"));
    }

    #[test]
    fn where_a_witness_stands_is_one_number() {
        assert_eq!(stands_at(b"0\n"), Some(0));
        assert_eq!(stands_at(b"20852163\n"), Some(20_852_163));
        for wrong in [
            "",
            "\n",
            "1",
            "01\n",
            "+1\n",
            "-1\n",
            "1\n\n",
            " 1\n",
            "18446744073709551616\n",
        ] {
            assert_eq!(stands_at(wrong.as_bytes()), None, "{wrong:?}");
        }
        assert_eq!(stands_at(&[0xff, b'\n']), None);
    }
}
