//! `cambist policy`: who may exchange what for which audience, and why (not).

mod explain;
mod view;

use super::connect::{ConnectArgs, Connection};
use super::exit::Exit;
use super::failure::Failure;
use super::input::Source;
use super::key::WriteArgs;
use super::output::{table, visible};
use super::page;
use super::world::World;
use crate::limits;
use crate::policy;
use crate::proto::{
    CheckPoliciesRequest, DeletePoliciesRequest, ListPoliciesRequest, ListPoliciesResponse,
    PolicyDocument, PutPoliciesRequest,
};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use view::{Checked, CheckedFile, Deleted, Listed, Written};

/// Policies: who may exchange what for which audience
#[derive(Args, Debug)]
pub struct PolicyArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Say what is wrong with Cedar files, without loading them; exits with 3 if anything is. Asks the broker, where
    /// one is named, and otherwise decides here
    Check {
        /// Cedar files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Say what would be decided for an exchange, and why; exits with 3 if it would be refused
    Explain(explain::ExplainArgs),
    /// Write a document of policies
    Put {
        /// The document's name
        name: String,
        /// The file with the Cedar text, or - for standard input
        #[arg(value_name = "FILE")]
        file: Source,
        /// Write over the document of this name
        #[arg(long, conflicts_with = "revision")]
        replace: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// List documents of policies; with --json, their text as well
    List,
    /// Take a document of policies away
    Delete {
        /// The document's name
        name: String,
        #[command(flatten)]
        write: WriteArgs,
    },
}

page::page!(ListPoliciesResponse, documents, PolicyDocument);

pub(super) async fn run(args: PolicyArgs, world: &World) -> Result<(), Failure> {
    let connect = args.connect;
    match args.command {
        PolicyCommand::Check { files } => check(files, &connect, world).await,
        PolicyCommand::Explain(args) => explain::run(args, &connect, world).await,
        PolicyCommand::Put {
            name,
            file,
            replace,
            write,
        } => put(name, &file, replace, write, &connect, world).await,
        PolicyCommand::List => list(&connect, world).await,
        PolicyCommand::Delete { name, write } => delete(name, write, &connect, world).await,
    }
}

async fn check(files: Vec<PathBuf>, connect: &ConnectArgs, world: &World) -> Result<(), Failure> {
    let mut texts = Vec::new();
    for path in files {
        let source = Source::File(path);
        texts.push((source.name(), source.text(limits::POLICY_DOCUMENT)?));
    }
    let mut broker = match connect.names_a_broker()? {
        true => Some(connect.connect().await?.policies()),
        false => None,
    };
    let mut checked = Checked {
        valid: true,
        files: Vec::new(),
    };
    for (file, text) in texts {
        let found = match &mut broker {
            Some(client) => {
                let answer = client.check_policies(CheckPoliciesRequest { text }).await;
                let answer = answer.map_err(|status| Failure::from_status(&status))?;
                CheckedFile::answered(file, answer.into_inner())
            }
            None => CheckedFile::found(file, policy::check(&text)),
        };
        checked.valid &= found.valid;
        checked.files.push(found);
    }
    world.output.show(&checked, || {
        let lines: Vec<String> = checked.files.iter().map(CheckedFile::text).collect();
        lines.join("\n")
    })?;
    if checked.valid {
        return Ok(());
    }
    let invalid = checked.files.iter().filter(|file| !file.valid).count();
    let what = format!(
        "the broker would refuse {invalid} of {} files",
        checked.files.len()
    );
    Err(Failure::new(Exit::Refused, "policies_not_valid", what))
}

async fn put(
    name: String,
    file: &Source,
    replace: bool,
    write: WriteArgs,
    connect: &ConnectArgs,
    world: &World,
) -> Result<(), Failure> {
    let text = file.text(limits::POLICY_DOCUMENT)?;
    let idempotency_key = world.idempotency_key(write.idempotency_key.as_deref())?;
    let connection = connect.connect().await?;
    let expected_revision = match write.revision {
        Some(revision) => revision,
        None if replace => current(&connection, &name).await?,
        None => 0,
    };
    let request = PutPoliciesRequest {
        name,
        text,
        idempotency_key: idempotency_key.clone(),
        expected_revision,
    };
    let answer = connection.policies().put_policies(request).await;
    let answer = answer
        .map_err(|status| Connection::unsure(&status, &idempotency_key))?
        .into_inner();
    let document = answer.document.unwrap_or_default();
    let written = Written {
        name: document.name,
        revision: document.revision,
        policy_revision: answer.policy_revision,
        warnings: answer.warnings,
    };
    for warning in &written.warnings {
        world.output.warn(&view::text(warning, &file.name()));
    }
    world.output.show(&written, || {
        let (name, revision) = (visible(&written.name), &written.policy_revision);
        format!("The policies of {name} are in force as of revision {revision}.")
    })
}

async fn list(connect: &ConnectArgs, world: &World) -> Result<(), Failure> {
    let connection = connect.connect().await?;
    let documents = documents(&connection).await?;
    let listed = Listed { documents };
    world.output.show(&listed, || {
        let row = |document: &PolicyDocument| {
            let origin = if document.from_configuration {
                "configuration"
            } else {
                "api"
            };
            let revision = document.revision.to_string();
            vec![
                document.name.clone(),
                origin.to_owned(),
                revision,
                document.text.len().to_string(),
            ]
        };
        let rows = listed.documents.iter().map(row).collect();
        table(
            &["NAME", "FROM", "REVISION", "BYTES"],
            rows,
            "There are no policies.",
        )
    })
}

async fn delete(
    name: String,
    write: WriteArgs,
    connect: &ConnectArgs,
    world: &World,
) -> Result<(), Failure> {
    let idempotency_key = world.idempotency_key(write.idempotency_key.as_deref())?;
    let connection = connect.connect().await?;
    let request = DeletePoliciesRequest {
        name: name.clone(),
        idempotency_key: idempotency_key.clone(),
        expected_revision: write.expected(),
    };
    let answer = connection.policies().delete_policies(request).await;
    let answer = answer.map_err(|status| Connection::unsure(&status, &idempotency_key))?;
    let deleted = Deleted {
        deleted: name,
        policy_revision: answer.into_inner().policy_revision,
    };
    world.output.show(&deleted, || {
        format!("The policies of {} are gone.", visible(&deleted.deleted))
    })
}

async fn documents(connection: &Connection) -> Result<Vec<PolicyDocument>, Failure> {
    page::all(async |page_token| {
        let request = ListPoliciesRequest {
            page_size: u32::try_from(limits::PAGE).unwrap_or_default(),
            page_token,
        };
        connection.policies().list_policies(request).await
    })
    .await
}

/// The revision that the document of this name is at.
async fn current(connection: &Connection, name: &str) -> Result<u64, Failure> {
    let found = documents(connection)
        .await?
        .into_iter()
        .find(|document| document.name == name);
    found.map(|document| document.revision).ok_or_else(|| {
        Failure::new(
            Exit::Refused,
            "not_found",
            "there is no document of policies of this name",
        )
        .next("check the name with `cambist policy list`")
    })
}
