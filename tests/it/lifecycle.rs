//! Start, reload, drain, stop; files that change; the operations listener.

use crate::support::edge::{Client, within};
use cambist::lifecycle::files::FileWatch;
use cambist::lifecycle::{BoxError, Ended, Lifecycle, Signal};
use cambist::limits;
use cambist::refusal::Code;
use cambist::telemetry::ops::Ops;
use cambist::telemetry::{Metrics, Readiness};
use std::fs;
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(600);

type Applied = Result<(), BoxError>;

fn run(lifecycle: &Lifecycle, grace: Duration) -> (mpsc::Sender<Signal>, JoinHandle<Ended>) {
    let (signal, signals) = mpsc::channel(4);
    let lifecycle = lifecycle.clone();
    let ended = tokio::spawn(async move { lifecycle.run(signals, grace).await });
    (signal, ended)
}

#[tokio::test]
async fn a_stop_waits_for_requests_then_for_the_background() {
    let lifecycle = Lifecycle::new();
    let (done, request) = oneshot::channel::<()>();
    let (order, mut ends) = mpsc::unbounded_channel();
    let says = order.clone();
    lifecycle.shutdown().tasks.spawn(async move {
        request.await.unwrap();
        says.send("request").unwrap();
    });
    let quiet = lifecycle.quiet().clone();
    lifecycle.spawn("writer", async move {
        quiet.cancelled().await;
        order.send("writer").unwrap();
        Ok::<_, io::Error>(())
    });
    let (signal, ended) = run(&lifecycle, LONG);
    signal.send(Signal::Terminate).await.unwrap();
    within("the drain", lifecycle.shutdown().drain.cancelled()).await;
    assert!(!lifecycle.quiet().is_cancelled());
    done.send(()).unwrap();
    assert_eq!(within("the end", ended).await.unwrap(), Ended::Stopped);
    assert_eq!(ends.recv().await, Some("request"));
    assert_eq!(ends.recv().await, Some("writer"));
}

#[tokio::test]
async fn a_second_signal_or_the_end_of_the_grace_cuts_off() {
    for (grace, signals) in [(LONG, 2), (Duration::from_millis(20), 1)] {
        let lifecycle = Lifecycle::new();
        let hard = lifecycle.shutdown().hard.clone();
        lifecycle
            .shutdown()
            .tasks
            .spawn(async move { hard.cancelled().await });
        let (signal, ended) = run(&lifecycle, grace);
        for _ in 0..signals {
            signal.send(Signal::Terminate).await.unwrap();
        }
        assert_eq!(within("the end", ended).await.unwrap(), Ended::Stopped);
    }
}

#[tokio::test]
async fn a_task_that_dies_by_itself_ends_the_process_as_failed() {
    async fn end_with<F>(task: F) -> Ended
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let lifecycle = Lifecycle::new();
        let (_signal, ended) = run(&lifecycle, LONG);
        lifecycle.spawn("writer", task);
        within("the end", ended).await.unwrap()
    }
    let failed = |reason: &str| Ended::Failed(reason.to_owned());
    assert_eq!(
        end_with(async { Err("disk full".into()) }).await,
        failed("writer: disk full")
    );
    assert_eq!(
        end_with(async { Ok(()) }).await,
        failed("writer ended by itself")
    );
    let Ended::Failed(reason) = end_with(async { panic!("a bug") }).await else {
        panic!("a panic passed unseen");
    };
    assert!(
        reason.starts_with("writer: ") && reason.contains("panic"),
        "{reason}"
    );
    let code = |ended| format!("{:?}", ExitCode::from(ended));
    assert_eq!(code(failed("x")), format!("{:?}", ExitCode::from(1)));
    assert_eq!(code(Ended::Stopped), format!("{:?}", ExitCode::SUCCESS));
}

