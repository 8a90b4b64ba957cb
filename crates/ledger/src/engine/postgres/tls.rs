//! TLS to the server: its certificate and its name are always verified.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresError;

/// Trusts the certificates in a file, or those that the system trusts.
pub(super) fn connector(roots: Option<&Path>) -> Result<MakeRustlsConnect, PostgresError> {
    let wrong = |why: String| PostgresError::Tls(why);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| wrong(e.to_string()))?;
    let builder = match roots {
        None => builder.with_platform_verifier().map_err(|e| wrong(e.to_string()))?,
        Some(file) => {
            let unreadable = |e: String| wrong(format!("{}: {e}", file.display()));
            let mut store = RootCertStore::empty();
            for root in CertificateDer::pem_file_iter(file).map_err(|e| unreadable(e.to_string()))? {
                let root = root.map_err(|e| unreadable(e.to_string()))?;
                store.add(root).map_err(|e| unreadable(e.to_string()))?;
            }
            if store.is_empty() {
                return Err(unreadable("it holds no certificate".into()));
            }
            builder.with_root_certificates(store)
        }
    };
    Ok(MakeRustlsConnect::new(builder.with_no_client_auth()))
}
