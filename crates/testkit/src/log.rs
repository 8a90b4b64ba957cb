//! Everything that is logged, to be searched for what must not be in it.
//!
//! This file uses `tracing-subscriber` alone, so that crates which testkit depends on may include it by its path.
#![allow(dead_code, unreachable_pub, reason = "each crate that includes this uses its part")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Keeps what is written to it; its clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The process's own: every level of every crate that logs, with `tracing` or with `log`, and every panic.
    pub fn of_process() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        let start = || {
            let log = Self::default();
            tracing_subscriber::fmt()
                .with_env_filter("trace")
                .with_span_events(FmtSpan::FULL)
                .with_ansi(false)
                .with_writer(log.clone())
                .init();
            let (panicked, usual) = (log.clone(), std::panic::take_hook());
            std::panic::set_hook(Box::new(move |info| {
                panicked.0.lock().unwrap().extend_from_slice(format!("\npanic: {info}\n").as_bytes());
                usual(info);
            }));
            log
        };
        LOG.get_or_init(start).clone()
    }

    /// What was logged so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
