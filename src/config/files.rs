//! Reading the configuration file, and looking at the files that it names.

use super::document::Document;
use super::problem::KeyPath;
use super::{Address, Config, CopyPlace, Problem, PublishedAt};
use crate::keys::is_exposed;
use crate::limits;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Reads a configuration file's text.
pub(super) fn read(path: &Path) -> Result<String, Problem> {
    let whole = |message: String, help: &str| whole(path, message, help);
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => whole("there is no such file".into(), "check the path"),
        io::ErrorKind::PermissionDenied => whole(
            "the file cannot be read: permission denied".into(),
            "make it readable to the user that the broker runs as",
        ),
        io::ErrorKind::IsADirectory => whole("this is a directory".into(), "name the file in it"),
        _ => whole(format!("the file cannot be read: {error}"), ""),
    };
    let mut bytes = Vec::new();
    // One byte over the bound tells a large file from an endless one that is never read to its end.
    let bound = u64::try_from(limits::CONFIGURATION)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(bound).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() > limits::CONFIGURATION {
        let message = format!("the file is larger than {} bytes", limits::CONFIGURATION);
        return Err(whole(
            message,
            "put audiences into the broker with `cambist audience put`",
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        whole(
            format!("not text: the byte at offset {at} is not UTF-8"),
            "a configuration file is TOML in UTF-8",
        )
    })?;
    if text.trim().is_empty() {
        return Err(whole(
            "the file is empty".into(),
            "it begins with `issuer`, `node` and `data`",
        ));
    }
    Ok(text)
}

impl Config {
    /// Looks at every file that the configuration names: whether it is there, can be read, and, where it is
    /// secret, whether others could read it too.
    #[must_use]
    pub fn check_files(&self) -> Vec<Problem> {
        // Read again only for the places: the answer stands without them.
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let document = Document::parse(&self.path, &text).ok();
        let mut problems = Vec::new();
        let mut look = |at: KeyPath, path: &Path, secret: bool| {
            let Some(message) = fault(path, secret) else {
                return;
            };
            let message = format!("{}: {message}", path.display());
            problems.push(match &document {
                Some(document) => document.problem(&at, message),
                None => whole(&self.path, message, ""),
            });
        };
        let root = KeyPath::default();
        if let Some(tls) = &self.tls {
            let at = root.key("tls");
            look(at.key("certificate"), &tls.certificate, false);
            look(at.key("key"), &tls.key, true);
        }
        let seal = root.key("keys").key("seal_key_file");
        look(seal, &self.keys.seal_key_file, true);
        for (index, domain) in self.trust_domains.iter().enumerate() {
            let at = root.key("trust_domain").index(index);
            look(at.key("bundle"), &domain.bundle, false);
            for (index, crl) in domain.crls.iter().enumerate() {
                look(at.key("crls").index(index), crl, false);
            }
        }
        for (index, copy) in self.log.copies.iter().enumerate() {
            let at = root.key("log").key("copy").index(index);
            if let CopyPlace::Web { server, token_file } = &copy.place {
                look(at.key("ca"), &server.ca, false);
                if let Some(path) = token_file {
                    look(at.key("token_file"), path, true);
                }
            }
        }
        let sinks = root.key("log").key("sink");
        for (index, sink) in self.log.sinks.iter().enumerate() {
            for (key, path, secret) in sink.files() {
                look(sinks.index(index).key(key), path, secret);
            }
        }
        for (index, witness) in self.log.witnesses.iter().enumerate() {
            let at = root.key("log").key("witness").index(index);
            look(at.key("ca"), &witness.server.ca, false);
        }
        for (index, reporter) in self.leak.reporters.iter().enumerate() {
            let at = root.key("leak").key("reporter").index(index);
            match &reporter.keys {
                PublishedAt::File(path) => look(at.key("file"), path, false),
                PublishedAt::Web(server) => look(at.key("ca"), &server.ca, false),
            }
        }
        let policies = root.key("policy").key("files");
        match self.policy.list() {
            Ok(files) => files
                .iter()
                .for_each(|path| look(policies.clone(), path, false)),
            Err((path, _)) => look(policies, &path, false),
        }
        for (index, listener) in self.listeners.iter().enumerate() {
            if let Address::Unix(socket) = &listener.address {
                let directory = socket.parent().unwrap_or(socket);
                if let Some(message) = fault(directory, false) {
                    let message = format!("{}: {message}", directory.display());
                    problems.push(Problem {
                        help: "make the socket's folder, for the user that the broker runs as"
                            .into(),
                        ..self.problem(&["listener", "address"], Some(index), message)
                    });
                }
            }
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }
}

impl Config {
    /// A problem with what is configured under `keys`, in a section that is the `index`th of its kind.
    #[must_use]
    pub fn problem(&self, keys: &[&str], index: Option<usize>, message: String) -> Problem {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let mut at = KeyPath::default();
        let section = keys.len().saturating_sub(1);
        for (depth, key) in (1..).zip(keys) {
            at = at.key(key);
            if let Some(index) = index.filter(|_| depth == section) {
                at = at.index(index);
            }
        }
        match Document::parse(&self.path, &text) {
            Ok(document) => document.problem(&at, message),
            Err(_) => whole(&self.path, message, ""),
        }
    }
}

/// A problem with the file as a whole.
fn whole(file: &Path, message: String, help: &str) -> Problem {
    Problem {
        file: file.to_owned(),
        line: 0,
        column: 0,
        key: String::new(),
        message,
        help: help.to_owned(),
    }
}

fn fault(path: &Path, secret: bool) -> Option<String> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return Some(error.to_string()),
    };
    if metadata.is_file()
        && let Err(error) = File::open(path)
    {
        return Some(error.to_string());
    }
    if secret && is_exposed(&metadata) {
        let what =
            "this is a secret that others than its owner may use; take that away with chmod 0600";
        return Some(what.to_owned());
    }
    None
}
