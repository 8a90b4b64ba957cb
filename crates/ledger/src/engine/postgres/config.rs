//! Where the database is, and how its server is spoken to.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::PostgresError;

/// The schema of a ledger for which no other is named.
pub const DEFAULT_SCHEMA: &str = "farthing";
/// Seconds that a server is waited for, when the connection string does not say.
const CONNECT_SECONDS: u64 = 5;

/// A database and the schema in it that one ledger has for itself.
#[derive(Clone)]
pub struct PostgresConfig {
    pub(super) server: Config,
    pub(super) tls: Tls,
    pub(super) schema: String,
    /// Whether the database's clock rules, not the ledger's.
    pub(super) keeps_time: bool,
    pub(super) needs_fsync: bool,
}

/// How the connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Off,
    /// Certificate and name are verified, against the system's roots or those in a file.
    On(Option<PathBuf>),
}

impl std::fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("server", &self.place())
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl FromStr for PostgresConfig {
    type Err = PostgresError;

    /// Reads a connection string as libpq does, `postgres://user:password@host/database` or
    /// `host=.. user=..`, with two differences. `sslmode` is `disable` or `verify-full` (as which `require`
    /// and `verify-ca` are read: what is not verified protects nothing), and without it a unix socket or a
    /// loopback address is spoken to in clear, any other host not. `sslrootcert` names a file of roots.
    fn from_str(text: &str) -> Result<Self, PostgresError> {
        let (text, mode) = take(text, "sslmode");
        let (text, roots) = take(&text, "sslrootcert");
        // What the parser says may quote a part of the password.
        let wrong = |_| PostgresError::Config("it is not a PostgreSQL connection string".into());
        let mut server = Config::from_str(&text).map_err(wrong)?;
        let named = |host: &Host| !matches!(host, Host::Tcp(name) if name.is_empty());
        if server.get_hosts().is_empty() || !server.get_hosts().iter().all(named) {
            return Err(PostgresError::Config("it names no host".into()));
        }
        let tls = match mode.as_deref() {
            None if server.get_hosts().iter().all(is_near) => Tls::Off,
            Some("disable") => Tls::Off,
            None | Some("require" | "verify-ca" | "verify-full") => Tls::On(roots.map(PathBuf::from)),
            Some(_) => {
                return Err(PostgresError::Config("sslmode is `disable` or `verify-full`".into()));
            }
        };
        server.ssl_mode(if tls == Tls::Off { SslMode::Disable } else { SslMode::Require });
        if server.get_connect_timeout().is_none() {
            server.connect_timeout(Duration::from_secs(CONNECT_SECONDS));
        }
        server.keepalives(true).keepalives_idle(Duration::from_secs(10));
        server.keepalives_interval(Duration::from_secs(5)).keepalives_retries(3);
        server.tcp_user_timeout(Duration::from_secs(20));
        if server.get_application_name().is_none() {
            server.application_name("farthing");
        }
        let schema = DEFAULT_SCHEMA.to_owned();
        Ok(Self { server, tls, schema, keeps_time: true, needs_fsync: true })
    }
}

