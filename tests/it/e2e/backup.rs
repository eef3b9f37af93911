//! A backup: the only call that names a path.

use crate::support::broker::{Broker, refusal};
use cambist::proto::BackupRequest;
use std::fs;
use std::os::unix::fs::symlink;

/// An administrator's word is no way to write into what the broker lives on, nor over anything.
#[tokio::test]
async fn a_backup_is_a_new_file_outside_of_the_brokers_own_folder() {
    let broker = Broker::start().await;
    let (folder, data) = (broker.folder.path(), &broker.path("data"));
    let (there, elsewhere) = (folder.join("there"), folder.join("elsewhere"));
    fs::write(&there, "mine").unwrap();
    symlink(&elsewhere, folder.join("dangling")).unwrap();
    symlink(data, folder.join("link")).unwrap();
    let mut inventory = broker.inventory().await;
    let mut backup = async |path: &str| {
        let request = BackupRequest { path: path.into() };
        inventory.backup(request).await.map(drop)
    };
    let listed = || fs::read_dir(data.join("log")).unwrap().count();
    let before = listed();
    let within = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    for path in [
        "copy.db".to_owned(),
        String::new(),
        within("there"),
        within("dangling"),
        within("nowhere/copy.db"),
        within("data/copy.db"),
        within("data/log/copy.db"),
        within("data/../data/copy.db"),
        within("link/log/copy.db"),
    ] {
        let refused = backup(&path).await.unwrap_err();
        assert_eq!(refusal(&refused), "invalid_request", "{path}");
    }
    assert_eq!(fs::read_to_string(&there).unwrap(), "mine");
    assert!(!elsewhere.exists() && !data.join("copy.db").exists());
    assert_eq!(listed(), before);
    backup(&within("copy.db")).await.unwrap();
    assert!(fs::metadata(folder.join("copy.db")).unwrap().len() > 0);
}
