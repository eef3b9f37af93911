//! The command line, as the real binary against an administrative face on a Unix socket.

use crate::support::admin::{Admin, SECRET, refuse};
use crate::support::command::{Ran, cambist};
use cambist::refusal::Code;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::TempDir;

struct Scene {
    admin: Admin,
    server: String,
    directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let admin = Admin::default();
        let server = admin.serve(directory.path());
        Self {
            admin,
            server,
            directory,
        }
    }

    async fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, b"").await
    }

    async fn run_with(&self, args: &[&str], stdin: &[u8]) -> Ran {
        cambist(args, &[("CAMBIST_SERVER", &self.server)], stdin).await
    }

    fn path(&self, name: &str) -> String {
        self.directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    }

    async fn create(&self, more: &[&str]) -> Ran {
        self.run(&[&CREATE[..], more].concat()).await
    }
}

const CREATE: [&str; 11] = [
    "key",
    "create",
    "--owner",
    "team-shop",
    "--purpose",
    "Deploy the shop",
    "--audience",
    "shop",
    "--no-scope",
    "--expires",
    "30d",
];
const FIRST: &str = "0000000000000001";

#[tokio::test]
async fn a_new_keys_secret_stands_alone_on_standard_output() {
    let scene = Scene::new();
    let ran = scene.create(&[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout, format!("{SECRET}\n"));
    assert!(
        ran.stderr.contains("team-shop") && ran.stderr.contains("(in 29d)"),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains(SECRET));
    assert!(
        !ran.stderr.contains('\u{1b}'),
        "no colours without a terminal: {ran:?}"
    );
}

#[tokio::test]
async fn a_new_key_is_one_document_with_json() {
    let scene = Scene::new();
    let ran = scene
        .create(&[
            "--json",
            "--uses",
            "3",
            "--network",
            "10.0.0.0/8",
            "--label",
            "env=prod",
        ])
        .await;
    let document = ran.json();
    assert_eq!(document["version"], 1);
    assert_eq!(document["secret"], SECRET);
    assert_eq!(document["key"]["id"], FIRST);
    assert_eq!(document["key"]["uses"], 3);
    assert_eq!(document["key"]["labels"]["env"], "prod");
    assert_eq!(ran.stderr, "");
}

#[tokio::test]
async fn a_secret_file_is_new_and_nobody_elses() {
    let scene = Scene::new();
    let out = scene.path("key");
    let ran = scene.create(&["--out", &out]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!format!("{ran:?}").contains(SECRET));
    assert_eq!(
        std::fs::read_to_string(&out).unwrap(),
        format!("{SECRET}\n")
    );
    let mode = std::fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = scene.create(&["--out", &out]).await;
    assert_eq!(again.code, Some(2), "{again:?}");
    assert_eq!(
        scene.admin.with(|state| state.keys.len()),
        1,
        "no key without a place for it"
    );

    let denied = refuse(tonic::Code::PermissionDenied, Code::NotAuthorised);
    scene.admin.with(|state| state.next_write = Some(denied));
    let other = scene.path("other");
    let ran = scene.create(&["--out", &other]).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(!Path::new(&other).exists());
}

#[tokio::test]
async fn a_repeated_create_never_shows_the_secret_again() {
    let scene = Scene::new();
    let repeat = ["--idempotency-key", "deploy-17", "--json"];
    assert_eq!(scene.create(&repeat).await.code, Some(0));
    let ran = scene.create(&repeat).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""));
    assert_eq!(ran.error()["code"], "already_delivered");
}

#[tokio::test]
async fn an_unknown_outcome_says_how_to_find_out() {
    let scene = Scene::new();
    let gone = tonic::Status::unavailable("gone");
    scene.admin.with(|state| state.next_write = Some(gone));
    let ran = scene.create(&["--json"]).await;
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let name = scene.admin.with(|state| state.idempotency_keys[0].clone());
    let help = ran.error()["help"].as_str().unwrap().to_owned();
    assert!(
        help.contains(&format!("--idempotency-key {name}")),
        "{help}"
    );
}

