//! A TOML document that is read as far as it goes: each problem is noted with its place, what it is about is
//! set aside, and reading goes on, so that one run reports them all.

use super::known;
use super::problem::{KeyPath, Problem, Step};
use crate::limits;
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// A parsed document and what was set aside of it.
pub(super) struct Document<'t> {
    file: &'t Path,
    text: &'t str,
    /// Whole, for looking places up.
    tree: Spanned<DeTable<'t>>,
    set_aside: Vec<KeyPath>,
}

impl<'t> Document<'t> {
    /// Parses the syntax.
    pub(super) fn parse(file: &'t Path, text: &'t str) -> Result<Self, Vec<Problem>> {
        let (tree, errors) = DeTable::parse_recoverable(text);
        let document = Self {
            file,
            text,
            tree,
            set_aside: Vec::new(),
        };
        if errors.is_empty() {
            return Ok(document);
        }
        let report = |error: &toml::de::Error| {
            let place = error.span().unwrap_or_default();
            document.report(
                &place,
                String::new(),
                error.message().to_owned(),
                String::new(),
            )
        };
        Err(errors
            .iter()
            .take(limits::CONFIGURATION_PROBLEMS)
            .map(report)
            .collect())
    }

    /// Reads the document as a `T`, noting every problem; `None` when nothing could be read.
    pub(super) fn read<T: DeserializeOwned>(&mut self, problems: &mut Vec<Problem>) -> Option<T> {
        let mut rest = self.tree.clone();
        while problems.len() < limits::CONFIGURATION_PROBLEMS {
            let error = match T::deserialize(Deserializer::from(rest.clone())) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let place = error.span().unwrap_or_default();
            let path = self.path_at(&place);
            // What was set aside is missing only because it was already reported.
            let known_gap = known::missing_field(error.message())
                .is_some_and(|name| self.set_aside.contains(&path.key(name)));
            if !known_gap {
                let (message, help) = known::explain(&path, error.message());
                problems.push(self.report(&place, path.to_string(), message, help));
            }
            if path.is_root() || !remove(rest.get_mut(), &place) {
                return None;
            }
            self.set_aside.push(path);
        }
        None
    }

    /// The path to the innermost key or value at exactly `place`; the root when there is none.
    pub(super) fn path_at(&self, place: &Range<usize>) -> KeyPath {
        find_in_table(self.tree.get_ref(), place, &KeyPath::default()).unwrap_or_default()
    }

    /// A problem with the value at `path`, or with the nearest thing around it that is there.
    pub(super) fn problem(&self, path: &KeyPath, message: String) -> Problem {
        let place = locate(self.tree.get_ref(), path.steps());
        self.report(
            &place,
            path.to_string(),
            message,
            known::expected(&path.pattern()).to_owned(),
        )
    }

    /// Whether something at or under `path` was reported and set aside.
    pub(super) fn is_set_aside(&self, path: &KeyPath) -> bool {
        self.set_aside
            .iter()
            .any(|aside| aside.steps().starts_with(path.steps()))
    }

    fn report(&self, place: &Range<usize>, key: String, message: String, help: String) -> Problem {
        let before = self.text.get(..place.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Problem {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            key,
            message,
            help,
        }
    }
}

fn find_in_table(table: &DeTable<'_>, place: &Range<usize>, at: &KeyPath) -> Option<KeyPath> {
    table.iter().find_map(|(key, value)| {
        let here = at.key(key.get_ref());
        find_in_value(value, place, &here).or_else(|| (key.span() == *place).then_some(here))
    })
}

fn find_in_value(
    value: &Spanned<DeValue<'_>>,
    place: &Range<usize>,
    at: &KeyPath,
) -> Option<KeyPath> {
    let inside = match value.get_ref() {
        DeValue::Table(table) => find_in_table(table, place, at),
        DeValue::Array(array) => array
            .iter()
            .enumerate()
            .find_map(|(index, element)| find_in_value(element, place, &at.index(index))),
        _ => None,
    };
    inside.or_else(|| (value.span() == *place).then(|| at.clone()))
}

/// Where the value at `steps` is, or the innermost thing on the way to it.
fn locate(table: &DeTable<'_>, steps: &[Step]) -> Range<usize> {
    let mut place = 0..0;
    let mut steps = steps.iter();
    let Some(Step::Key(first)) = steps.next() else {
        return place;
    };
    let mut value = table.get(first.as_str());
    let mut rest = steps;
    while let Some(here) = value {
        place = here.span();
        value = match (rest.next(), here.get_ref()) {
            (Some(Step::Key(name)), DeValue::Table(inner)) => inner.get(name.as_str()),
            (Some(Step::Index(at)), DeValue::Array(array)) => array.get(*at),
            _ => None,
        };
    }
    place
}

/// Takes out the innermost entry or element at exactly `place`.
fn remove(table: &mut DeTable<'_>, place: &Range<usize>) -> bool {
    if table
        .iter_mut()
        .any(|(_, value)| remove_inside(value.get_mut(), place))
    {
        return true;
    }
    let name = table
        .iter()
        .find(|(key, value)| key.span() == *place || value.span() == *place)
        .map(|(key, _)| key.get_ref().to_string());
    name.is_some_and(|name| table.remove(name.as_str()).is_some())
}

fn remove_inside(value: &mut DeValue<'_>, place: &Range<usize>) -> bool {
    match value {
        DeValue::Table(table) => remove(table, place),
        DeValue::Array(array) => {
            if array
                .iter_mut()
                .any(|element| remove_inside(element.get_mut(), place))
            {
                return true;
            }
            let before = array.len();
            let kept = array.iter().filter(|element| element.span() != *place);
            *array = kept.cloned().collect();
            array.len() < before
        }
        _ => false,
    }
}
