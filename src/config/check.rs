//! What the sections' checks share: the document to point into, and the problems so far.

use super::document::Document;
use super::duration;
use super::problem::{KeyPath, Problem};
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The checks that serde cannot make: ranges, and what one section says about another.
pub(super) struct Check<'d, 't> {
    document: &'d Document<'t>,
    base: &'d Path,
    problems: Vec<Problem>,
}

impl<'d, 't> Check<'d, 't> {
    pub(super) fn new(document: &'d Document<'t>, base: &'d Path, problems: Vec<Problem>) -> Self {
        Self {
            document,
            base,
            problems,
        }
    }

    /// Notes a problem with the value at `path`.
    pub(super) fn refuse(&mut self, path: &KeyPath, message: impl fmt::Display) {
        let problem = self.document.problem(path, message.to_string());
        self.problems.push(problem);
    }

    /// A value that must be there, noted as missing unless it is only set aside.
    pub(super) fn require<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        let path = KeyPath::default().key(name);
        if value.is_none() && !self.document.is_set_aside(&path) {
            self.refuse(&path, "is missing");
        }
        value
    }

    /// Whether something under `path` was already reported, so that its absence says nothing.
    pub(super) fn is_set_aside(&self, path: &KeyPath) -> bool {
        self.document.is_set_aside(path)
    }

    /// The path to what the document has at `place`.
    pub(super) fn path_at(&self, place: &Range<usize>) -> KeyPath {
        self.document.path_at(place)
    }

    /// A path in the file, which counts from the directory that the file is in.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// A length of time within its bounds.
    pub(super) fn time(
        &mut self,
        path: &KeyPath,
        value: Duration,
        bounds: RangeInclusive<Duration>,
    ) {
        if !bounds.contains(&value) {
            let (least, most) = (
                duration::display(*bounds.start()),
                duration::display(*bounds.end()),
            );
            let value = duration::display(value);
            self.refuse(
                path,
                format_args!("{value} is not within {least} and {most}"),
            );
        }
    }

    /// A number within its bounds.
    pub(super) fn number<T: PartialOrd + fmt::Display>(
        &mut self,
        path: &KeyPath,
        value: T,
        bounds: RangeInclusive<T>,
    ) {
        if !bounds.contains(&value) {
            let (least, most) = (bounds.start(), bounds.end());
            self.refuse(
                path,
                format_args!("{value} is not within {least} and {most}"),
            );
        }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}