#[tokio::test]
async fn lists_are_shown_whole_whatever_the_pages() {
    let scene = Scene::new();
    let ran = scene.run(&["key", "list"]).await;
    assert_eq!(ran.stdout, "There are no keys.\n");
    for _ in 0..5 {
        scene.create(&[]).await;
    }
    let ran = scene.run(&["key", "list"]).await;
    for number in 1..=5 {
        assert!(ran.stdout.contains(&format!("{number:016}")), "{ran:?}");
    }
    let ran = scene.run(&["--json", "key", "list"]).await;
    assert_eq!(ran.json()["keys"].as_array().unwrap().len(), 5);
    let ran = scene.run(&["signing-key", "list", "--json"]).await;
    assert_eq!(ran.json()["signing_keys"][1]["kid"], "kid-2");

    scene.admin.with(|state| state.endless = true);
    let ran = scene.run(&["key", "list"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

#[tokio::test]
async fn a_key_is_stopped_even_while_it_changes() {
    let scene = Scene::new();
    scene.create(&[]).await;
    for (verb, state) in [
        ("suspend", "suspended"),
        ("resume", "active"),
        ("revoke", "revoked"),
    ] {
        scene.admin.with(|state| state.race = true);
        let ran = scene
            .run(&["key", verb, FIRST, "--reason", "leaked", "--json"])
            .await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.json()["key"]["state"], state);
    }
    let ran = scene
        .run(&["key", "revoke", FIRST, "--reason", "leaked", "--json"])
        .await;
    assert_eq!(ran.json()["revision"], "r-17");
    // A revision that the caller insists on is never replaced by another.
    let ran = scene
        .run(&[
            "key",
            "revoke",
            FIRST,
            "--reason",
            "x",
            "--revision",
            "1",
            "--json",
        ])
        .await;
    assert_eq!(
        (ran.code, ran.error()["code"].as_str()),
        (Some(3), Some("conflict"))
    );
}

#[tokio::test]
async fn a_rotated_key_delivers_its_successors_secret() {
    let scene = Scene::new();
    scene.create(&[]).await;
    let ran = scene
        .run(&["key", "rotate", FIRST, "--overlap", "1h"])
        .await;
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("{SECRET}\n")));
}

#[tokio::test]
async fn refusals_say_what_why_and_what_next() {
    let scene = Scene::new();
    let ran = scene.run(&["key", "show", FIRST]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""));
    assert!(
        ran.stderr
            .starts_with("error: refused: there is no such thing\n"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("\n  next: "), "{ran:?}");
    let ran = scene.run(&["key", "show", FIRST, "--json"]).await;
    let error = ran.error();
    assert_eq!(
        (error["code"].as_str(), error["exit"].as_i64()),
        (Some("not_found"), Some(3))
    );
}

