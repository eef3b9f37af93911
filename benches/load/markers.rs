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

/// One in so many ends while the bench runs, all of them in one second.
const ENDING: usize = 2;
/// How much earlier the rest should be done with.
const SPARE: Duration = Duration::from_secs(30);
/// Windows after the last of those has gone.
const AFTER: usize = 5;

/// Compares a broker with so many markers and one with none; then half of them ends.
pub fn drive(runtime: &Runtime, markers: usize, pairs: usize, seconds: f64) {
    let [empty, full] = ["", ""].map(Folder::new);
    let rest = Duration::from_secs_f64(seconds * 2.0 * pairs as f64) + SPARE;
    let path = Config::load(&full.config()).unwrap().store_file();
    let end = runtime.block_on(store(&path, markers, rest));
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

    let staying = markers - markers / ENDING;
    let mut side = marked.side("calls", true);
    let (mut before, mut going, mut after) = (0, 0, 0);
    assert!(
        Timestamp::now() < end,
        "they ended before the bench was there"
    );
    while after < AFTER {
        let is_before = Timestamp::now() < end;
        side.measure(seconds);
        match in_force(&operations) {
            _ if is_before => before += 1,
            count if count > staying => going += 1,
            _ => after += 1,
        }
    }
    println!(
        "{} of them end in one second: windows of {seconds} s",
        markers / ENDING
    );
    let (first, rest) = side.windows.split_at(before);
    let (while_going, last) = rest.split_at(going);
    for (name, windows) in [("before", first), ("going", while_going), ("gone", last)] {
        report(name, windows);
    }
    println!("ratio markers={ratio:.2}");
}

/// Fills a store. Answers when half of the markers ends: when all is stored and the `rest` is done, if it goes on as it
/// begins.
async fn store(path: &Path, markers: usize, rest: Duration) -> Timestamp {
    let store = open(path);
    let ending = markers / ENDING;
    let start = Instant::now();
    fill(&*store, ending..markers, Second::NEVER).await;
    // The others take as long; and the start of the broker, a part of it.
    let end = Timestamp::now() + start.elapsed() * 5 / 4 + rest;
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
