//! A witness (C2SP tlog-witness), made of crates that are not ours but for its keys: it takes nobody's word.

use super::outside::Outside;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signed_note::{Note, Signature, StandardVerifier, Verifier, VerifierList, key_id};
use std::sync::{Arc, Mutex};
use tlog_tiles::{Hash, check_tree};
use tokio::sync::watch;

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Answers this and nothing else.
    Refuses(StatusCode),
    /// Its signature is of something else.
    Lies,
    /// Signs with a key that nobody knows it by.
    Stranger,
    /// Answers more than anybody should read.
    Babbles,
    /// Does not answer while it is so.
    Hangs,
    /// Says where it stands, and of no proof that it is one.
    Disbelieves,
    /// Says that it stands there, and nothing else.
    Claims(u64),
}

/// A witness, wherever it is served.
#[derive(Clone)]
pub(crate) struct Witness(Arc<Inner>);

struct Inner {
    name: String,
    pair: Ed25519KeyPair,
    manner: watch::Sender<Manner>,
    /// The log it knows, by its verifier key, and the last checkpoint that it has cosigned.
    log: Mutex<Option<(String, u64, Hash)>>,
    /// What was asked, as old and new size, and what was answered.
    asked: Mutex<Vec<(u64, u64, StatusCode)>>,
}

impl Witness {
    pub(crate) fn new(name: &str) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            pair: Ed25519KeyPair::generate().unwrap(),
            manner: watch::Sender::new(Manner::Honest),
            log: Mutex::default(),
            asked: Mutex::default(),
        }))
    }

    pub(crate) async fn serve(&self) -> Outside {
        let router = Router::new().route("/submit/add-checkpoint", post(add_checkpoint));
        Outside::serve(router.with_state(self.clone())).await
    }

    pub(crate) fn is(&self, manner: Manner) {
        self.0.manner.send_replace(manner);
    }

    /// Makes a log known to it.
    pub(crate) fn meets(&self, vkey: &str) {
        let log = (vkey.trim_end().to_owned(), 0, Hash([0; 32]));
        *self.0.log.lock().unwrap() = Some(log);
    }

    /// Makes another key known to it for the log that it knows.
    pub(crate) fn trusts(&self, vkey: &str) {
        let mut log = self.0.log.lock().unwrap();
        vkey.trim_end().clone_into(&mut log.as_mut().unwrap().0);
    }

    /// The size of the checkpoint that it has cosigned last.
    pub(crate) fn size(&self) -> u64 {
        self.0.log.lock().unwrap().as_ref().map_or(0, |log| log.1)
    }

    pub(crate) fn asked(&self) -> Vec<(u64, u64, StatusCode)> {
        self.0.asked.lock().unwrap().clone()
    }

    fn key(&self) -> Vec<u8> {
        [&[4][..], self.0.pair.public_key().as_ref()].concat()
    }

    pub(crate) fn vkey(&self) -> String {
        let (name, key) = (&self.0.name, self.key());
        format!("{name}+{:08x}+{}", key_id(name, &key), STANDARD.encode(key))
    }

    /// What verifies its cosignatures, as C2SP tlog-cosignature has them.
    pub(crate) fn verifier(&self) -> Box<dyn Verifier> {
        Box::new(Cosignatures {
            name: self.0.name.clone(),
            id: key_id(&self.0.name, &self.key()),
            key: self.0.pair.public_key().as_ref().to_vec(),
        })
    }

    fn add(&self, body: &str) -> Result<Vec<u8>, No> {
        let bad = || No::Status(StatusCode::BAD_REQUEST);
        let (head, note) = body.split_once("\n\n").ok_or_else(bad)?;
        let mut lines = head.lines();
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old: u64 = old.and_then(|old| old.parse().ok()).ok_or_else(bad)?;
        let proof: Result<Vec<Hash>, _> = lines.map(Hash::parse_hash).collect();
        let proof = proof.map_err(|_| bad())?;
        let note = Note::from_bytes(note.as_bytes()).map_err(|_| bad())?;
        let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).map_err(|_| bad())?;
        let (size, root) = (checkpoint.size(), *checkpoint.hash());
        let answer = self.judge(old, &proof, &note, size, root);
        let status = answer.as_ref().map_or_else(No::status, |()| StatusCode::OK);
        self.0.asked.lock().unwrap().push((old, size, status));
        answer.map(|()| self.cosign(note.text()))
    }

    fn judge(
        &self,
        old: u64,
        proof: &Vec<Hash>,
        note: &Note,
        size: u64,
        root: Hash,
    ) -> Result<(), No> {
        let no = |status: StatusCode| Err(No::Status(status));
        let mut log = self.0.log.lock().unwrap();
        let origin = String::from_utf8(note.text().to_vec()).unwrap();
        let origin = origin.lines().next().unwrap();
        let known = log
            .as_mut()
            .filter(|log| log.0.starts_with(&format!("{origin}+")));
        let Some((vkey, last, was)) = known else {
            return no(StatusCode::NOT_FOUND);
        };
        let verifier = StandardVerifier::new(vkey).unwrap();
        if note
            .verify(&VerifierList::new(vec![Box::new(verifier)]))
            .is_err()
        {
            return no(StatusCode::FORBIDDEN);
        }
        if old > size {
            return no(StatusCode::BAD_REQUEST);
        }
        if old != *last {
            return Err(No::Stands(*last));
        }
        if old > 0 && old == size && *was != root {
            return Err(No::Stands(*last));
        }
        let grown = match old {
            0 => proof.is_empty(),
            old if old == size => proof.is_empty(),
            old => check_tree(proof, size, root, old, *was).is_ok(),
        };
        if !grown || (old > 0 && *self.0.manner.borrow() == Manner::Disbelieves) {
            return no(StatusCode::UNPROCESSABLE_ENTITY);
        }
        (*last, *was) = (size, root);
        Ok(())
    }

    /// Its line for a checkpoint's text.
    pub(crate) fn cosign(&self, text: &[u8]) -> Vec<u8> {
        let manner = *self.0.manner.borrow();
        let time: u64 = 1_800_000_000;
        let text = match manner {
            Manner::Lies => b"another\n",
            _ => text,
        };
        let message = [format!("cosignature/v1\ntime {time}\n").as_bytes(), text].concat();
        let signed = self.0.pair.sign(&message);
        let signature = [&time.to_be_bytes()[..], signed.as_ref()].concat();
        let id = key_id(&self.0.name, &self.key()) ^ u32::from(manner == Manner::Stranger);
        let line = Signature::new(self.0.name.clone(), id, signature).unwrap();
        let mut line = line.to_bytes();
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        line
    }
}

