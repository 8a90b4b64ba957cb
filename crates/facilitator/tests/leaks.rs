//! T44: with every trace written, neither the token nor the payment's signature is in the log.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scripted;

use std::io::Write;
use std::sync::{Arc, Mutex};

use farthing_facilitator::RemoteFacilitator;
use farthing_facilitator::http::HttpOptions;
use farthing_protocol::rail::{Facilitator, Outcome, UnknownOutcome};
use scripted::{Script, TOKEN, request, serve};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn t44_no_log_or_debug_text_holds_the_token_or_the_payment() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let rail = Script::new();
    let options = HttpOptions::default().tenant("shop", TOKEN).unwrap();
    let shown = format!("{options:?}");
    let address = serve(rail.local(), options).await;
    let builder = RemoteFacilitator::builder(format!("http://{address}")).token(TOKEN);
    let shown = format!("{shown}{builder:?}");
    let far = builder.build().unwrap();
    let shown = format!("{shown}{far:?}");

    assert!(matches!(far.settle(&request()).await, Outcome::Settled(_)));
    *rail.settle.lock().unwrap() = Outcome::Unknown(UnknownOutcome("silence".into()));
    assert!(matches!(far.settle(&request()).await, Outcome::Unknown(_)));
    let stranger = RemoteFacilitator::builder(format!("http://{address}")).build().unwrap();
    assert!(stranger.verify(&request()).await.is_err());

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("a settlement's outcome is unknown"), "the log is written");
    let signature = "5e".repeat(64);
    for secret in [TOKEN, signature.as_str(), "Bearer"] {
        assert!(!log.contains(secret) && !shown.contains(secret), "{secret}");
    }
}
