//! What the broker answers, at its largest and at its worst.

use super::Scene;
use cambist::limits;
use cambist::proto::{ListPoliciesResponse, PolicyDocument};
use cambist::refusal::Fault;
use prost::Message as _;
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A document that is answered in a message of this many bytes.
fn document(bytes: usize) -> PolicyDocument {
    let mut document = PolicyDocument {
        name: "shop".to_owned(),
        revision: 1,
        text: "a".repeat(bytes),
        ..PolicyDocument::default()
    };
    let answer = |document: &PolicyDocument| ListPoliciesResponse {
        documents: vec![document.clone()],
        policy_revision: "p-1".to_owned(),
        ..ListPoliciesResponse::default()
    };
    let over = answer(&document).encoded_len() - bytes;
    document.text.truncate(bytes - over);
    assert_eq!(answer(&document).encoded_len(), bytes);
    document
}

#[tokio::test]
async fn an_answer_is_taken_up_to_its_bound() {
    let scene = Scene::new();
    for (bytes, code) in [(limits::ADMIN_ANSWER, 0), (limits::ADMIN_ANSWER + 1, 1)] {
        let document = document(bytes);
        scene
            .admin
            .with(|state| state.documents.insert("shop".to_owned(), document));
        let ran = scene.run(&["policy", "list"]).await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
    }
}

#[tokio::test]
async fn a_fault_of_unknown_outcome_keeps_its_own_advice() {
    let scene = Scene::new();
    let fault = Fault::LogUnavailable;
    let details = ErrorDetails::with_error_info(fault.code(), "cambist", HashMap::new());
    let status = Status::with_error_details(Code::Unavailable, fault.text(), details);
    scene.admin.with(|state| state.next_write = Some(status));
    let ran = scene.create(&["--json"]).await;
    let error = ran.error();
    assert_eq!((ran.code, &error["code"]), (Some(1), &fault.code().into()));
    let help = error["help"].as_str().unwrap();
    assert!(help.contains("the broker's log"), "{help}");
    assert!(help.contains("repeat it with --idempotency-key"), "{help}");
}
