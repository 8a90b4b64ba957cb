//! The workspace's own programs, run as processes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The directory of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

/// A binary of a package of this workspace, of the profile that this test was built with. `cargo test
/// --workspace` has built it already; when it is missing, or older than the sources, it is built now.
pub fn program(package: &str, name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test is a program");
    // target/<profile>/deps/<test>
    let directory = test.parent().and_then(Path::parent).expect("a test lies in the target directory");
    let path = directory.join(name);
    let built = std::fs::metadata(&path).and_then(|file| file.modified()).ok();
    let sources = ["crates", "examples"].map(|directory| newest(&workspace().join(directory)));
    if built.is_none_or(|built| sources.iter().any(|changed| built < *changed)) {
        build(package, name, directory);
    }
    path
}

fn build(package: &str, name: &str, directory: &Path) {
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // With the features that the whole workspace's tests were built with: else most of it is built once more.
    command.args(["build", "--quiet", "--workspace", "--tests", "--bin", name, "--profile", profile]);
    command.arg("--target-dir").arg(directory.parent().expect("a profile lies in the target directory"));
    let status = command.current_dir(workspace()).status().expect("cargo runs");
    assert!(status.success(), "cargo build --bin {name} of {package}: {status}");
}

/// When a source file under `directory` was last changed. Tests of other crates are none of a program.
fn newest(directory: &Path) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(directory).expect("a directory of sources").flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name();
        if kind.is_dir() && name != "tests" && name != "target" {
            newest = newest.max(self::newest(&entry.path()));
        } else if kind.is_file() {
            newest = newest.max(entry.metadata().and_then(|file| file.modified()).unwrap_or(newest));
        }
    }
    newest
}

/// A port of loopback that nobody listens on, outside of the range from which the system takes ports for
/// outgoing connections: it is still free after a server there was killed. Another one each time.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() as u16 % 8_000;
    let mut ports = (0..8_000).map(|_| 20_000 + (start + NEXT.fetch_add(1, Ordering::SeqCst)) % 8_000);
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(free).expect("a free port")
}

/// The port that the examples listen on. Whoever holds this has it alone, among the tests of all processes on this
/// machine.
#[derive(Debug)]
pub struct ExamplesPort(#[allow(dead_code, reason = "it is locked until it is dropped")] std::fs::File);

impl ExamplesPort {
    /// The port.
    pub const NUMBER: u16 = 4021;

    /// Waits for the port.
    pub fn claim() -> Self {
        let path = std::env::temp_dir().join("farthing-examples-port.lock");
        let file = std::fs::File::options().create(true).append(true).open(path).expect("a file to lock");
        file.lock().expect("a lock");
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpListener::bind(("127.0.0.1", Self::NUMBER)).is_err() {
            assert!(
                Instant::now() < deadline,
                "port 4021 is in use: the examples need it; stop whoever has it"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Self(file)
    }
}
