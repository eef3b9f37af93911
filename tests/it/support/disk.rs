//! Disks that have an end, and folders on them.

use super::broker::{Broker, Site};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// Writes zeros until not a byte more fits.
pub(crate) fn fill(path: &Path) {
    let mut junk = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    for block in [vec![0; 64 * 1024], vec![0; 1]] {
        while junk.write_all(&block).is_ok() {
            // What takes so much is no small disk, but the machine's own.
            let size = junk.metadata().unwrap().len();
            if size > 1 << 30 {
                fs::remove_file(path).unwrap();
                panic!("{} is on a large disk", path.display());
            }
        }
    }
}

/// Copies a folder with all that is in it, for its owner alone, as a broker wants its own.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A small file system over the data folder, in a mount namespace that ends with this process.
const MOUNT: &str =
    "mount -t tmpfs -o size=48m,mode=0700 tmpfs \"$DATA\" && echo mounted && exec cat";

/// Holds the small file system; brokers are started within it.
pub(crate) struct SmallDisk(Child);

impl SmallDisk {
    pub(crate) fn new(data: &Path) -> Self {
        fs::create_dir(data).unwrap();
        let mut child = Command::new("unshare")
            .args(["--mount", "--map-root-user", "sh", "-c", MOUNT])
            .env("DATA", data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = String::new();
        let mut output = BufReader::new(child.stdout.as_mut().unwrap());
        output.read_line(&mut told).unwrap();
        assert_eq!(told, "mounted\n");
        Self(child)
    }

    /// A path as it looks from within.
    pub(crate) fn view(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.0.id()));
        // A link on the way would lead out again.
        let path = path.canonicalize().unwrap();
        root.join(path.strip_prefix("/").unwrap())
    }

    pub(crate) async fn start(&self, site: &Arc<Site>) -> Broker {
        let target = self.target();
        site.run_unready(site.wrapped(&within(&target))).await
    }

    /// Runs a command within, to its end.
    pub(crate) fn run(&self, command: &[&str]) {
        let target = self.target();
        let words = [&within(&target), command].concat();
        let ended = Command::new(words[0]).args(&words[1..]).status();
        assert!(ended.unwrap().success(), "{command:?}");
    }

    fn target(&self) -> String {
        format!("--target={}", self.0.id())
    }
}

/// What a command begins with that is run in the namespace of a process.
fn within(target: &str) -> [&str; 5] {
    [
        "nsenter",
        target,
        "--user",
        "--mount",
        "--preserve-credentials",
    ]
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Its end is the end of its input; whatever else happens, the namespace goes with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
