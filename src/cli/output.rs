//! Where a command's results go: one JSON document, or text for people; errors apart from results.

use super::failure::Failure;
use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

const BAD: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const FAINT: Style = Style::new().dimmed();

/// The command's two channels. Colours are left out where nobody sees them (`NO_COLOR`, no terminal).
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

/// A result as `--json` prints it.
#[derive(Serialize)]
struct Document<'b, T: Serialize> {
    version: u8,
    #[serde(flatten)]
    body: &'b T,
}

impl Output {
    /// JSON documents, or text.
    #[must_use]
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether results are JSON.
    #[must_use]
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Prints the result: `body` as a document with a version, or what `text` makes of it.
    ///
    /// # Errors
    /// When standard output cannot be written. A reader who has left is no error.
    pub fn show<T: Serialize>(
        self,
        body: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.print(body, text) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::fault("standard output cannot be written").why(error))
            }
            _ => Ok(()),
        }
    }

    /// As [`Output::show`], for what is shown only once.
    ///
    /// # Errors
    /// When standard output cannot be written, or its reader has left.
    pub(super) fn print<T: Serialize>(
        self,
        body: &T,
        text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        let text = if self.json {
            escaped(&serde_json::to_string(&Document { version: 1, body })?)
        } else {
            text()
        };
        let mut stdout = anstream::stdout().lock();
        writeln!(stdout, "{}", text.trim_end())?;
        stdout.flush()
    }

    /// Prints a line of a result that comes in pieces, as it stands. Answers whether its reader is still there.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) fn line(self, text: &str) -> Result<bool, Failure> {
        let mut stdout = anstream::stdout().lock();
        match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::fault("standard output cannot be written").why(error)),
        }
    }

    /// Tells people something beside the result; JSON readers are not bothered.
    pub fn note(self, text: &str) {
        if !self.json {
            let _ = writeln!(anstream::stderr().lock(), "{text}");
        }
    }

    /// Warns people, on standard error; JSON documents say it in a field.
    pub fn warn(self, text: &str) {
        if !self.json {
            let _ = writeln!(
                anstream::stderr().lock(),
                "{WARNING}warning:{WARNING:#} {text}"
            );
        }
    }

    /// Says why the command failed, on standard error.
    pub fn fail(self, failure: &Failure) {
        let mut stderr = anstream::stderr().lock();
        if self.json {
            let text = serde_json::to_string(&failure.document()).unwrap_or_default();
            let _ = writeln!(stderr, "{}", escaped(&text));
            return;
        }
        let (what, lines) = failure.lines();
        let _ = writeln!(stderr, "{BAD}error:{BAD:#} {}", visible(&what));
        for (label, line) in lines {
            // Problems carry their own line breaks; everything else is one line of somebody's text.
            let _ = match label {
                "" => writeln!(stderr, "{line}"),
                _ => writeln!(stderr, "  {FAINT}{label}:{FAINT:#} {}", visible(&line)),
            };
        }
    }

    /// Shows that something is going on, where somebody watches; cleared when dropped.
    #[must_use]
    pub fn progress(self, text: &'static str) -> Progress {
        if self.json {
            return Progress(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(text);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(bar)
    }

    /// Shows how much of something is done, where somebody watches; cleared when dropped.
    #[must_use]
    pub fn progress_of(self, text: &'static str) -> Progress {
        if self.json {
            return Progress(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(0).with_message(text);
        let template = "{msg} [{bar:30}] {human_pos} of {human_len} ({eta} left)";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress(bar)
    }
}

/// A sign of life that ends with this value.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// How far it is.
    pub(super) fn reached(&self, count: u64, of: u64) {
        if self.0.length() != Some(of) {
            self.0.set_length(of);
        }
        self.0.set_position(count.min(of));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Text from elsewhere without what a terminal would obey.
#[must_use]
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// The same of a text of several lines.
#[must_use]
pub(super) fn visible_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(visible).collect();
    lines.join("\n")
}

/// JSON text without what a terminal would obey: the C0 controls are escaped already, DEL and the C1 controls may be
/// (RFC 8259 section 7), and stand nowhere but in strings.
#[must_use]
pub(super) fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() && c >= '\u{7f}' {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// So many of what is called `one` or `many`.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    }
}

/// A table, a line a row however long: ids are copied from it. `nothing` where it would be empty.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, nothing: &str) -> String {
    if rows.is_empty() {
        return nothing.to_owned();
    }
    let mut table = Table::new();
    table.set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell)));
    }
    lines(table)
}

/// One thing's fields, a line each; empty ones are left out.
pub(super) fn fields(rows: &[(&str, String)]) -> String {
    let mut table = Table::new();
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        table.add_row([(*name).to_owned(), visible(value)]);
    }
    lines(table)
}

fn lines(mut table: Table) -> String {
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stay_under_their_heads() {
        let rows = vec![
            vec![String::new(), "x".to_owned()],
            vec!["one".to_owned(), String::new()],
        ];
        assert_eq!(table(&["A", "B"], rows, ""), "A    B\n     x\none");
        assert_eq!(table(&["A"], vec![], "None."), "None.");
        let rows = [("name", "a".to_owned()), ("none", String::new())];
        assert_eq!(fields(&rows), "name  a");
    }

    #[test]
    fn json_holds_no_control_and_says_the_same() {
        let said = "a\u{7f}\u{9b}2J\u{1b}\u{a0}é";
        let text = escaped(&serde_json::to_string(said).unwrap());
        assert_eq!(text, "\"a\\u007f\\u009b2J\\u001b\u{a0}é\"");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), said);
    }
}
