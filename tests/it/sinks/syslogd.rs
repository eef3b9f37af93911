//! A syslog server that was not written here: rsyslog, with TLS by GnuTLS, and its own bound on messages.

use crate::support::broker::free_port;
use crate::support::edge::{until, within};
use crate::support::pki::Authority;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A server on a port of its own, which it keeps when it is stopped and started again.
pub(super) struct Syslogd {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

/// One message, as the server understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) priority: String,
    pub(super) host: String,
    pub(super) kind: String,
    pub(super) data: String,
    pub(super) text: String,
}

const CONFIGURATION: &str = r#"
global(
  workDirectory="FOLDER"
  defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="FOLDER/ca.pem"
  defaultNetstreamDriverCertFile="FOLDER/server.pem"
  defaultNetstreamDriverKeyFile="FOLDER/server.key"
)
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port="PORT")
template(name="all" type="string" string="%pri%\t%hostname%\t%msgid%\t%structured-data%\t%msg%\n")
action(type="omfile" file="FOLDER/messages" template="all")
"#;

impl Syslogd {
    /// One that believes clients of `authority`, which vouches for itself as well.
    pub(super) async fn start(authority: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let identity = authority.server();
        write("ca.pem", authority.pem());
        write("server.pem", &identity.certificate);
        write("server.key", &identity.key);
        let at = folder.path().to_str().unwrap();
        let text = CONFIGURATION
            .replace("FOLDER", at)
            .replace("PORT", &port.to_string());
        write("rsyslog.conf", &text);
        let mut server = Self {
            folder,
            port,
            process: None,
        };
        server.again().await;
        server
    }

    pub(super) fn url(&self) -> String {
        format!("tls://127.0.0.1:{}", self.port)
    }

    pub(super) async fn again(&mut self) {
        let program = ["/usr/sbin/rsyslogd", "/usr/bin/rsyslogd"].map(Path::new);
        let program = program.into_iter().find(|path| path.is_file());
        let mut command = Command::new(program.expect("rsyslogd is not there: run tests/setup"));
        command
            .arg("-n")
            .arg("-f")
            .arg(self.path("rsyslog.conf"))
            .arg("-i")
            .arg(self.path("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.path("stderr")).unwrap())
            .kill_on_drop(true);
        self.process = Some(command.spawn().unwrap());
        until("the syslog server to listen", async || {
            TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
        })
        .await;
    }

    /// Asks it to stop, and waits until it has.
    pub(super) async fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        let id = process.id().unwrap().try_into().unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        within("the syslog server to stop", process.wait())
            .await
            .unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All that it received, in order; what is no message of ours, it said by itself.
    pub(super) fn messages(&self) -> Vec<Message> {
        let text = std::fs::read_to_string(self.path("messages")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let messages = whole.lines().filter(|line| line.contains("[cambist@"));
        let messages = messages.map(|line| {
            let parts: Vec<&str> = line.splitn(5, '\t').collect();
            let [priority, host, kind, data, text] = parts[..].try_into().unwrap();
            Message {
                priority: priority.to_owned(),
                host: host.to_owned(),
                kind: kind.to_owned(),
                data: data.to_owned(),
                text: text.trim_start().to_owned(),
            }
        });
        messages.collect()
    }

    /// By the structured data, which every message has.
    pub(super) fn sequences(&self) -> Vec<u64> {
        let sequence = |message: &Message| {
            let (_, after) = message.data.split_once(" seq=\"").unwrap();
            after.split('"').next().unwrap().parse().unwrap()
        };
        self.messages().iter().map(sequence).collect()
    }
}