#[tokio::test]
async fn a_file_is_applied_when_it_changes_and_again_until_it_is_good() {
    let folder = tempfile::tempdir().unwrap();
    // As Kubernetes mounts secrets: the file is a link through a link that is swapped.
    let (versions, link) = (
        ["v1", "v2", "v3"].map(|v| folder.path().join(v)),
        folder.path().join("data"),
    );
    for (version, text) in versions.iter().zip(["one", "bad", "three"]) {
        fs::create_dir(version).unwrap();
        fs::write(version.join("file"), text).unwrap();
    }
    std::os::unix::fs::symlink(&versions[0], &link).unwrap();
    let path = folder.path().join("file");
    std::os::unix::fs::symlink("data/file", &path).unwrap();
    let swap = |to: &std::path::Path| {
        let fresh = folder.path().join("fresh");
        std::os::unix::fs::symlink(to, &fresh).unwrap();
        fs::rename(&fresh, &link).unwrap();
    };
    let (lifecycle, metrics) = (Lifecycle::new(), Arc::new(Metrics::new()));
    let (sender, mut applied) = mpsc::unbounded_channel();
    let read = path.clone();
    FileWatch::new("file", move || vec![path.clone()])
        .every(Duration::from_millis(300))
        .start(&lifecycle, Arc::clone(&metrics), move || -> Applied {
            let text = fs::read_to_string(&read)?;
            sender.send(text.clone())?;
            if text == "bad" {
                Err("bad".into())
            } else {
                Ok(())
            }
        })
        .unwrap();
    assert_eq!(within("the start", applied.recv()).await.unwrap(), "one");
    swap(&versions[1]);
    for _ in 0..3 {
        // Nothing changes any more, and still it is tried again: what is bad now may be good later.
        assert_eq!(within("a bad file", applied.recv()).await.unwrap(), "bad");
    }
    swap(&versions[2]);
    let good = async { while applied.recv().await.unwrap() != "three" {} };
    within("a good file", good).await;
    // It is counted after it was applied.
    let line = r#"cambist_reloads_total{what="file",result="taken"} "#;
    let counted = async {
        while !metrics.encode().unwrap().contains(line) {
            tokio::task::yield_now().await;
        }
    };
    within("the count", counted).await;
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_first_read_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "one").unwrap();
    let (lifecycle, (sender, mut applied)) = (Lifecycle::new(), mpsc::unbounded_channel());
    let (watched, first) = (path.clone(), AtomicBool::new(true));
    FileWatch::new("file", move || vec![watched.clone()])
        .every(Duration::from_millis(20))
        .start(&lifecycle, Arc::new(Metrics::new()), move || -> Applied {
            let text = fs::read_to_string(&path)?;
            if first.swap(false, Ordering::AcqRel) {
                fs::write(&path, "another")?;
            }
            Ok(sender.send(text)?)
        })
        .unwrap();
    for text in ["one", "another"] {
        assert_eq!(within(text, applied.recv()).await.unwrap(), text);
    }
}

#[tokio::test]
async fn a_file_that_came_later_is_watched_like_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("policies");
    fs::create_dir(&inside).unwrap();
    let (lifecycle, (sender, mut applied)) = (Lifecycle::new(), mpsc::unbounded_channel());
    let (path, read, listed) = (inside.join("late"), inside.join("late"), inside.clone());
    let paths = move || {
        let files = fs::read_dir(&listed)
            .unwrap()
            .map(|file| file.unwrap().path());
        std::iter::once(listed.clone()).chain(files).collect()
    };
    FileWatch::new("file", paths)
        .every(Duration::from_millis(20))
        .start(&lifecycle, Arc::new(Metrics::new()), move || -> Applied {
            Ok(sender.send(fs::read_to_string(&read).unwrap_or_default())?)
        })
        .unwrap();
    // Of the same length, and written into the same file: the directory shows nothing of it.
    for text in ["one", "two", "six"] {
        fs::write(&path, text).unwrap();
        let seen = async { while applied.recv().await.unwrap() != text {} };
        within(text, seen).await;
    }
}

