//! Encrypted connections, to the gateway and to the upstream.

use std::path::Path;
use std::sync::Arc;

use farthing::gateway::{Config, Gateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::upstream::{Upstream, text};
use crate::world::ROUTES;

/// A certificate for this machine and its key, in files.
fn certificate(directory: &Path) -> rcgen::Certificate {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert
}

fn trusting(certificate: &rcgen::Certificate) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// A gateway whose file has this at its top and `[tls]` with these files at its end.
async fn gateway(
    directory: &Path,
    upstream: &str,
    more: &str,
    certificate: &str,
) -> Result<(String, Gateway, TcpListener), String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let text = format!(
        "listen = \"{address}\"\norigin = \"https://{address}\"\nupstream = \"{upstream}\"\ndata = \"data-{}\"\n{more}\n\
         [tls]\ncertificate = \"{certificate}\"\nkey = \"key.pem\"\n{ROUTES}",
        listener.local_addr().unwrap().port()
    );
    let config = Config::parse(&text, directory).unwrap();
    let gateway = Gateway::build(config).await.map_err(|error| error.to_string())?;
    Ok((address, gateway, listener))
}

async fn get(address: &str, connector: &TlsConnector, path: &str) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Some peers end without saying so.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn connections_are_encrypted_here_and_on_to_the_upstream() {
    let directory = tempfile::tempdir().unwrap();
    let connector = trusting(&certificate(directory.path()));
    let upstream = Upstream::start(|_| text("behind two")).await;
    let inner = gateway(directory.path(), &upstream.origin, "", "cert.pem").await.unwrap();
    let (inner_at, inner, listener) = inner;
    let inner = tokio::spawn(inner.serve(listener, std::future::pending()));

    // The first gateway is the upstream of the second.
    let more = "upstream_ca = \"cert.pem\"";
    let (at, outer, listener) =
        gateway(directory.path(), &format!("https://{inner_at}"), more, "cert.pem").await.unwrap();
    let outer = tokio::spawn(outer.serve(listener, std::future::pending()));
    let answer = get(&at, &connector, "/free").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("behind two"), "{answer}");
    assert!(get(&at, &connector, "/paid/a").await.starts_with("HTTP/1.1 402"));
    assert_eq!(upstream.hits()[0].header("x-forwarded-proto"), Some("https"));
    inner.abort();
    outer.abort();
}

#[tokio::test]
async fn certificates_and_keys_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path());
    let other = tempfile::tempdir().unwrap();
    certificate(other.path());
    std::fs::copy(other.path().join("cert.pem"), directory.path().join("other.pem")).unwrap();
    std::fs::write(directory.path().join("empty.pem"), "").unwrap();
    for (file, words) in [
        ("missing.pem", "missing.pem"),
        ("empty.pem", "has no certificate"),
        ("other.pem", "certificate and key"),
    ] {
        let error = gateway(directory.path(), "http://127.0.0.1:9", "", file).await.unwrap_err();
        assert!(error.contains(words) && error.contains("gateway.toml:7"), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_served_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path());
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = format!("metrics = \"{}\"", taken.local_addr().unwrap());
    let made = || std::fs::read_dir(directory.path()).unwrap().count() - 2;
    for (more, file) in [("", "missing.pem"), (metrics.as_str(), "cert.pem")] {
        assert!(gateway(directory.path(), "http://127.0.0.1:9", more, file).await.is_err());
        assert_eq!(made(), 0, "{file}");
    }
    assert!(gateway(directory.path(), "http://127.0.0.1:9", "", "cert.pem").await.is_ok());
    assert_eq!(made(), 1);
}