#[tokio::test]
async fn a_whole_key_given_as_id_is_not_repeated() {
    let scene = Scene::new();
    let ran = scene.run(&["key", "show", SECRET]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(!format!("{ran:?}").contains(SECRET));
}

#[tokio::test]
async fn what_a_terminal_would_obey_is_not_printed() {
    let scene = Scene::new();
    scene.create(&[]).await;
    scene.admin.with(|state| {
        let key = state.keys.get_mut(FIRST).unwrap();
        key.spec.as_mut().unwrap().purpose = "a\u{1b}[2Jb".to_owned();
    });
    for verb in ["list", "show"] {
        let args: &[&str] = if verb == "list" {
            &["key", "list"]
        } else {
            &["key", "show", FIRST]
        };
        let ran = scene.run(args).await;
        assert!(ran.stdout.contains("a\u{fffd}[2Jb"), "{ran:?}");
    }
}

#[tokio::test]
async fn wrong_command_lines_exit_with_two() {
    let scene = Scene::new();
    let without = |flag: &str| -> Vec<&str> {
        let at = CREATE.iter().position(|arg| *arg == flag).unwrap();
        let width = if flag == "--no-scope" { 1 } else { 2 };
        [&CREATE[..at], &CREATE[at + width..]].concat()
    };
    for flag in [
        "--owner",
        "--purpose",
        "--audience",
        "--no-scope",
        "--expires",
    ] {
        let ran = scene.run(&without(flag)).await;
        assert_eq!(ran.code, Some(2), "{flag}: {ran:?}");
    }
    let past = [
        &without("--expires")[..],
        &["--expires", "2001-01-01T00:00:00Z"],
    ]
    .concat();
    for args in [
        &past[..],
        &["key"],
        &["frobnicate"],
        &["backup", "relative"],
    ] {
        let ran = scene.run(args).await;
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:?}");
    }
    let ran = scene.run(&["--json", "key", "show"]).await;
    assert_eq!(
        (ran.code, ran.error()["code"].as_str()),
        (Some(2), Some("usage"))
    );
    assert_eq!(scene.admin.with(|state| state.idempotency_keys.len()), 0);
    assert_eq!(scene.run(&["--help"]).await.code, Some(0));
}

#[tokio::test]
async fn audiences_are_put_shown_and_deleted() {
    let scene = Scene::new();
    let put = [
        "audience",
        "put",
        "shop",
        "--owner",
        "team-shop",
        "--scope",
        "read",
        "--max-lifetime",
        "10m",
        "--json",
    ];
    let ran = scene.run(&put).await;
    assert_eq!(ran.json()["audience"]["max_lifetime_seconds"], 600);
    let ran = scene.run(&put).await;
    assert_eq!(
        (ran.code, ran.error()["code"].as_str()),
        (Some(3), Some("conflict"))
    );
    let ran = scene.run(&[&put[..], &["--replace"]].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = scene.run(&["audience", "show", "shop"]).await;
    assert!(ran.stdout.contains("10m"), "{ran:?}");
    let ran = scene.run(&["audience", "list", "--json"]).await;
    assert_eq!(ran.json()["audiences"][0]["name"], "shop");
    assert_eq!(
        scene.run(&["audience", "delete", "shop"]).await.code,
        Some(0)
    );
    assert_eq!(
        scene.run(&["audience", "delete", "shop"]).await.code,
        Some(3)
    );
}

#[tokio::test]
async fn policies_are_checked_put_and_explained() {
    let scene = Scene::new();
    let (good, bad) = (scene.path("good.cedar"), scene.path("bad.cedar"));
    std::fs::write(&good, "permit(principal, action, resource);").unwrap();
    std::fs::write(&bad, "wrong").unwrap();
    assert_eq!(scene.run(&["policy", "check", &good]).await.code, Some(0));
    let ran = scene.run(&["policy", "check", &good, &bad]).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(
        ran.stdout
            .contains(&format!("{bad}:3:7: error: no such attribute")),
        "{ran:?}"
    );
    let ran = scene
        .run(&["policy", "check", &scene.path("absent.cedar")])
        .await;
    assert_eq!(ran.code, Some(2), "{ran:?}");

    let ran = scene
        .run_with(
            &["policy", "put", "shop", "-"],
            b"permit(principal, action, resource);",
        )
        .await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        scene.run(&["policy", "put", "shop", &good]).await.code,
        Some(3)
    );
    assert_eq!(
        scene
            .run(&["policy", "put", "shop", &good, "--replace"])
            .await
            .code,
        Some(0)
    );
    let ran = scene.run(&["policy", "list", "--json"]).await;
    assert_eq!(ran.json()["documents"][0]["name"], "shop");
    assert_eq!(scene.run(&["policy", "delete", "shop"]).await.code, Some(0));
    assert_eq!(scene.run(&["policy", "delete", "shop"]).await.code, Some(3));

    let ran = scene
        .run(&["policy", "explain", "--key-id", FIRST, "--audience", "shop"])
        .await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("15m"), "{ran:?}");
    let ran = scene
        .run(&[
            "policy",
            "explain",
            "--key-id",
            FIRST,
            "--audience",
            "bank",
            "--json",
        ])
        .await;
    assert_eq!(
        (ran.code, ran.error()["code"].as_str()),
        (Some(3), Some("policy_denied"))
    );
    assert_eq!(ran.json()["failed"][0]["rule"], "shop-only");
    let ran = scene
        .run(&[
            "policy",
            "explain",
            "--key-id",
            SECRET,
            "--audience",
            "shop",
        ])
        .await;
    assert_eq!(ran.code, Some(2));
    assert!(!format!("{ran:?}").contains(SECRET));
}

