//! What becomes of sealed segments in memory: whole and durable, or not there. And who publishes them.

use super::{Effect, Memory, ORIGIN, Step};
use crate::audit::archive::{Archive, Form};
use crate::audit::device::{Segments, Source};
use crate::audit::{DiskShelf, Publisher};
use crate::clock::SystemRandomness;
use crate::keys::{Kek, LogKey};
use std::io;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

impl Archive for Memory {
    fn written(&self) -> u64 {
        u64::MAX
    }

    fn has(&self, first: u64, form: Form) -> io::Result<bool> {
        Ok(self.form(first, form).is_ok())
    }

    fn form(&self, first: u64, form: Form) -> io::Result<Box<dyn Source>> {
        let bytes = self.with(|state| match form {
            Form::Plain => state.files.get(&first).map(|file| file.written.clone()),
            Form::Packed | Form::Index => state.forms.get(&(first, form == Form::Index)).cloned(),
        });
        match bytes {
            Some(bytes) => Ok(Box::new(io::Cursor::new(bytes))),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn put(
        &self,
        first: u64,
        form: Form,
        write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>,
        check: &mut dyn FnMut(&mut dyn Source) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        write(&mut bytes)?;
        let mut cut = false;
        let put = self.step(Step::Put, |state, effect| {
            cut = effect == Effect::Short;
            if !cut {
                state
                    .forms
                    .insert((first, form == Form::Index), bytes.clone());
            }
            Ok(())
        });
        // What is read back is looked at without the lock: the check reads other files.
        bytes.truncate(if cut { bytes.len() / 2 } else { bytes.len() });
        check(&mut io::Cursor::new(bytes)).and(put)
    }

    fn remove(&self, first: u64, form: Form) -> io::Result<()> {
        self.step(Step::Remove, |state, _| {
            match form {
                Form::Plain => drop(state.files.remove(&first)),
                Form::Packed | Form::Index => {
                    state.forms.remove(&(first, form == Form::Index));
                }
            }
            Ok(())
        })
    }
}

/// Publishes what is in `segments` into `folder`, with the key that is there.
pub(in crate::audit) fn publisher(
    folder: &Path,
    segments: Arc<dyn Segments>,
    durable: u64,
) -> Publisher {
    let kek = Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap();
    let path = folder.join("key");
    let random = SystemRandomness::shared();
    let held = LogKey::open(&path, "log", &kek).unwrap();
    let key =
        held.unwrap_or_else(|| LogKey::create(&path, "log", Some(0), &kek, &*random).unwrap());
    let shelf = Arc::new(DiskShelf::new(folder));
    Publisher::open(segments, shelf, key, ORIGIN, durable).unwrap()
}
