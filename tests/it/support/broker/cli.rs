//! The command line, run against a broker.

use super::Site;
use crate::support::command::{Ran, cambist};

impl Site {
    /// The path of a file of this site, as an argument.
    pub(crate) fn argument(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The address of its Unix socket, where administrators come.
    pub(crate) fn socket_address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Runs a command as an administrator, over the Unix socket.
    pub(crate) async fn run_as_admin(&self, args: &[&str]) -> Ran {
        cambist(args, &[("CAMBIST_SERVER", &self.socket_address())], b"").await
    }

    /// Runs a command as anybody, over TLS.
    pub(crate) async fn run_as_anybody(&self, args: &[&str]) -> Ran {
        let ca = self.argument("ca.pem");
        let variables = [("CAMBIST_SERVER", &*self.issuer), ("CAMBIST_CA", &ca)];
        cambist(args, &variables, b"").await
    }

    /// Runs a command as `spiffe://example.org/web`, over TLS.
    pub(crate) async fn run_as_web(&self, args: &[&str]) -> Ran {
        let [cert, key] = [&self.web.certificate, &self.web.key].map(|path| path.to_str().unwrap());
        let certificate = ["--cert", cert, "--cert-key", key];
        let (verb, rest) = args.split_first().unwrap();
        self.run_as_anybody(&[&[*verb], &certificate[..], rest].concat())
            .await
    }
}
