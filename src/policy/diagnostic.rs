//! What is wrong with a policy document, and where.

use std::fmt;

/// One finding about a policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The document's name; empty where the finding is about none in particular.
    pub document: String,
    /// The policy's name; empty where the text could not be split into policies.
    pub policy: String,
    /// Line, from 1; 0 when not known.
    pub line: u32,
    /// Column in characters, from 1; 0 when not known.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What would be right; may be empty.
    pub help: String,
    /// A warning refuses nothing.
    pub warning: bool,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.document, self.line, self.column)?;
        f.write_str(if self.warning { "warning: " } else { "error: " })?;
        f.write_str(&self.message)?;
        if self.help.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.help)
        }
    }
}

/// The document that findings are about.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// An error at a byte offset of the text.
    pub(super) fn error(&self, policy: &str, at: usize, message: impl Into<String>) -> Diagnostic {
        let (line, column) = position(self.text, at);
        Diagnostic {
            document: self.name.to_owned(),
            policy: policy.to_owned(),
            line,
            column,
            message: message.into(),
            help: String::new(),
            warning: false,
        }
    }

    /// What Cedar found, at its own position or else at `at`.
    pub(super) fn found(
        &self,
        policy: &str,
        at: usize,
        finding: &dyn miette::Diagnostic,
    ) -> Diagnostic {
        let label = finding.labels().and_then(|mut labels| labels.next());
        let note = label.as_ref().and_then(|label| label.label());
        let mut message = finding.to_string();
        if let Some(note) = note {
            message = format!("{message}: {note}");
        }
        // The policy has its own field.
        let redundant = format!("for policy `{policy}`, ");
        if let Some(rest) = message.strip_prefix(&redundant) {
            message = rest.to_owned();
        }
        let at = label.as_ref().map_or(at, miette::LabeledSpan::offset);
        self.error(policy, at, message)
            .help(finding.help().map(|help| help.to_string()))
    }
}

impl Diagnostic {
    /// Says what would be right.
    pub(super) fn help(mut self, help: Option<impl Into<String>>) -> Self {
        self.help = help.map(Into::into).unwrap_or_default();
        self
    }

    /// Makes it a warning.
    pub(super) fn warning(mut self) -> Self {
        self.warning = true;
        self
    }

    /// An error about the set of all documents.
    pub(super) fn of_set(message: impl Into<String>) -> Self {
        let nowhere = Source { name: "", text: "" };
        Self {
            line: 0,
            column: 0,
            ..nowhere.error("", 0, message)
        }
    }
}

fn position(text: &str, at: usize) -> (u32, u32) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before
        .get(start..)
        .map_or(0, |line| line.chars().count())
        .saturating_add(1);
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (number(line), number(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "a\nbé\n\nc";
        for (at, expected) in [
            (0, (1, 1)),
            (1, (1, 2)),
            (2, (2, 1)),
            (5, (2, 3)),
            (6, (3, 1)),
            (7, (4, 1)),
            (99, (4, 2)),
        ] {
            assert_eq!(position(text, at), expected, "{at}");
        }
    }
}
