//! The server's loop: connections, TLS, limits on what a client may send before it is read, and an orderly end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tower::{Service, ServiceExt as _};

/// How long it is waited when the operating system has no room for one more connection.
const NO_ROOM: Duration = Duration::from_millis(200);

/// Limits of a server.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Bytes of a request's line and headers together; more are answered 431.
    pub head_bytes: usize,
    /// How long a head may take to arrive, also after an earlier request on the same connection.
    pub head_time: Duration,
    /// Connections at the same time; others wait.
    pub connections: usize,
    /// How long requests may go on after the server was asked to stop.
    pub grace: Duration,
    /// With which certificate and key, where connections are encrypted.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            head_time: Duration::from_secs(30),
            connections: 4096,
            grace: Duration::from_secs(30),
            tls: None,
        }
    }
}

/// A certificate or key that cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file cannot be read, or has no certificate in it.
    #[error("certificate {path}: {why}")]
    Certificate {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The file cannot be read, or has no private key in it.
    #[error("key {path}: {why}")]
    Key {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// They do not fit.
    #[error("certificate and key: {0}")]
    Pair(#[from] rustls::Error),
}

/// A server's side of TLS with the certificates in one PEM file, the server's own first, and the key in another.
///
/// # Errors
/// [`TlsError`] names the file.
pub fn tls(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(certificate)?;
    let failed = |why: String| TlsError::Key { path: key.display().to_string(), why };
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(no_pem(&error, "a private key")))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificates in a PEM file, as the only ones to be trusted.
///
/// # Errors
/// [`TlsError`] names the file.
pub fn roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate)?;
    }
    Ok(Arc::new(roots))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |why: String| TlsError::Certificate { path: path.display().to_string(), why };
    let pem = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = pem.map_err(|error| failed(no_pem(&error, "a certificate")))?;
    match chain.is_empty() {
        true => Err(failed("has no certificate in it".to_owned())),
        false => Ok(chain),
    }
}

fn no_pem(error: &rustls::pki_types::pem::Error, what: &str) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => format!("has not {what} in it"),
        error => format!("is not {what} in PEM: {error}"),
    }
}

/// Serves until `shutdown` ends; then accepts no more connections and waits for the requests that are there, for as
/// long as the options allow.
///
/// # Errors
/// Those of the listener that do not pass.
pub async fn serve<S>(
    listener: TcpListener,
    service: S,
    options: ListenOptions,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(options.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let acceptor = options.tls.clone().map(TlsAcceptor::from);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &room) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let (service, options, acceptor) = (service.clone(), options.clone(), acceptor.clone());
        let watcher = graceful.watcher();
        connections.spawn(async move {
            let _place = place;
            // Small answers are not held back to be sent with later ones.
            let _ = stream.set_nodelay(true);
            match acceptor {
                None => connection(stream, peer, service, &options, watcher).await,
                Some(acceptor) => {
                    match tokio::time::timeout(options.head_time, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => connection(stream, peer, service, &options, watcher).await,
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS"),
                        Err(_) => tracing::debug!(%peer, "TLS took too long"),
                    }
                }
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(options.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(left = connections.len(), "requests are given up");
    }
    connections.shutdown().await;
    Ok(())
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection; `None` when there was none after all.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<Accepted> {
    let place = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
            if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
                tracing::error!(%error, "no connection can be accepted");
                tokio::time::sleep(NO_ROOM).await;
            }
            None
        }
    }
}

async fn connection<I, S>(stream: I, peer: SocketAddr, service: S, options: &ListenOptions, watcher: Watcher)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let serve = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        service.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_time)
        .max_header_size(options.head_bytes)
        .max_buf_size(options.head_bytes.max(64 * 1024))
        .serve_connection(TokioIo::new(stream), serve);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%peer, %error, "connection");
    }
}
