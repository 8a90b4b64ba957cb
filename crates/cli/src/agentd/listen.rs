//! Where the service is reached: this machine, and nothing beyond it.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use crate::Failure;
use crate::style::safe;

/// Listens on a port of the loopback interface.
pub(super) async fn tcp(port: u16) -> Result<(TcpListener, SocketAddr), Failure> {
    let cannot = |error| Failure::bad_input(format!("port {port} of 127.0.0.1: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    if !address.ip().is_loopback() {
        return Err(Failure::unsound(format!("{address} is not on this machine only")));
    }
    Ok((listener, address))
}

/// The file of a unix socket; removed with this.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Listens on a socket with mode 0600. One that is there is replaced if nobody answers on it.
    pub(super) fn bind(path: &Path) -> Result<(Self, UnixListener), Failure> {
        let shown = safe(&path.display().to_string());
        let cannot = |why: &dyn std::fmt::Display| Failure::bad_input(format!("socket {shown}: {why}"));
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(cannot(&"there is another file")),
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => return Err(cannot(&"somebody listens on it")),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(cannot(&error)),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(cannot(&error)),
        }
        // Made where nobody else can come, and moved when nobody else can use it.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let private =
            tempfile::Builder::new().prefix(".farthing-").tempdir_in(parent.unwrap_or(Path::new(".")));
        let private = private.map_err(|error| cannot(&error))?;
        let made = private.path().join("s");
        let listener = UnixListener::bind(&made).map_err(|error| cannot(&error))?;
        fs::set_permissions(&made, fs::Permissions::from_mode(0o600)).map_err(|error| cannot(&error))?;
        let inode = fs::metadata(&made).map_err(|error| cannot(&error))?.ino();
        fs::rename(&made, path).map_err(|error| cannot(&error))?;
        Ok((Self { path: path.to_path_buf(), inode }, listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody who found it stale may have replaced it.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