#[tokio::test]
async fn files_are_applied_by_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "one").unwrap();
    let lifecycle = Lifecycle::new();
    let (entered, mut entries) = mpsc::unbounded_channel();
    let (came, inside) = std::sync::mpsc::channel();
    let (watched, calls, inside) = (path.clone(), AtomicUsize::new(0), Mutex::new(inside));
    FileWatch::new("file", move || vec![watched.clone()])
        .every(Duration::from_millis(20))
        .start(&lifecycle, Arc::new(Metrics::new()), move || -> Applied {
            let call = calls.fetch_add(1, Ordering::AcqRel);
            came.send(call)?;
            if call == 1 {
                entered.send(None)?;
                // Whoever comes while this one is inside, is let in by a mistake.
                let inside = inside.lock().unwrap();
                let others = || inside.recv_timeout(Duration::from_millis(300));
                let met = std::iter::from_fn(|| others().ok()).find(|other| *other > 1);
                entered.send(Some(met))?;
            }
            Ok(())
        })
        .unwrap();
    let (signal, ended) = run(&lifecycle, LONG);
    fs::write(&path, "another").unwrap();
    assert_eq!(within("a change", entries.recv()).await.unwrap(), None);
    signal.send(Signal::Reload).await.unwrap();
    assert_eq!(within("its end", entries.recv()).await, Some(Some(None)));
    signal.send(Signal::Terminate).await.unwrap();
    assert_eq!(within("the end", ended).await.unwrap(), Ended::Stopped);
}

#[tokio::test]
async fn files_that_are_bad_at_first_are_not_watched() {
    let refused =
        FileWatch::new("file", Vec::new).start(&Lifecycle::new(), Arc::new(Metrics::new()), || {
            Err(BoxError::from("bad"))
        });
    assert_eq!(refused.unwrap_err().to_string(), "bad");
}

#[tokio::test]
async fn operations_show_metrics_life_and_readiness() {
    let lifecycle = Lifecycle::new();
    let (metrics, readiness) = (Arc::new(Metrics::new()), Readiness::new(&["log"]));
    let ops = Ops::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = ops.address();
    let serving = ops.run(
        Arc::clone(&metrics),
        readiness.clone(),
        lifecycle.shutdown().clone(),
    );
    let served = tokio::spawn(serving);
    let stream = TcpStream::connect(address).await.unwrap();
    let mut client = Client::h1(stream).await.unwrap();
    assert_eq!(client.get("/healthz").await.unwrap().0, 200);
    let (status, _, text) = client.get("/readyz").await.unwrap();
    assert_eq!(status, 503);
    assert_eq!(
        text,
        r#"{"ready":false,"reasons":[{"condition":"log","reason":"starting"}]}"#
    );
    readiness.met("log");
    let (status, _, text) = client.get("/readyz").await.unwrap();
    assert_eq!(
        (status.as_u16(), text.as_str()),
        (200, r#"{"ready":true,"reasons":[]}"#)
    );
    cambist::exchange::Observer::refused(&*metrics, Code::TooBusy);
    let (status, headers, text) = client.get("/metrics").await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(
        headers["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(text.contains(r#"cambist_refusals_total{code="too_busy"} 1"#));
    assert_eq!(client.get("/elsewhere").await.unwrap().0, 404);
    lifecycle.stop();
    within("the end", served).await.unwrap();
}

#[tokio::test]
async fn operations_serve_a_bounded_number() {
    let lifecycle = Lifecycle::new();
    let ops = Ops::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = ops.address();
    let shutdown = lifecycle.shutdown().clone();
    tokio::spawn(ops.run(Arc::new(Metrics::new()), Readiness::new(&[]), shutdown));
    let mut held = Vec::new();
    for _ in 0..limits::OPS_CONNECTIONS {
        let mut client = Client::h1(TcpStream::connect(address).await.unwrap())
            .await
            .unwrap();
        assert_eq!(client.get("/healthz").await.unwrap().0, 200);
        held.push(client);
    }
    let mut over = Client::h1(TcpStream::connect(address).await.unwrap())
        .await
        .unwrap();
    assert!(within("a refusal", over.get("/healthz")).await.is_err());
}