#[tokio::test]
async fn the_operators_verbs_answer() {
    let scene = Scene::new();
    let ran = scene.run(&["backup", "/backups/store.db", "--json"]).await;
    assert_eq!(
        (
            ran.json()["revision"].as_str(),
            ran.json()["bytes"].as_u64()
        ),
        (Some("r-9"), Some(4096))
    );
    let ran = scene.run(&["clock", "confirm", "--json"]).await;
    assert_eq!(ran.json()["now"], "2001-09-09T01:46:40Z");
    let ran = scene
        .run(&[
            "signing-key",
            "rotate",
            "--compromised",
            "kid-1",
            "--reason",
            "leaked",
            "--json",
        ])
        .await;
    assert_eq!(ran.json()["signing_keys"][0]["state"], "compromised");
}

#[tokio::test]
async fn inspecting_a_token_says_loudly_that_nothing_was_verified() {
    // {"alg":"none"}.{"exp":1000000000,"sub":"a"}
    let token = b"eyJhbGciOiJub25lIn0.eyJleHAiOjEwMDAwMDAwMDAsInN1YiI6ImEifQ.\n";
    let ran = cambist(&["jwt", "inspect"], &[], token).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("NOT VERIFIED"), "{ran:?}");
    assert!(
        ran.stdout.contains("expires: 2001-09-09T01:46:40Z"),
        "{ran:?}"
    );
    let ran = cambist(&["jwt", "inspect", "--json", "-"], &[], token).await;
    assert_eq!(ran.json()["verified"], false);
    assert_eq!(ran.json()["claims"]["sub"], "a");
    for garbage in [
        &b"secret"[..],
        &vec![b'a'; cambist::limits::TOKEN + 1],
        b"\xff",
    ] {
        let ran = cambist(&["jwt", "inspect", "-"], &[], garbage).await;
        assert_eq!(ran.code, Some(2));
        assert!(!ran.stderr.contains("secret"), "{ran:?}");
    }
}

#[tokio::test]
async fn check_config_names_file_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cambist.toml");
    let file = file.to_str().unwrap();
    std::fs::write(
        file,
        "issuer = \"https://a\"\nnode = \"n\"\ndatta = \"d\"\n",
    )
    .unwrap();
    let ran = cambist(&["check-config", file], &[], b"").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(78), ""));
    assert!(
        ran.stderr.contains(&format!(
            "{file}:3:1: datta: there is no such key\n  help: did you mean `data`"
        )),
        "{ran:?}"
    );
    let ran = cambist(&["check-config", file, "--json"], &[], b"").await;
    assert_eq!(
        (ran.code, ran.error()["code"].as_str()),
        (Some(78), Some("configuration"))
    );
    let problems = ran.error()["problems"].as_array().unwrap().clone();
    assert!(
        problems
            .iter()
            .any(|problem| problem["line"] == 3 && problem["key"] == "datta")
    );

    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/minimal.toml");
    let ran = cambist(&["check-config", "--without-files", sample], &[], b"").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = cambist(&["check-config", "/nowhere.toml"], &[], b"").await;
    assert_eq!(ran.code, Some(78), "{ran:?}");
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = cambist(&["completions", shell], &[], b"").await;
        assert_eq!(ran.code, Some(0));
        assert!(ran.stdout.contains("signing-key"), "{shell}");
    }
}
