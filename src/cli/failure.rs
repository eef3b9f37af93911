//! Why a command did not do what it was asked: what happened, why, and what to do next.

mod advice;
mod client;

use super::exit::Exit;
use crate::config::Problem;
use crate::refusal::Code;
use serde::Serialize;

/// A command's failure. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    code: Box<str>,
    what: Box<str>,
    why: Box<str>,
    next: Box<str>,
    problems: Box<[Problem]>,
}

/// The error object of `--json`, on standard error.
#[derive(Serialize)]
pub(super) struct Document<'f> {
    version: u8,
    error: Body<'f>,
}

#[derive(Serialize)]
struct Body<'f> {
    /// Stable: a refusal's or a fault's code, or one of the command's own.
    code: &'f str,
    exit: u8,
    message: &'f str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cause: &'f str,
    #[serde(skip_serializing_if = "str::is_empty")]
    help: &'f str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    problems: &'f [Problem],
}

/// An error with its causes, where each says something that the one before has not said already.
pub(super) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

impl Failure {
    /// A failure with its stable code.
    #[must_use]
    pub fn new(exit: Exit, code: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.into().into(),
            what: what.into().into(),
            why: Box::default(),
            next: Box::default(),
            problems: Box::default(),
        }
    }

    /// The command line asks for something that makes no sense.
    #[must_use]
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", what)
    }

    /// Something on this machine failed.
    #[must_use]
    pub fn fault(what: impl Into<String>) -> Self {
        Self::new(Exit::Fault, "fault", what)
    }

    /// What was to be revoked is, and a restart of the broker may forget it. The answer is printed before.
    pub(super) fn not_durable() -> Self {
        Self::new(Exit::NotDurable, "not_durable", "applied, not durable")
            .why("it is in force, and the broker cannot write it; it issues nothing until it has")
            .next("once the broker can write, or after a restart, say it again: repeating it is harmless")
    }

    /// The broker's configuration is wrong.
    #[must_use]
    pub fn configuration(problems: Vec<Problem>) -> Self {
        let what = match problems.len() {
            1 => "the configuration is not valid: 1 problem".to_owned(),
            count => format!("the configuration is not valid: {count} problems"),
        };
        Self {
            problems: problems.into(),
            ..Self::new(Exit::Configuration, "configuration", what)
        }
    }

    /// With the cause.
    #[must_use]
    pub fn why(mut self, why: impl ToString) -> Self {
        self.why = why.to_string().into();
        self
    }

    /// With what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into().into();
        self
    }

    /// With something to do besides what is said already.
    #[must_use]
    pub fn also(self, next: impl Into<String>) -> Self {
        let next = next.into();
        let both = match &*self.next {
            "" => next,
            first => format!("{first}; {next}"),
        };
        self.next(both)
    }

    /// With something to do besides, where this is why: what helps depends on the command too.
    #[must_use]
    pub(super) fn also_after(self, code: Code, next: &str) -> Self {
        match *self.code == *code.code() {
            true => self.also(next),
            false => self,
        }
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    pub(super) fn document(&self) -> Document<'_> {
        Document {
            version: 1,
            error: Body {
                code: &self.code,
                exit: self.exit.code(),
                message: &self.what,
                cause: &self.why,
                help: &self.next,
                problems: &self.problems,
            },
        }
    }

    /// The lines for people: what, then each cause, then what to do.
    pub(super) fn lines(&self) -> (String, Vec<(&'static str, String)>) {
        let mut lines = Vec::new();
        for problem in self.problems.iter() {
            lines.push(("", problem.to_string()));
        }
        if !self.why.is_empty() {
            lines.push(("why", self.why.to_string()));
        }
        if !self.next.is_empty() {
            lines.push(("next", self.next.to_string()));
        }
        (self.what.to_string(), lines)
    }
}
