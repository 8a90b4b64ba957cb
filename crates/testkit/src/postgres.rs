//! Real PostgreSQL servers for tests: private, on loopback and a unix socket, gone with their last user.
//!
//! [`Cluster::shared`] is one server for all tests of this machine's user that run at the same time; each test
//! has a schema of its own in it. [`Cluster::own`] is a server that a test may stop and restart. Nothing keeps
//! running: a small shell process waits for the locks or the pipe of the tests to go, which the kernel sees to
//! even when they are killed, and then stops the server and removes its files.
//!
//! Needs the programs of Debian's `postgresql` package; no server of the system is touched. This file uses the
//! standard library alone, so that crates which testkit depends on may include it by its path.
#![allow(dead_code, unreachable_pub, reason = "each crate that includes this uses its part")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The superuser of every cluster, and the password that is asked for over TCP.
const USER: &str = "farthing";
const PASSWORD: &str = "no-secret";
/// Bytes that the path of a unix socket may have.
const SOCKET_LIMIT: usize = 100;

/// Stops the shared server when nobody has used it for a while. `$1`: the directory, `$2`: `pg_ctl`.
const SHARED_WATCH: &str = r#"(
exec 9>"$1/watch"
flock -n 9 || exit 0
while :; do
    flock -x "$1/users" true
    sleep 3
    flock -x "$1/lock" sh -c '
        flock -n -x "$1/users" true || exit 1
        "$2" stop -s -m immediate -D "$1/cluster/data"
        rm -rf "$1/cluster" "$1/template" "$1/password"
        exit 0
    ' sh "$1" "$2" && exit 0
done
) &"#;

/// Stops a test's own server when the pipe to the test is closed. `$1`: the directory, `$2`: `pg_ctl`.
const OWN_WATCH: &str = r#"
read -r _
"$2" stop -s -m immediate -D "$1/data"
rm -rf "$1"
"#;

/// A running server.
#[derive(Debug)]
pub struct Cluster {
    directory: PathBuf,
    port: u16,
    programs: Programs,
    /// Held as long as the server is used.
    _user: File,
    /// Of a server that nobody else uses.
    watch: Option<Child>,
}

/// A schema that a test has for itself.
#[derive(Debug)]
pub struct Schema {
    /// Its name; connections that [`Schema::url`] leads to carry it as their application's name.
    pub name: String,
    cluster: Cluster,
}

/// Where the programs are, and who runs them.
#[derive(Clone, Debug)]
struct Programs {
    directory: PathBuf,
    /// User and group, when we are root: a server refuses to be.
    user: Option<(u32, u32)>,
}

impl Cluster {
    /// The server that tests share.
    ///
    /// # Panics
    /// When the programs are missing or the server does not start; so for everything here.
    pub fn shared() -> Self {
        let programs = Programs::find();
        let root = root(&programs);
        let lock = open(&root.join("lock"));
        lock.lock().unwrap();
        let user = join(&root, &programs);
        let directory = root.join("cluster");
        let port = fs::read_to_string(directory.join("port")).ok().and_then(|port| port.parse().ok());
        let lives = |port: &u16| UnixStream::connect(socket(&directory, *port)).is_ok();
        let port = port.filter(lives).unwrap_or_else(|| {
            programs.run(Command::new("rm").arg("-rf").arg(&directory));
            let port = create(&root, &directory, &programs);
            fs::write(directory.join("port"), port.to_string()).unwrap();
            port
        });
        Self { directory, port, programs, _user: user, watch: None }
    }

    /// A server that nobody else uses.
    pub fn own() -> Self {
        let programs = Programs::find();
        let root = root(&programs);
        let lock = open(&root.join("lock"));
        lock.lock().unwrap();
        let user = join(&root, &programs);
        let directory = root.join(fresh("own"));
        let mut watch = programs.command("sh");
        watch.args(["-c", OWN_WATCH, "sh"]).arg(&directory).arg(programs.path("pg_ctl"));
        watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let watch = watch.spawn().unwrap();
        let port = create(&root, &directory, &programs);
        Self { directory, port, programs, _user: user, watch: Some(watch) }
    }

