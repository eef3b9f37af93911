//! Names inside policies: a literal that no principal or audience can ever have is a misspelt rule.

use crate::id::{Audience, KeyPublicId, Owner, SpiffeId, Tenant, TrustDomain};
use cedar_policy::EntityUid;

/// Why no entity can have this id, if so.
pub(super) fn impossible(literal: &EntityUid) -> Option<String> {
    let id = literal.id().unescaped();
    let problem = match literal.type_name().basename() {
        "ApiKey" => KeyPublicId::parse(id).err().map(|e| e.to_string()),
        "Workload" => SpiffeId::parse(id).err().map(|e| e.to_string()),
        "TrustDomain" => TrustDomain::parse(id).err().map(|e| e.to_string()),
        "Owner" => Owner::parse(id).err().map(|e| e.to_string()),
        "Tenant" => Tenant::parse(id).err().map(|e| e.to_string()),
        "Audience" => Audience::parse(id).err().map(|e| e.to_string()),
        // Actions and unknown types are the validator's.
        _ => None,
    };
    problem.map(|problem| format!("nothing can be named `{literal}`: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nothing_can_have_are_found() {
        for (literal, possible) in [
            (r#"TrustDomain::"example.org""#, true),
            (r#"TrustDomain::"Example.org""#, false),
            (r#"TrustDomain::"spiffe://example.org""#, false),
            (r#"Workload::"spiffe://example.org/web""#, true),
            (r#"Workload::"spiffe://example.org/*""#, false),
            (r#"Workload::"/web""#, false),
            (r#"ApiKey::"aaaaaaaaaaaaaaaa""#, true),
            (r#"ApiKey::"cmb_aaaaaaaaaaaaaaaa""#, false),
            (r#"Owner::"team shop""#, false),
            (r#"Audience::"https://shop.example.org/""#, true),
            (r#"Audience::"""#, false),
            (r#"Tenant::"acme""#, true),
            (r#"Action::"exchange""#, true),
        ] {
            let literal: EntityUid = literal.parse().unwrap();
            assert_eq!(impossible(&literal).is_none(), possible, "{literal}");
        }
    }
}
