//! `cambist audit show`: one token's whole story.

use super::source::{Log, SourceArgs, entry, refused, sound, unread};
use super::view::{View, raw};
use crate::audit::read::Entry;
use crate::audit::{Filter, Relation, Story, story};
use crate::cli::connect::ConnectArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{fields, visible};
use crate::cli::time::relative;
use crate::cli::world::World;
use crate::proto::{self as pb, ShowRequest, ShowResponse};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

/// Tell one token's whole story
#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// The token's id, its jti
    #[arg(value_name = "JTI", allow_hyphen_values = true)]
    token: String,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Serialize)]
struct Shown<'a> {
    token_id: &'a str,
    records: Vec<Part>,
    problems: &'a [String],
    /// Whether there is more of it than these records.
    longer: bool,
}

#[derive(Serialize)]
struct Part {
    relation: &'static str,
    sequence: u64,
    record: Box<RawValue>,
}

pub(super) async fn run(
    args: ShowArgs,
    connect: &ConnectArgs,
    world: &World,
) -> Result<(), Failure> {
    let story = match args.source.open(connect).await? {
        Log::Folder(segments) => {
            story(segments, Filter::default(), u64::MAX, &args.token).map_err(unread)?
        }
        Log::Broker(client) => asked(client, &args.token).await?,
    };
    if story.records.is_empty() {
        sound(&story.problems)?;
        let what = "no such token is on the record";
        return Err(Failure::new(Exit::Refused, "not_found", what)
            .next("look for it with `cambist audit query`"));
    }
    let part = |(relation, entry): &(Relation, Entry)| {
        Some(Part {
            relation: relation.name(),
            sequence: entry.sequence,
            record: raw(entry)?,
        })
    };
    let shown = Shown {
        token_id: &args.token,
        records: story.records.iter().filter_map(part).collect(),
        problems: &story.problems,
        longer: story.longer,
    };
    let text = || text(&story, world.clock.now());
    world.output.show(&shown, text)?;
    for problem in &story.problems {
        world.output.warn(&visible(problem));
    }
    if story.longer {
        world.output.warn("there is more of it than is shown");
    }
    sound(&story.problems)
}

async fn asked(
    mut client: pb::audit_client::AuditClient<tonic::transport::Channel>,
    token: &str,
) -> Result<Story, Failure> {
    let status = |status: tonic::Status| refused(&status);
    let token_id = token.to_owned();
    let answer = client
        .show(ShowRequest { token_id })
        .await
        .map_err(status)?;
    let (mut answer, mut story) = (answer.into_inner(), Story::default());
    while let Some(message) = answer.message().await.map_err(status)? {
        let ShowResponse {
            record,
            problem,
            longer,
            ..
        } = &message;
        match (record, known(message.relation())) {
            (Some(record), Some(relation)) => {
                let entry = entry(record.clone());
                story.records.push((relation, entry));
            }
            (Some(_), None) => {}
            (None, _) if *longer => story.longer = true,
            (None, _) => story.problems.push(problem.clone()),
        }
    }
    Ok(story)
}

fn known(relation: pb::Relation) -> Option<Relation> {
    match relation {
        pb::Relation::Unspecified => None,
        pb::Relation::Ancestor => Some(Relation::Ancestor),
        pb::Relation::Token => Some(Relation::Token),
        pb::Relation::Descendant => Some(Relation::Descendant),
        pb::Relation::Refusal => Some(Relation::Refusal),
        pb::Relation::Change => Some(Relation::Change),
    }
}

/// The token's own record first, then what belongs to it, in the log's order.
fn text(story: &Story, now: Timestamp) -> String {
    let of = |wanted: Relation| {
        let its = story.records.iter();
        its.filter(move |(relation, _)| *relation == wanted)
            .map(|(_, entry)| View::of(entry))
    };
    let mut paragraphs: Vec<String> = of(Relation::Token).map(|view| own(&view, now)).collect();
    for (relation, title) in [
        (Relation::Ancestor, "made from"),
        (Relation::Descendant, "made from it"),
        (
            Relation::Refusal,
            "refused, where it or one of those was presented",
        ),
        (Relation::Change, "done to what it hangs by"),
    ] {
        let lines: Vec<String> = of(relation)
            .map(|view| format!("  {}", view.line()))
            .collect();
        if !lines.is_empty() {
            paragraphs.push(format!("{title}\n{}", lines.join("\n")));
        }
    }
    paragraphs.join("\n\n")
}

fn own(view: &View, now: Timestamp) -> String {
    let lapses = view.exp.and_then(|at| Timestamp::from_second(at).ok());
    let (subject, actor) = (&view.made_from.subject, &view.made_from.actor);
    let actor = match actor.is_empty() {
        true => String::new(),
        false => format!(" with {actor} acting"),
    };
    fields(&[
        ("token", view.jti.clone()),
        ("record", view.sequence.to_string()),
        (view.verb(), relative(view.time, now)),
        ("to", view.who().to_owned()),
        ("credential", view.credential.clone()),
        ("owner", view.owner.clone()),
        ("audience", view.audience().to_owned()),
        ("scopes", view.scopes()),
        ("lapses", relative(lapses, now)),
        ("rules", view.rules.join(", ")),
        ("signed by", view.kid.clone()),
        ("made from", format!("{subject}{actor}")),
        ("code", view.code.clone()),
        ("detail", view.detail.clone()),
    ])
}
