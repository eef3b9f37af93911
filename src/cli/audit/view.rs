//! A record for people: the part of it that says what happened, without what a terminal would obey.

use crate::audit::LocalUser;
use crate::audit::read::Entry;
use crate::cli::output::{escaped, visible};
use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const ACT: Style = AnsiColor::Yellow.on_default();
const FAINT: Style = Style::new().dimmed();

/// What is shown of a record. Where it is not as it should be, little more than its place.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct View {
    #[serde(rename = "seq")]
    pub(super) sequence: u64,
    pub(super) time: Option<Timestamp>,
    pub(super) kind: String,
    pub(super) credential: String,
    pub(super) sub: String,
    pub(super) peer_id: String,
    pub(super) owner: String,
    pub(super) jti: String,
    pub(super) kid: String,
    pub(super) exp: Option<i64>,
    pub(super) code: String,
    pub(super) detail: String,
    pub(super) action: String,
    pub(super) target: String,
    pub(super) rules: Vec<String>,
    pub(super) made_from: Presented,
    ask: Option<Reach>,
    grant: Option<Reach>,
    peer: Peer,
    refused: Vec<Group>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Presented {
    pub(super) subject: String,
    pub(super) actor: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reach {
    audience: String,
    scopes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Peer {
    address: String,
    uid: LocalUser,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Group {
    code: String,
    network: String,
    count: u64,
}

impl View {
    pub(super) const HEADER: [&'static str; 8] = [
        "SEQ", "TIME", "KIND", "WHO", "AUDIENCE", "SCOPES", "WHY", "JTI",
    ];

    pub(super) const CSV: [&'static str; 17] = [
        "sequence",
        "time",
        "kind",
        "who",
        "credential",
        "owner",
        "audience",
        "scopes",
        "code",
        "rules",
        "action",
        "target",
        "jti",
        "address",
        "detail",
        "network",
        "count",
    ];

    pub(super) fn of(entry: &Entry) -> Self {
        let unreadable = || Self {
            sequence: entry.sequence,
            detail: "not a record as this version knows them".to_owned(),
            ..Self::default()
        };
        serde_json::from_slice(&entry.line).unwrap_or_else(|_| unreadable())
    }

    pub(super) fn who(&self) -> &str {
        let names = [
            &self.sub,
            &self.credential,
            &self.peer_id,
            &self.peer.uid.0,
            &self.peer.address,
        ];
        names
            .into_iter()
            .find(|name| !name.is_empty())
            .map_or("", String::as_str)
    }

    /// What became of what was asked for.
    pub(super) fn verb(&self) -> &'static str {
        match self.kind.as_str() {
            "issue" => "issued",
            _ => "refused",
        }
    }

    /// What was granted, or else asked for.
    fn reach(&self) -> (&str, String) {
        let reach = self.grant.as_ref().or(self.ask.as_ref());
        reach.map_or(("", String::new()), |reach| {
            (&reach.audience, reach.scopes.join(" "))
        })
    }

    pub(super) fn audience(&self) -> &str {
        self.reach().0
    }

    pub(super) fn scopes(&self) -> String {
        self.reach().1
    }

    /// What decided, or what was done.
    fn why(&self) -> String {
        let groups = self.refused.iter().map(|group| {
            let Group {
                code,
                network,
                count,
            } = group;
            format!("{code} {network} x{count}")
        });
        let groups: Vec<_> = groups.collect();
        let (rules, groups) = (self.rules.join(","), groups.join(", "));
        let parts = [&self.code, &rules, &self.action, &self.target, &groups];
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).collect();
        let said: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        match said.is_empty() {
            true => self.detail.clone(),
            false => said.join(" "),
        }
    }

    fn at(&self) -> String {
        self.time.map_or_else(String::new, |at| format!("{at:.3}"))
    }

    pub(super) fn row(&self) -> Vec<String> {
        vec![
            self.sequence.to_string(),
            self.at(),
            self.kind.clone(),
            self.who().to_owned(),
            self.audience().to_owned(),
            self.scopes(),
            self.why(),
            self.jti.clone(),
        ]
    }

    /// One line, coloured where somebody sees it.
    pub(super) fn line(&self) -> String {
        let style = match self.kind.as_str() {
            "issue" => GOOD,
            "refuse" | "refusals" | "gap" => BAD,
            "admin" | "keys" => ACT,
            _ => FAINT,
        };
        let (at, kind) = (visible(&self.at()), visible(&self.kind));
        let said = [
            self.who(),
            self.audience(),
            &self.scopes(),
            &self.why(),
            &self.jti,
        ];
        let said: Vec<String> = said
            .into_iter()
            .filter(|text| !text.is_empty())
            .map(visible)
            .collect();
        let said = said.join("  ");
        format!("{FAINT}{at}{FAINT:#}  {style}{kind:<8}{style:#}  {said}")
    }

    /// A row; of a summary of refusals, one for each code and network that it counts.
    pub(super) fn csv(&self) -> String {
        match &*self.refused {
            [] => self.csv_row(&self.code, "", ""),
            groups => {
                let rows = groups.iter().map(|group| {
                    let count = group.count.to_string();
                    self.csv_row(&group.code, &group.network, &count)
                });
                rows.collect::<Vec<_>>().join("\n")
            }
        }
    }

    fn csv_row(&self, code: &str, network: &str, count: &str) -> String {
        let cells = [
            &self.sequence.to_string(),
            &self.at(),
            &self.kind,
            self.who(),
            &self.credential,
            &self.owner,
            self.audience(),
            &self.scopes(),
            code,
            &self.rules.join(" "),
            &self.action,
            &self.target,
            &self.jti,
            &self.peer.address,
            &self.detail,
            network,
            count,
        ];
        cells.map(cell).join(",")
    }
}

/// A cell as RFC 4180 has it. One that a spreadsheet would take for a formula is kept from it by an apostrophe; ids, which
/// may begin with a minus, are none.
fn cell(text: &str) -> String {
    let text = visible(text);
    let is_id = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let is_formula = !is_id && text.starts_with(['=', '+', '-', '@']);
    let guard = if is_formula { "'" } else { "" };
    let text = text.replace('"', "\"\"");
    match is_formula || text.contains([',', '"']) {
        true => format!("\"{guard}{text}\""),
        false => text,
    }
}

/// A record within another document; none where it is not JSON.
pub(super) fn raw(entry: &Entry) -> Option<Box<RawValue>> {
    serde_json::from_slice(&entry.line).ok()
}

/// A record as it stands in the log, but for what a terminal would obey.
pub(super) fn json(entry: &Entry) -> String {
    escaped(&String::from_utf8_lossy(&entry.line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Entry {
        Entry {
            sequence: 7,
            line: line.as_bytes().to_vec(),
        }
    }

    /// Whatever is in a record, a terminal is told nothing by it.
    #[test]
    fn no_control_character_of_a_record_is_printed() {
        let evil = "\u{9b}2J\u{7f}\\u001b[31m\\n\\r\\u0007";
        let of = |member: &str| format!(r#""{member}":"{evil}""#);
        let members = [
            "kind",
            "sub",
            "credential",
            "owner",
            "jti",
            "code",
            "action",
            "target",
            "detail",
        ];
        let members: Vec<_> = members.into_iter().map(of).collect();
        let line = format!(
            r#"{{"v":1,"seq":7,"time":"2027-01-15T08:00:00.000000Z",{},"rules":["{evil}"],
            "ask":{{"audience":"{evil}","scopes":["{evil}"]}},"peer":{{"address":"{evil}"}},
            "refused":[{{"code":"{evil}","network":"{evil}","count":3}}]}}"#,
            members.join(",")
        );
        let entry = entry(&line.replace('\n', " "));
        let view = View::of(&entry);
        assert_eq!(
            (view.sequence, view.kind.is_empty()),
            (7, false),
            "it is read"
        );
        let table = crate::cli::output::table(&View::HEADER, vec![view.row()], "");
        let bare = anstream::adapter::strip_str(&view.line()).to_string();
        for shown in [table.replace('\n', ""), bare, view.csv(), json(&entry)] {
            assert!(shown.contains("2J"), "{shown:?}");
            assert!(!shown.contains(char::is_control), "{shown:?}");
        }
    }

    #[test]
    fn a_cell_is_one_cell_and_no_formula() {
        for (text, expected) in [
            ("orders:read", "orders:read"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("=1+2", "\"'=1+2\""),
            ("-1+2", "\"'-1+2\""),
            ("-s8dN4cq4ZzWcBUOTL7fVw", "-s8dN4cq4ZzWcBUOTL7fVw"),
        ] {
            assert_eq!(cell(text), expected);
        }
    }

    #[test]
    fn cells_say_all_that_refusals_say() {
        let summary = r#"{"v":1,"seq":7,"kind":"refusals","refused":[
            {"code":"credential_refused","network":"192.0.2.0/24","count":3},{"code":"revoked","count":1}]}"#;
        let refusal = r#"{"v":1,"seq":8,"kind":"refuse","code":"not_authorised","detail":"CreateKey, of \"web\""}"#;
        let shown = [summary, refusal].map(|line| View::of(&entry(line)).csv());
        assert_eq!(
            shown.join("\n"),
            "7,,refusals,,,,,,credential_refused,,,,,,,192.0.2.0/24,3\n\
             7,,refusals,,,,,,revoked,,,,,,,,1\n\
             8,,refuse,,,,,,not_authorised,,,,,,\"CreateKey, of \"\"web\"\"\",,"
        );
        for row in shown[0].lines() {
            assert_eq!(row.split(',').count(), View::CSV.len());
        }
    }

    #[test]
    fn a_checkpoint_shows_what_it_is_of() {
        let line = r#"{"v":1,"seq":7,"kind":"checkpoint","action":"log.checkpoint","target":"checkpoint:6","change":{"size":6,"note":"a\nb"}}"#;
        let shown = View::of(&entry(line)).line();
        let bare = anstream::adapter::strip_str(&shown).to_string();
        assert_eq!(bare.trim(), "checkpoint  log.checkpoint checkpoint:6");
    }

    #[test]
    fn a_local_user_is_somebody() {
        let line = r#"{"v":1,"seq":7,"kind":"refuse","peer":{"uid":0}}"#;
        assert_eq!(View::of(&entry(line)).who(), "uid:0");
    }

    #[test]
    fn what_is_no_record_of_ours_still_has_its_place() {
        let view = View::of(&entry("nonsense"));
        assert_eq!(view.sequence, 7);
        assert!(view.line().contains("not a record"));
    }
}
