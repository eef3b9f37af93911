//! Configuration of who is sent the log's checkpoints.

use crate::support::config::{minimal_with, only};
use cambist::audit::NoteKey;
use cambist::limits;

#[test]
fn copies_have_one_place_each_and_are_few() {
    let copies = |count: usize| -> String {
        (0..count)
            .map(|at| format!("[[log.copy]]\nfile = \"/mnt/{at}/checkpoint\"\n"))
            .collect()
    };
    let config = minimal_with(&copies(limits::LOG_COPIES)).unwrap();
    assert_eq!(config.log.copies.len(), limits::LOG_COPIES);
    let problem = only(minimal_with(&copies(limits::LOG_COPIES + 1)));
    assert_eq!(problem.message, "there may be 8 copies");
    let url = "url = \"https://keeper.example.net/a\"\n";
    let ca = "ca = \"ca.pem\"\n";
    for (section, message) in [
        ("", "a copy has a `file` or a `url`, and not both"),
        (
            &*format!("file = \"a\"\n{url}{ca}"),
            "a copy has a `file` or a `url`, and not both",
        ),
        (
            url,
            "`ca` is missing: nobody else's word for the server is taken",
        ),
        (
            "file = \"a\"\nca = \"ca.pem\"",
            "says nothing of a copy in a file",
        ),
        (
            "file = \"a\"\ntoken_file = \"t\"",
            "says nothing of a copy in a file",
        ),
        (
            "file = \"a\"\n[[log.copy]]\nfile = \"./a\"",
            "there is a copy in this place already",
        ),
        (
            &format!("{url}{ca}[[log.copy]]\n{url}ca = \"other.pem\"\n"),
            "there is a copy in this place already",
        ),
    ] {
        let problem = only(minimal_with(&format!("[[log.copy]]\n{section}")));
        assert_eq!(problem.message, message, "{section}");
    }
    for url in [
        "http://a.example",
        "https://u@a.example",
        "https://a.example/?b",
        "https://a.example/#b",
        "a",
    ] {
        let section = format!("[[log.copy]]\nurl = \"{url}\"\n{ca}");
        let problem = only(minimal_with(&section));
        assert_eq!(problem.key, "log.copy[0].url");
    }
}

#[test]
fn witnesses_have_a_key_and_a_name_each_and_are_few() {
    let key = |at: usize| {
        let name = format!("w{at}.example.net");
        NoteKey::of_witness(&name, [7; 32]).unwrap().to_string()
    };
    let one = |key: &str| {
        format!(
            "[[log.witness]]\nurl = \"https://w.example.net\"\nca = \"ca.pem\"\nkey = \"{key}\"\n"
        )
    };
    let witnesses = |count: usize| -> String { (0..count).map(|at| one(&key(at))).collect() };
    let config = minimal_with(&witnesses(limits::LOG_WITNESSES)).unwrap();
    assert_eq!(config.log.witnesses.len(), limits::LOG_WITNESSES);
    let problem = only(minimal_with(&witnesses(limits::LOG_WITNESSES + 1)));
    assert_eq!(problem.message, "there may be 16 witnesses");
    let problem = only(minimal_with(&(one(&key(1)) + &one(&key(1)))));
    assert_eq!(problem.message, "a witness of this name is there already");
    // The key of a log is none of a witness.
    let log = NoteKey::new("w.example.net", [7; 32]).unwrap().to_string();
    for wrong in [log, String::new(), key(1).replacen("w1", "w2", 1)] {
        let problem = only(minimal_with(&one(&wrong)));
        assert_eq!(problem.key, "log.witness[0].key", "{wrong}");
    }
}
