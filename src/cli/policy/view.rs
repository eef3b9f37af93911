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
    pub(super) diagnostics: Vec<PolicyDiagnostic>,
}

#[derive(Serialize)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) revision: u64,
    pub(super) policy_revision: String,
    pub(super) warnings: Vec<PolicyDiagnostic>,
}

#[derive(Serialize)]
pub(super) struct Listed {
    pub(super) documents: Vec<PolicyDocument>,
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
            diagnostics,
        }
    }

    /// What is found here.
    pub(super) fn found(file: String, checked: policy::Checked) -> Self {
        Self {
            file,
            valid: checked.is_valid(),
            policies: checked.policies.try_into().unwrap_or(u32::MAX),
            diagnostics: checked.findings.into_iter().map(Into::into).collect(),
        }
    }

    pub(super) fn text(&self) -> String {
        let verdict = if self.valid { "valid" } else { "NOT VALID" };
        let mut lines = vec![format!(
            "{}: {verdict}, {} policies",
            self.file, self.policies
        )];
        lines.extend(self.diagnostics.iter().map(|found| text(found, &self.file)));
        lines.join("\n")
    }
}

/// One finding with its place in `file`, as compilers print theirs.
pub(super) fn text(found: &PolicyDiagnostic, file: &str) -> String {
    let kind = if found.warning { "warning" } else { "error" };
    let place = match found.line {
        0 => file.to_owned(),
        line => format!("{file}:{line}:{}", found.column),
    };
    let mut text = format!("{place}: {kind}: {}", visible(&found.message));
    if !found.help.is_empty() {
        text = format!("{text}\n  help: {}", visible(&found.help));
    }
    text
}
