//! Whoever can write to the log's folder, and to nothing else, makes nobody wait for ever who opens a file there.

use crate::support::broker::{Site, segments};
use crate::support::command::cambist;
use rustix::fs::{CWD, Mode, mkfifoat};
use std::fs;
use std::path::Path;

/// Needed for `key.x`, which is looked at for what copies say of logs that were given up.
const COPY: &str = "\n[[log.copy]]\nfile = \"other/checkpoint\"\nrequired = true\n";

fn put_pipe(path: &Path) {
    // What is put back is put over it.
    let _ = fs::rename(path, path.with_extension("aside"));
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_keeps_nobody_waiting() {
    let site = Site::with(|setup| setup.config.push_str(COPY));
    fs::create_dir(site.path("other")).unwrap();
    site.issue_and_stop(3).await;
    let log = site.path("data/log");
    let segment = segments(&log).remove(0);
    let index = segment.with_extension("idx");
    let tile = fs::read_dir(log.join("tile/0/000.p")).unwrap();
    let tile = tile.last().unwrap().unwrap().path();
    let at = |name: &str| log.join(name);
    for (path, starts, verifies) in [
        (at("checkpoint"), false, false),
        (at("key"), false, true),
        (at("key.x"), true, true),
        // Written anew at a start.
        (at("vkey"), true, false),
        (at("acknowledged"), false, false),
        (at("lock"), false, true),
        (at("reserve"), true, true),
        (segment, false, false),
        (index, true, true),
        (tile, true, false),
    ] {
        let name = path.file_name().unwrap().to_str().unwrap();
        put_pipe(&path);
        let ran = cambist(&["audit", "verify", log.to_str().unwrap()], &[], b"").await;
        let is_told = |said: &str| said.contains(&format!("{name} is not a regular file"));
        assert_eq!(ran.code == Some(0), verifies, "{name}: {ran:?}");
        assert!(verifies || is_told(&ran.stderr), "{name}: {ran:?}");
        match starts {
            true => assert!(site.start().await.terminate().await.success(), "{name}"),
            false => {
                let (code, said) = site.fails(&[]).await;
                assert_eq!(code, 1, "{name}: {said}");
                assert!(is_told(&said), "{name}: {said}");
            }
        }
        let aside = path.with_extension("aside");
        match aside.exists() {
            true => fs::rename(aside, &path).unwrap(),
            false => fs::remove_file(&path).unwrap_or_default(),
        }
    }
}
