//! Binding, and taking over a Unix socket's path without ever taking it from a living process.

use super::accept::BindError;
use super::settings::ListenAddress;
use crate::limits;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net as std_unix;
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// The group may connect, others may not.
const UNIX_MODE: u32 = 0o660;

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// A Unix socket with its path, which is removed at the end if it is still ours.
#[derive(Debug)]
pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    /// Whoever holds this lock owns the path; released by the kernel even after a crash.
    _lock: File,
}

/// A connection that was accepted.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Socket {
    pub(super) fn bind(address: &ListenAddress) -> Result<Self, BindError> {
        let failed = |source| BindError::Bind {
            address: address.clone(),
            source,
        };
        match address {
            ListenAddress::Tcp(address) => bind_tcp(*address).map(Self::Tcp),
            ListenAddress::Unix(path) => UnixSocket::bind(path).map(Self::Unix),
        }
        .map_err(failed)
    }

    pub(super) fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(socket) => Ok(ListenAddress::Unix(socket.path.clone())),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, address))
            }
            Self::Unix(socket) => Ok(Accepted::Unix(socket.listener.accept().await?.0)),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A restart must not wait for the connections of its predecessor to leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits::BACKLOG)
}

impl UnixSocket {
    /// Listens at `path`: under a lock, after making sure that nobody answers there, with a socket that has
    /// its permissions before it has its name.
    fn bind(path: &Path) -> io::Result<Self> {
        let lock = lock(path)?;
        refuse_living(path)?;
        let fresh = with_suffix(path, ".new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = std_unix::UnixListener::bind(&fresh)?;
        listener.set_nonblocking(true)?;
        fs::set_permissions(&fresh, Permissions::from_mode(UNIX_MODE))?;
        fs::rename(&fresh, path)?;
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
            path: path.to_owned(),
            inode: fs::symlink_metadata(path)?.ino(),
            _lock: lock,
        })
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket file stays behind");
        }
    }
}

fn lock(path: &Path) -> io::Result<File> {
    let file = File::create(with_suffix(path, ".lock"))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        io::Error::new(
            ErrorKind::AddrInUse,
            "another process holds the socket's lock file",
        )
    })?;
    Ok(file)
}

/// What is there may be replaced only if it is a socket behind which nobody listens.
fn refuse_living(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "there is a file that is not a socket",
            ));
        }
        Ok(_) => {}
    }
    match std_unix::UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            ErrorKind::AddrInUse,
            "a living process listens on the socket",
        )),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
