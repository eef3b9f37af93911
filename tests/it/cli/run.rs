//! `cambist run`: whose the signals are, and what is told while the command runs.

use crate::support::standin::Standin;
use crate::support::terminal::Terminal;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, read_to_string};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a socket, a key, and whatever the command writes.
struct Scene {
    folder: TempDir,
    standin: Standin,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "a key").unwrap();
        Self {
            folder,
            standin: Standin::default(),
        }
    }

    fn bind(&self) -> UnixListener {
        UnixListener::bind(self.path("socket")).unwrap()
    }

    fn listen(&self) -> AbortOnDropHandle<()> {
        self.standin.listen_unix(self.bind())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `words` and then `cambist run` with a shell script for its command, in a process group of its own.
    fn run(&self, words: &[&str], options: &[&str], script: &str) -> Command {
        let line = [
            words,
            &[env!("CARGO_BIN_EXE_cambist"), "run", "--audience", "shop"],
            &["--key-file", "key"],
            options,
            &["--", "/bin/sh", "-c", script],
        ]
        .concat();
        let mut command = Command::new(line[0]);
        command
            .args(&line[1..])
            .current_dir(self.folder.path())
            .env(
                "CAMBIST_SERVER",
                format!("unix://{}", self.path("socket").display()),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.path("stderr")).unwrap())
            .kill_on_drop(true);
        command
    }

    /// Waits until a file that the command writes says this.
    async fn says(&self, name: &str, what: &str) {
        let path = self.path(name);
        let said = || read_to_string(&path).is_ok_and(|text| text.contains(what));
        let waiting = async {
            while !said() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let said = timeout(PATIENCE, waiting).await;
        let stderr = read_to_string(self.path("stderr"));
        assert!(said.is_ok(), "{name} never says {what}: {stderr:?}");
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    kill_process(pid.and_then(Pid::from_raw).unwrap(), signal).unwrap();
}

async fn code(mut child: Child) -> Option<i32> {
    let ended = timeout(PATIENCE, child.wait()).await;
    ended.expect("it goes on").unwrap().code()
}

/// Notes the signals that come, without a pause in which two would become one.
const NOTES: &str = "
    trap 'echo INT >> out' INT
    trap 'echo USR1 >> out' USR1
    trap 'exit 0' TERM
    : > out
    echo yes > started
    while :; do :; done
";

#[tokio::test]
async fn a_signal_before_there_is_a_token_ends_it_and_nothing_is_run() {
    let scene = Scene::new();
    let silent = scene.bind();
    let running = scene.run(&[], &[], ": > started").spawn().unwrap();
    let connected = timeout(PATIENCE, silent.accept()).await.unwrap().unwrap();
    send(&running, Signal::INT);
    assert_eq!(code(running).await, Some(130));
    assert!(!scene.path("started").exists());
    drop(connected);
}

#[tokio::test]
async fn what_is_typed_on_the_terminal_reaches_the_command_once() {
    let scene = Scene::new();
    let _serving = scene.listen();
    let mut terminal = Terminal::of_columns(80);
    // The terminal is the session's; standard input is not it, as in a script that redirects it.
    let elsewhere = r#"exec "$@" < /dev/null"#;
    let words = ["setsid", "--ctty", "/bin/sh", "-c", elsewhere, "sh"];
    let mut command = scene.run(&words, &[], NOTES);
    let running = command.stdin(terminal.inside).spawn().unwrap();
    scene.says("started", "yes").await;
    terminal.outside.write_all(b"\x03").unwrap();
    scene.says("out", "INT").await;
    // These come through us: what we had to pass on before has arrived as well by then.
    for times in 1..=2 {
        send(&running, Signal::USR1);
        scene
            .says("out", &["INT", &"\nUSR1".repeat(times)].concat())
            .await;
    }
    assert_eq!(
        read_to_string(scene.path("out")).unwrap(),
        "INT\nUSR1\nUSR1\n"
    );
    send(&running, Signal::TERM);
    assert_eq!(code(running).await, Some(0));
}

#[tokio::test]
async fn an_interrupt_that_no_terminal_sent_is_passed_on() {
    let scene = Scene::new();
    let _serving = scene.listen();
    let mut command = scene.run(&[], &[], NOTES);
    let running = command.process_group(0).spawn().unwrap();
    scene.says("started", "yes").await;
    send(&running, Signal::INT);
    scene.says("out", "INT").await;
    send(&running, Signal::TERM);
    assert_eq!(code(running).await, Some(0));
}

#[tokio::test]
async fn a_renewal_that_fails_is_told_while_the_command_runs() {
    for (json, told) in [(&[][..], "WARN"), (&["--json"], "\"level\":\"WARN\"")] {
        let scene = Scene::new();
        let _serving = scene.listen();
        let lease = scene.standin.grant_lease();
        lease.send(Ok(scene.standin.delivery())).unwrap();
        let options = [&["--file", "token"], json].concat();
        let script = "echo yes > started; while [ ! -e stop ]; do sleep 0.01; done";
        let running = scene.run(&[], &options, script).spawn().unwrap();
        scene.says("started", "yes").await;
        assert_eq!(read_to_string(scene.path("stderr")).unwrap(), "");
        let gone = tonic::Status::permission_denied("withdrawn");
        lease.send(Err(gone)).unwrap();
        scene.says("stderr", told).await;
        scene.says("stderr", "no new token").await;
        std::fs::write(scene.path("stop"), "").unwrap();
        assert_eq!(code(running).await, Some(0));
        assert!(!Path::new(&scene.path("token")).exists());
    }
}
