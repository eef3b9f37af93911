//! Witnesses (C2SP tlog-witness): parties that sign a checkpoint once they have seen that the log has only grown since the one
//! that they signed before. Their word stands under the checkpoint.
//!
//! They are asked after it was published, each by itself: none holds up the log, its checkpoint or another witness.

use super::checkpoint::Checkpoint;
use super::note::{NoteError, NoteKey};
use super::publisher::{PublishError, Published, Publisher};
use super::tree::Hash;
use super::web::{Web, WebError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
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
    /// It has seen more than there is.
    #[error(
        "it has cosigned a checkpoint of {witness} records, and the log's is of {log}: records that were published are missing here"
    )]
    Ahead {
        /// What it has seen.
        witness: u64,
        /// What there is.
        log: u64,
    },
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

    /// Has a checkpoint cosigned, and puts the cosignature under it where it is still the last one.
    ///
    /// # Errors
    /// [`WitnessError`]; the checkpoint stands as it is.
    pub async fn cosign(
        &self,
        publisher: &Arc<Publisher>,
        last: &Published,
    ) -> Result<(), WitnessError> {
        let seen = self.seen();
        if seen.last.as_ref() == Some(&last.checkpoint) {
            return Ok(());
        }
        let lines = match self.submit(publisher, last, seen.size).await? {
            Answer::Cosigned(lines) => lines,
            // It knows better where it stands: as after a start, when we know nothing.
            Answer::Stands(size) => match self.submit(publisher, last, size).await? {
                Answer::Cosigned(lines) => lines,
                Answer::Stands(_) => return Err(WitnessError::Lost),
            },
        };
        let text = last.checkpoint.to_string();
        let line = self.key.line(&text, &lines)?.to_owned();
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

    /// `add-checkpoint`.
    async fn submit(
        &self,
        publisher: &Arc<Publisher>,
        last: &Published,
        old: u64,
    ) -> Result<Answer, WitnessError> {
        let (publisher, size) = (Arc::clone(publisher), last.checkpoint.size);
        if old > size {
            return Err(WitnessError::Ahead {
                witness: old,
                log: size,
            });
        }
        let proof = tokio::task::spawn_blocking(move || publisher.consistency(old, size)).await;
        let proof = proof.map_err(|_| WitnessError::Ended)??;
        let body = request(old, &proof, &last.note);
        match self.web.post(&self.prefix, "add-checkpoint", body).await? {
            (StatusCode::OK, lines) => {
                let lines = String::from_utf8(lines).map_err(|_| NoteError::Malformed)?;
                Ok(Answer::Cosigned(lines))
            }
            (StatusCode::CONFLICT, size) => {
                let size = stands_at(&size)
                    .filter(|size| *size != old)
                    .ok_or(WitnessError::Lost)?;
                Ok(Answer::Stands(size))
            }
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