    /// A schema for one test. It is not made yet.
    pub fn schema(self) -> Schema {
        Schema { name: fresh("t"), cluster: self }
    }

    /// Where the server listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The database over TCP on `port`, which may be a proxy's, with user and password.
    pub fn url_on(&self, port: u16) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres")
    }

    /// The database over TCP.
    pub fn url(&self) -> String {
        self.url_on(self.port)
    }

    /// Runs SQL as the superuser and returns what it prints, columns separated by `|`.
    pub fn sql(&self, text: &str) -> String {
        let mut psql = self.programs.command(self.programs.path("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            USER,
            "-d",
            "postgres",
            "-c",
            text,
        ]);
        psql.arg("-h").arg(&self.directory).arg("-p").arg(self.port.to_string());
        self.programs.output(&mut psql)
    }

    /// Crashes the server and starts it again: what was not flushed is lost.
    pub fn restart_immediately(&self) {
        assert!(self.watch.is_some(), "only a test's own server is restarted");
        self.stop();
        self.start();
    }

    /// Crashes the server.
    pub fn stop(&self) {
        assert!(self.watch.is_some(), "only a test's own server is stopped");
        self.control(&["stop", "-m", "immediate"]);
    }

    /// Starts it again.
    pub fn start(&self) {
        self.control(&["start", "-w", "-o", &options(&self.directory, self.port)]);
    }

    /// Makes the server speak TLS, with a certificate of its own for 127.0.0.1, and returns its file.
    pub fn serve_tls(&self) -> PathBuf {
        let file = |name: &str| self.directory.join("data").join(name);
        let config = "[req]\nprompt=no\ndistinguished_name=name\nx509_extensions=for\n[name]\nCN=test\n\
            [for]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n";
        fs::write(file("openssl.cnf"), config).unwrap();
        let mut openssl = self.programs.command("openssl");
        openssl.args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        openssl
            .arg("-config")
            .arg(file("openssl.cnf"))
            .args(["-days", "2", "-keyout"])
            .arg(file("server.key"));
        self.programs.run(openssl.arg("-out").arg(file("server.crt")));
        self.sql("ALTER SYSTEM SET ssl = on");
        self.sql("SELECT pg_reload_conf()");
        while self.sql("SHOW ssl").trim() != "on" {
            std::thread::sleep(Duration::from_millis(5));
        }
        file("server.crt")
    }

    fn control(&self, arguments: &[&str]) {
        let mut command = self.programs.command(self.programs.path("pg_ctl"));
        command.arg("-D").arg(self.directory.join("data")).arg("-l").arg(self.directory.join("log"));
        self.programs.run(command.args(arguments));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            // The pipe closes, and the server is gone when the shell is.
            drop(watch.stdin.take());
            let _ = watch.wait();
        }
    }
}

impl Schema {
    /// The server that it is on.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The database over TCP, for connections that [`kill_connections`](Self::kill_connections) ends.
    pub fn url(&self) -> String {
        self.url_on(self.cluster.port)
    }

    /// As [`url`](Self::url), through a proxy.
    pub fn url_on(&self, port: u16) -> String {
        format!("{}?application_name={}", self.cluster.url_on(port), self.name)
    }

    /// Runs SQL in this schema.
    pub fn sql(&self, text: &str) -> String {
        self.cluster.sql(&format!("SET search_path = \"{}\"; {text}", self.name))
    }

    /// Ends every connection to this schema, and returns how many there were.
    pub fn kill_connections(&self) -> usize {
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = ";
        self.cluster.sql(&format!("{kill}'{}'", self.name)).trim().parse().unwrap()
    }
}

impl Programs {
    fn find() -> Self {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
        let mut found: Vec<_> =
            versions.filter_map(|entry| Some((number(&entry.path())?, entry.path().join("bin")))).collect();
        found.retain(|(_, bin)| bin.join("initdb").exists());
        let newest = found.into_iter().max().map(|(_, bin)| bin);
        let directory = newest.expect("PostgreSQL's programs: `cargo xtask test` installs them");
        let me = fs::metadata("/proc/self").unwrap().uid();
        Self { directory, user: (me == 0).then(server_user) }
    }

    fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }

    /// A command as the server's user.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null()).env_remove("PGOPTIONS").env_remove("PGSERVICE");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    fn run(&self, command: &mut Command) {
        // A server keeps what it was started with: no pipe of ours.
        let log = std::env::temp_dir().join(fresh("farthing-postgres-said"));
        let said = File::create(&log).unwrap();
        let status = command.stdout(said.try_clone().unwrap()).stderr(said).status().unwrap();
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        assert!(status.success(), "{command:?}: {text}");
    }

    fn output(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Who runs a server when we are root: the package's own user, else nobody.
fn server_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(|field| field.parse().ok());
        Some((fields.next()??, fields.next()??))
    };
    of("postgres").or_else(|| of("nobody")).expect("a user who is not root")
}

/// The directory that everything is in, one for each user who runs tests.
fn root(programs: &Programs) -> PathBuf {
    let me = fs::metadata("/proc/self").unwrap().uid();
    let place = |parent: &Path| parent.join(format!("farthing-postgres-{me}"));
    let mut root = place(&std::env::temp_dir());
    if root.as_os_str().len() + 60 > SOCKET_LIMIT {
        root = place(Path::new("/tmp"));
    }
    // Another test may be making it at the same moment.
    let _ = DirBuilder::new().mode(0o700).create(&root);
    let (user, group) = programs.user.unwrap_or((me, me));
    if programs.user.is_some() {
        chown(&root, Some(user), Some(group)).unwrap();
    }
    assert_eq!(fs::metadata(&root).unwrap().uid(), user, "{} is somebody else's", root.display());
    root
}

/// A file that is locked, by us or by the shell that waits.
fn open(path: &Path) -> File {
    let file = OpenOptions::new().create(true).truncate(false).write(true).read(true).mode(0o666).open(path);
    let file = file.unwrap();
    let _ = file.set_permissions(fs::Permissions::from_mode(0o666));
    file
}

/// Becomes a user of the directory, and sees that it is cleaned up.
fn join(root: &Path, programs: &Programs) -> File {
    let user = open(&root.join("users"));
    user.lock_shared().unwrap();
    let watch = open(&root.join("watch"));
    if watch.try_lock().is_ok() {
        drop(watch);
        let mut command = programs.command("sh");
        command.args(["-c", SHARED_WATCH, "sh"]).arg(root).arg(programs.path("pg_ctl"));
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        // It goes on in the background.
        assert!(command.status().unwrap().success());
    }
    user
}

/// Makes a cluster in `directory` and starts it; returns its port.
fn create(root: &Path, directory: &Path, programs: &Programs) -> u16 {
    let template = root.join("template");
    if !template.join("done").exists() {
        let password = root.join("password");
        fs::write(&password, PASSWORD).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
        programs.run(programs.command("rm").arg("-rf").arg(&template));
        let mut initdb = programs.command(programs.path("initdb"));
        initdb.arg("-D").arg(&template).arg("--pwfile").arg(&password);
        initdb.args(["-U", USER, "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]);
        programs.run(initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256"]));
        fs::write(template.join("done"), "").unwrap();
    }
    programs.run(programs.command("mkdir").arg(directory));
    programs.run(programs.command("cp").arg("-a").arg(&template).arg(directory.join("data")));
    for attempt in 0.. {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(socket(directory, port).as_os_str().len() < SOCKET_LIMIT, "{}", directory.display());
        let mut start = programs.command(programs.path("pg_ctl"));
        start.args(["start", "-w", "-D"]).arg(directory.join("data")).arg("-l").arg(directory.join("log"));
        start.args(["-o", &options(directory, port)]).stdout(Stdio::null()).stderr(Stdio::null());
        if start.status().unwrap().success() {
            return port;
        }
        // Somebody took the port in between.
        let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(attempt < 5, "the server does not start: {log}");
    }
    unreachable!("the last attempt panics")
}

fn options(directory: &Path, port: u16) -> String {
    let directory = directory.display();
    format!("-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={directory}")
}

fn socket(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

/// A name that nobody has.
fn fresh(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos();
    format!("{prefix}_{}_{:x}_{}", std::process::id(), now as u64, COUNT.fetch_add(1, Ordering::Relaxed))
}
