//! Policies and what is wrong with them, as people and programs see them.

use crate::cli::output::visible;
use crate::policy;
use crate::proto::{CheckPoliciesResponse, PolicyDiagnostic, PolicyDocument};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Checked {
    pub(super) valid: bool,
    pub(super) files: Vec<CheckedFile>,
}

#[derive(Serialize)]
pub(super) struct CheckedFile {
    pub(super) file: String,
    pub(super) valid: bool,
    pub(super) policies: u32,
    pub(super) diagnostics: Vec<Diagnostic>,
}

#[derive(Serialize)]
pub(super) struct Diagnostic {
    pub(super) policy: String,
    /// 1-based; 0 when not known.
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) message: String,
    pub(super) help: String,
    pub(super) warning: bool,
}

#[derive(Serialize)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) revision: u64,
    pub(super) policy_revision: String,
    pub(super) warnings: Vec<Diagnostic>,
}

#[derive(Serialize)]
pub(super) struct Listed {
    pub(super) documents: Vec<Document>,
}

#[derive(Serialize)]
pub(super) struct Document {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) from_configuration: bool,
    pub(super) revision: u64,
}

#[derive(Serialize)]
pub(super) struct Deleted {
    pub(super) deleted: String,
    pub(super) policy_revision: String,
}

impl CheckedFile {
    /// What the broker says.
    pub(super) fn answered(file: String, answer: CheckPoliciesResponse) -> Self {
        let CheckPoliciesResponse {
            valid,
            diagnostics,
            policies,
        } = answer;
        Self {
            file,
            valid,
            policies,
            diagnostics: diagnostics.into_iter().map(Diagnostic::from).collect(),
        }
    }

    /// What is found here.
    pub(super) fn found(file: String, checked: policy::Checked) -> Self {
        Self {
            file,
            valid: checked.is_valid(),
            policies: checked.policies.try_into().unwrap_or(u32::MAX),
            diagnostics: checked.findings.into_iter().map(Diagnostic::from).collect(),
        }
    }

    pub(super) fn text(&self) -> String {
        let verdict = if self.valid { "valid" } else { "NOT VALID" };
        let mut lines = vec![format!(
            "{}: {verdict}, {} policies",
            self.file, self.policies
        )];
        lines.extend(
            self.diagnostics
                .iter()
                .map(|diagnostic| diagnostic.text(&self.file)),
        );
        lines.join("\n")
    }
}

impl Diagnostic {
    pub(super) fn text(&self, file: &str) -> String {
        let kind = if self.warning { "warning" } else { "error" };
        let place = match self.line {
            0 => file.to_owned(),
            line => format!("{file}:{line}:{}", self.column),
        };
        let mut text = format!("{place}: {kind}: {}", visible(&self.message));
        if !self.help.is_empty() {
            text = format!("{text}\n  help: {}", visible(&self.help));
        }
        text
    }
}

impl From<PolicyDiagnostic> for Diagnostic {
    fn from(diagnostic: PolicyDiagnostic) -> Self {
        let PolicyDiagnostic {
            policy,
            line,
            column,
            message,
            help,
            warning,
        } = diagnostic;
        Self {
            policy,
            line,
            column,
            message,
            help,
            warning,
        }
    }
}

impl From<policy::Diagnostic> for Diagnostic {
    fn from(diagnostic: policy::Diagnostic) -> Self {
        let policy::Diagnostic {
            document: _,
            policy,
            line,
            column,
            message,
            help,
            warning,
        } = diagnostic;
        Self {
            policy,
            line,
            column,
            message,
            help,
            warning,
        }
    }
}

impl From<PolicyDocument> for Document {
    fn from(document: PolicyDocument) -> Self {
        let PolicyDocument {
            name,
            text,
            from_configuration,
            revision,
        } = document;
        Self {
            name,
            text,
            from_configuration,
            revision,
        }
    }
}
