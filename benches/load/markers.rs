//! What many markers are to an exchange: nothing to speak of, and nothing is felt of their end.

use crate::bench::broker::Folder;
use crate::bench::exchanges::Window;
use crate::stored_markers::{fill, open};
use crate::{Server, compare};
use cambist::config::Config;
use cambist::marker::Second;
use jiff::Timestamp;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// So many end while the bench runs, or half of all if that is less, all of them in one second.
const ENDING: usize = 1_000_000;
/// How much earlier the rest should be done with.
const SPARE: Duration = Duration::from_secs(30);
/// Windows while they go, at most.
const GOING: usize = 60;

/// Compares a broker with so many markers and one with none; then some of them end.
pub fn drive(runtime: &Runtime, markers: usize, pairs: usize, seconds: f64) {
    let [empty, full] = ["", ""].map(Folder::new);
    let rest = Duration::from_secs_f64(seconds * 2.0 * pairs as f64) + SPARE;
    let path = Config::load(&full.config()).unwrap().store_file();
    let ending = ENDING.min(markers / 2);
    let end = runtime.block_on(store(&path, markers, ending, rest));
    let mut none = Server::start("none", "broker", &empty.config(), &empty);
    let start = Instant::now();
    let mut marked = Server::start("marked", "broker", &full.config(), &full);
    println!(
        "{markers} markers: started in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let operations = marked.role.line("operations");
    for (server, folder) in [(&mut none, &empty), (&mut marked, &full)] {
        server.key = runtime.block_on(folder.key()).secret;
    }
    let ratio = compare((&none, &marked), "calls", true, pairs, seconds);
    drop(none);

    let mut side = marked.side("calls", true);
    assert!(
        Timestamp::now() < end,
        "they ended before the bench was there"
    );
    while Timestamp::now() < end {
        side.measure(seconds);
    }
    let before = side.windows.len();
    let mut gone = 0;
    while gone < ending && side.windows.len() < before + GOING {
        side.measure(seconds);
        gone = markers - in_force(&operations);
    }
    println!("{ending} of them end in one second: windows of {seconds} s, in which {gone} went");
    let (before, going) = side.windows.split_at(before);
    report("before", before);
    report("going", going);
    println!("ratio markers={ratio:.2}");
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

fn report(name: &str, windows: &[Window]) {
    let middle = |of: fn(&Window) -> u32| {
        let all: Vec<_> = windows.iter().map(|window| f64::from(of(window))).collect();
        crate::bench::median(&all) / 1000.0
    };
    let worst = windows.iter().map(|window| window.worst).max();
    println!(
        "  {name:<7}{:>4} windows  p50 {:>6.2} ms  p99 {:>6.2} ms  at worst {:>6.2} ms",
        windows.len(),
        middle(|window| window.p50),
        middle(|window| window.p99),
        f64::from(worst.unwrap()) / 1000.0,
    );
}