impl PostgresConfig {
    /// The schema that the ledger has, so that one database may hold several; `farthing` by default.
    ///
    /// # Errors
    /// [`PostgresError::Config`] when it is not 1 to 63 of `a-z 0-9 _` that do not begin with a digit or `pg_`.
    pub fn with_schema(mut self, schema: &str) -> Result<Self, PostgresError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins = schema.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if !begins || schema.len() > 63 || !schema.bytes().all(fits) || schema.starts_with("pg_") {
            return Err(PostgresError::Config("a schema is 1 to 63 of a-z 0-9 _".into()));
        }
        schema.clone_into(&mut self.schema);
        Ok(self)
    }

    /// The same database, in the schema that is named after this one and `what`.
    pub(crate) fn beside(&self, what: &str) -> Result<Self, PostgresError> {
        self.clone().with_schema(&format!("{}_{what}", self.schema))
    }

    /// Lets the ledger's clock rule instead of the database's: for tests that set the time.
    #[must_use]
    pub fn with_the_ledgers_clock(mut self) -> Self {
        self.keeps_time = false;
        self
    }

    /// Accepts a server that may lose what it has confirmed (`fsync = off`): for tests and benches only.
    #[must_use]
    pub fn without_durability(mut self) -> Self {
        self.needs_fsync = false;
        self
    }

    /// The server, as errors name it.
    pub(super) fn place(&self) -> String {
        let port = |at: usize| {
            let ports = self.server.get_ports();
            ports.get(at).or_else(|| ports.first()).copied().unwrap_or(5432)
        };
        let hosts = self.server.get_hosts().iter().enumerate().map(|(at, host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(at)),
            Host::Unix(directory) => format!("{}/.s.PGSQL.{}", directory.display(), port(at)),
        });
        hosts.collect::<Vec<_>>().join(", ")
    }

    pub(super) fn user(&self) -> &str {
        self.server.get_user().unwrap_or("(the operating system's)")
    }

    pub(super) fn database(&self) -> &str {
        self.server.get_dbname().unwrap_or_else(|| self.user())
    }
}

/// Nobody can listen between here and there.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
    }
}

/// Takes an option out of a connection string of either form.
fn take(text: &str, option: &str) -> (String, Option<String>) {
    let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    let (before, options, separator) = match text.split_once('?') {
        Some((before, options)) if is_url => (format!("{before}?"), options, '&'),
        None if is_url => return (text.to_owned(), None),
        _ => (String::new(), text, ' '),
    };
    let mut found = None;
    let rest = options.split(separator).filter(|part| match part.split_once('=') {
        Some((name, value)) if name == option => {
            found = Some(value.trim_matches('\'').to_owned());
            false
        }
        _ => true,
    });
    let rest = rest.collect::<Vec<_>>().join(&separator.to_string());
    let text = format!("{before}{rest}");
    (text.strip_suffix('?').unwrap_or(&text).to_owned(), found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(text: &str) -> Result<Tls, PostgresError> {
        text.parse().map(|config: PostgresConfig| config.tls)
    }

    #[test]
    fn tls_is_off_only_near_or_when_told_so() {
        for near in ["postgres:///db?host=/run/postgresql", "host=127.0.0.1", "postgres://u:p@localhost/db"] {
            assert_eq!(tls(near).unwrap(), Tls::Off, "{near}");
        }
        assert_eq!(tls("postgres://db.example/db?sslmode=disable").unwrap(), Tls::Off);
        for far in ["postgres://db.example/db", "host=db.example", "postgres://db.example/db?sslmode=require"]
        {
            assert_eq!(tls(far).unwrap(), Tls::On(None), "{far}");
        }
        let roots =
            tls("postgres://127.0.0.1/db?sslmode=verify-full&sslrootcert=/etc/roots.pem&user=u").unwrap();
        assert_eq!(roots, Tls::On(Some("/etc/roots.pem".into())));
        assert!(matches!(tls("host=db.example sslmode=prefer"), Err(PostgresError::Config(_))));
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_the_password() {
        for text in [
            "",
            "nonsense",
            "postgres://u:secret@",
            "postgres://u:secret@h?unknown=1",
            "postgres://u:secret@h:x/db",
        ] {
            let error = text.parse::<PostgresConfig>().map(|_| ()).unwrap_err();
            assert!(!error.to_string().contains("cret"), "{error}");
        }
        let config: PostgresConfig = "postgres://u:secret@127.0.0.1:99/db".parse().unwrap();
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(config.place(), "127.0.0.1:99");
    }

    #[test]
    fn a_schema_is_a_plain_name() {
        let config: PostgresConfig = "host=127.0.0.1".parse().unwrap();
        for good in ["a", "farthing_2", "_x"] {
            assert!(config.clone().with_schema(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "1a", "a b", "a\"b", "pg_catalog", &"x".repeat(64)] {
            assert!(config.clone().with_schema(bad).is_err(), "{bad}");
        }
    }
}
