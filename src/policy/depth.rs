//! How deep a policy's text may go, told before Cedar reads it.
//!
//! Cedar's parser, validator and printer go down into an expression by recursion, and a text that is deep enough
//! runs a thread out of stack, which no caller can catch: the broker would be gone. So texts are scanned first,
//! in one pass without recursion, and the reading itself has a stack that is large enough for what passes.

use crate::limits;

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooDeep {
    /// Where the bound was passed, as an offset in bytes.
    pub(super) at: usize,
    /// What there is too much of.
    pub(super) what: What,
}

/// What makes a policy deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Brackets within brackets.
    Brackets,
    /// Operators, indices and conditions in one policy, of which each may be an operand of the next.
    Operators,
}

impl What {
    pub(super) fn message(self) -> String {
        match self {
            Self::Brackets => format!(
                "brackets are nested more than {} deep",
                limits::POLICY_NESTING
            ),
            Self::Operators => format!(
                "a policy has more than {} operators, indices and conditions; split it into several",
                limits::POLICY_OPERATORS
            ),
        }
    }
}

/// Does something that goes down into a policy that passed [`check`], with the stack for it.
pub(super) fn with_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::grow(limits::POLICY_STACK, work)
}

/// Looks at a text's brackets and operators, outside of strings and comments.
pub(super) fn check(text: &str) -> Result<(), TooDeep> {
    let mut nesting = 0_usize;
    let mut operators = 0_usize;
    let mut rest = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = rest.next() {
        match byte {
            b'"' => {
                while let Some((_, byte)) = rest.next() {
                    match byte {
                        b'\\' => drop(rest.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'/' if rest.peek().is_some_and(|(_, next)| *next == b'/') => {
                while rest.next_if(|(_, byte)| *byte != b'\n').is_some() {}
            }
            b'(' | b'{' => nesting = nesting.saturating_add(1),
            b'[' => {
                nesting = nesting.saturating_add(1);
                // An index, of which each may be taken of the one before.
                operators = operators.saturating_add(1);
            }
            b')' | b']' | b'}' => nesting = nesting.saturating_sub(1),
            b';' if nesting == 0 => operators = 0,
            b'!' | b'&' | b'|' | b'=' | b'<' | b'>' | b'+' | b'-' | b'*' | b'.' | b'%' | b'/' => {
                operators = operators.saturating_add(1);
                // Those of two characters are one.
                let _ = rest.next_if(|(_, next)| matches!(next, b'&' | b'|' | b'='));
            }
            _ if is_word(byte) => {
                let mut end = at.saturating_add(1);
                while rest.next_if(|(_, byte)| is_word(*byte)).is_some() {
                    end = end.saturating_add(1);
                }
                // Conditions are operands of an `&&` that nobody wrote.
                let word = text.get(at..end).unwrap_or_default();
                if ["if", "in", "is", "has", "like", "when", "unless"].contains(&word) {
                    operators = operators.saturating_add(1);
                }
            }
            _ => {}
        }
        if nesting > limits::POLICY_NESTING {
            let what = What::Brackets;
            return Err(TooDeep { at, what });
        }
        if operators > limits::POLICY_OPERATORS {
            let what = What::Operators;
            return Err(TooDeep { at, what });
        }
    }
    Ok(())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::super::testing::{key_input, snapshot};
    use super::*;

    fn policy(condition: &str) -> String {
        format!("permit(principal, action, resource) when {{ {condition} }};")
    }

    #[test]
    fn strings_and_comments_do_not_count() {
        let brackets = "(".repeat(limits::POLICY_NESTING + 1);
        for text in [
            format!("// {brackets}\n"),
            format!("@id(\"{brackets}\")"),
            format!("@id(\"\\\"{brackets}\")"),
        ] {
            assert_eq!(check(&text), Ok(()), "{text}");
        }
        assert!(check(&format!("\"\\\\\" {brackets}")).is_err());
        assert!(check(&format!("// remark\n{brackets}")).is_err());
        assert!(check("\"").is_ok() && check("\"\\").is_ok() && check("/").is_ok());
    }

    #[test]
    fn each_policy_counts_for_itself() {
        let text = policy("context.lifetime > 0 && context.bound").repeat(1000);
        assert_eq!(check(&text), Ok(()));
        // But a `;` inside brackets ends nothing.
        let what = What::Operators;
        let text = format!("({}", "+ ;".repeat(limits::POLICY_OPERATORS + 1));
        assert_eq!(check(&text).map_err(|deep| deep.what), Err(what));
    }

    /// Shapes that grow a policy's depth, each just within both bounds.
    fn deepest() -> Vec<String> {
        let operators = limits::POLICY_OPERATORS;
        // One pair of brackets is the scope's or the condition's own; `{n}` brackets nest inside it.
        let brackets = limits::POLICY_NESTING - 1;
        // An odd number of negations would be a policy that never applies.
        let even = brackets / 2 * 2;
        let times = |text: &str, n: usize| text.repeat(n);
        vec![
            times("context.bound && ", operators / 2 - 1) + "context.bound",
            times("context.bound || ", operators / 2 - 1) + "context.bound",
            format!("1{} > 0", times(" + 1", operators - 2)),
            format!("1{} > 0", times(" - 1", operators - 2)),
            format!("1{} > 0", times(" * 1", operators - 2)),
            times("context.bound } when { ", operators / 2 - 1) + "context.bound",
            times("if context.bound then ", operators / 4)
                + "true"
                + &times(" else context.bound", operators / 4),
            format!(
                "{}context.bound{}",
                times("(", brackets),
                times(")", brackets)
            ),
            format!("{}true{}", times("!(", even), times(")", even)),
            format!(
                "{}1{}{} == 1",
                times("{a: ", brackets),
                times("}", brackets),
                times(".a", brackets)
            ),
        ]
    }

    #[test]
    fn what_passes_is_read_decided_explained_and_dropped_on_a_common_stack() {
        // 2 MiB: what threads have by default, the runtime's workers too.
        let worker = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
        let work = || {
            for condition in deepest() {
                let text = policy(&condition);
                assert_eq!(check(&text), Ok(()), "{condition}");
                let findings = super::super::check(&text).findings;
                assert!(findings.is_empty(), "{condition}: {findings:?}");
                let snapshot = snapshot(&text);
                let decision = snapshot.decide(key_input());
                let explanation = snapshot.explain(&key_input());
                assert_eq!(explanation.allowed, decision.outcome.is_ok(), "{condition}");
            }
            // What the schema refuses is read and dropped as well.
            let indices = r#"["a"]"#.repeat(limits::POLICY_OPERATORS - 1);
            let refused = super::super::check(&policy(&format!("context{indices}")));
            assert!(!refused.is_valid());
        };
        worker.spawn(work).unwrap().join().unwrap();
    }

    #[test]
    fn the_bounds_hold_at_n_and_n_plus_one() {
        let brackets = |n: usize| policy(&format!("{}true{}", "(".repeat(n), ")".repeat(n)));
        let operators = |n: usize| policy(&format!("1{} > 0", " + 1".repeat(n)));
        let indices = |n: usize| policy(&format!("context{}", r#"["a"]"#.repeat(n)));
        let conditions = |n: usize| policy(&format!("true{}", " } unless { true".repeat(n)));
        let what = |text: String| check(&text).map_err(|deep| deep.what);
        assert_eq!(what(brackets(limits::POLICY_NESTING - 1)), Ok(()));
        let over = what(brackets(limits::POLICY_NESTING));
        assert_eq!(over, Err(What::Brackets));
        // `when` is one, and so is `>`.
        assert_eq!(what(operators(limits::POLICY_OPERATORS - 2)), Ok(()));
        assert_eq!(what(indices(limits::POLICY_OPERATORS - 1)), Ok(()));
        assert_eq!(what(conditions(limits::POLICY_OPERATORS - 1)), Ok(()));
        for over in [
            operators(limits::POLICY_OPERATORS - 1),
            indices(limits::POLICY_OPERATORS),
            conditions(limits::POLICY_OPERATORS),
        ] {
            assert_eq!(what(over), Err(What::Operators));
        }
        for text in [
            brackets(100_000),
            operators(100_000),
            indices(100_000),
            conditions(100_000),
        ] {
            let findings = super::super::check(&text).findings;
            assert_eq!(findings.len(), 1);
            assert!(
                !findings[0].warning && findings[0].column > 1,
                "{findings:?}"
            );
        }
    }
}
