//! What many markers are to an exchange: nothing to speak of, and nothing is felt of their end.

use crate::bench::broker::Folder;
use crate::stored_markers::{fill, open};
use crate::{Server, compare};
use cambist::config::Config;
use cambist::marker::Second;
use jiff::Timestamp;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// So many end while the bench runs, or half of all if that is less, all of them in one second.
const ENDING: usize = 1_000_000;
/// How much earlier the rest should be done with.
const SPARE: Duration = Duration::from_secs(30);
/// How long it is waited for the first of them to go.
const PATIENCE: Duration = Duration::from_secs(60);

/// Compares a broker with so many markers and one with none; and once more while some of the markers end.
pub fn drive(runtime: &Runtime, markers: usize, pairs: usize, seconds: f64) {
    let [empty, full] = ["", ""].map(Folder::new);
    let path = Config::load(&full.config()).unwrap().store_file();
    let ending = ENDING.min(markers / 2);
    let rest = Duration::from_secs_f64(seconds * 2.0 * pairs as f64) + SPARE;
    let end = runtime.block_on(store(&path, markers, ending, rest));
    let mut none = Server::start("none", "broker", &empty.config(), &empty);
    let start = Instant::now();
    let mut marked = Server::start("marked", "broker", &full.config(), &full);
    println!(
        "started with them in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let operations = marked.role.line("operations");
    for (server, folder) in [(&mut none, &empty), (&mut marked, &full)] {
        server.key = runtime.block_on(folder.key()).secret;
    }
    let both = (&none, &marked);
    let ratio = compare(both, "calls", true, pairs, seconds);
    let left = end.duration_until(Timestamp::now());
    assert!(left.is_negative(), "they ended before the bench was there");
    sleep(left.unsigned_abs());
    let ended = Instant::now();
    while in_force(&operations) == markers {
        assert!(ended.elapsed() < PATIENCE, "none of them goes");
        sleep(Duration::from_millis(100));
    }
    println!("{ending} of them end in one second");
    let while_ending = compare(both, "calls", true, pairs, seconds);
    let left = in_force(&operations);
    assert!(
        left > markers - ending,
        "all had gone before the bench was done"
    );
    println!("{} went meanwhile", markers - left);
    println!("ratio markers={ratio:.2} ending={while_ending:.2}");
}

/// Fills a store. Answers when the first `ending` of them end: when all is stored and the `rest` is done, if it goes on as it
/// begins.
async fn store(path: &Path, markers: usize, ending: usize, rest: Duration) -> Timestamp {
    let store = open(path);
    let start = Instant::now();
    fill(&*store, ending..markers, Second::NEVER).await;
    // The start of the broker takes a part of that as well.
    let each = start.elapsed().div_f64((markers - ending) as f64);
    let end = Timestamp::now() + each.mul_f64((ending + markers / 4) as f64) + rest;
    fill(&*store, 0..ending, Second::of(end)).await;
    println!(
        "{markers} markers stored in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    store.close().await;
    end
}

/// How many markers the broker has in force, as its metrics say.
fn in_force(operations: &str) -> usize {
    let mut stream = TcpStream::connect(operations).unwrap();
    write!(
        stream,
        "GET /metrics HTTP/1.0\r\nHost: {operations}\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    let count = lines.find_map(|line| line.strip_prefix("cambist_markers "));
    count.unwrap().trim().parse().unwrap()
}