async fn add_checkpoint(State(witness): State<Witness>, body: String) -> Response {
    let mut manner = witness.0.manner.subscribe();
    let settled = manner.wait_for(|manner| *manner != Manner::Hangs).await;
    let settled = *settled.unwrap();
    match settled {
        Manner::Refuses(status) => status.into_response(),
        Manner::Claims(size) => No::Stands(size).into_response(),
        Manner::Babbles => "\u{2014} a AAAA\n".repeat(100_000).into_response(),
        _ => witness
            .add(&body)
            .map_or_else(IntoResponse::into_response, IntoResponse::into_response),
    }
}

/// Why it does not cosign.
enum No {
    Status(StatusCode),
    Stands(u64),
}

impl No {
    fn status(&self) -> StatusCode {
        match self {
            Self::Status(status) => *status,
            Self::Stands(_) => StatusCode::CONFLICT,
        }
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "text/x.tlog.size")];
        match self {
            Self::Status(status) => status.into_response(),
            Self::Stands(size) => (self.status(), kind, format!("{size}\n")).into_response(),
        }
    }
}

struct Cosignatures {
    name: String,
    id: u32,
    key: Vec<u8>,
}

impl Verifier for Cosignatures {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let Some((time, signature)) = signature.split_first_chunk() else {
            return false;
        };
        let time = u64::from_be_bytes(*time);
        let message = [format!("cosignature/v1\ntime {time}\n").as_bytes(), text].concat();
        let key = UnparsedPublicKey::new(&ED25519, &self.key);
        key.verify(&message, signature).is_ok()
    }
}
