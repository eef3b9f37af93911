//! The command line, as the real binary against an administrative face on a Unix socket.

use crate::support::admin::{Admin, SECRET};
use crate::support::command::{Ran, cambist};
use tempfile::TempDir;

mod answers;
mod key;
mod line;
mod run;
mod scan;

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
    // {"sub":"a<CSI>2J"}, with the one-character form of what begins a terminal's commands.
    let hostile = "e30.eyJzdWIiOiJhwpsySiJ9.".as_bytes();
    for more in [&[][..], &["--json"]] {
        let ran = cambist(&[&["jwt", "inspect"], more].concat(), &[], hostile).await;
        assert!(ran.stdout.contains("a\\u009b2J"), "{ran:?}");
    }
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
