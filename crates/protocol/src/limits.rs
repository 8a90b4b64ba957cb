//! How much a peer may send before anything is decoded.
//!
//! Limits come before work: header size before base64, base64 before JSON, JSON before signatures,
//! signatures before storage.

/// Upper bounds on what comes from the network. Everything at or below a bound passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one payment header's value, before base64 is decoded.
    pub header_bytes: usize,
    /// Bytes of a JSON body: version 1 terms, and the messages of a facilitator.
    pub json_body_bytes: usize,
    /// Arrays and objects inside each other, the outermost included.
    pub json_depth: usize,
    /// Members of one object, or elements of one array.
    pub json_members: usize,
    /// Bytes of a request body that a payment is bound to; they are held in memory before the hold.
    pub bound_body_bytes: usize,
    /// Bytes of an answer that is stored with its capture; a longer one is sent, but not kept.
    pub answer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 8 * 1024,
            json_body_bytes: 256 * 1024,
            json_depth: 32,
            json_members: 256,
            bound_body_bytes: 1024 * 1024,
            answer_bytes: 64 * 1024,
        }
    }
}
