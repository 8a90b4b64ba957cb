//! What a command is given to read: by somebody else, and so never more of it than it can need.

use std::io::Read;

use farthing::protocol::Limits;

/// Reads more than servers do, because a header may have come from a more generous one.
pub(crate) const LIMITS: Limits = Limits {
    header_bytes: 64 * 1024,
    json_body_bytes: 256 * 1024,
    json_depth: 32,
    json_members: 256,
    bound_body_bytes: 0,
    answer_bytes: 0,
};

/// All of standard input.
pub(crate) fn standard_input() -> Result<String, String> {
    text(std::io::stdin().lock(), "standard input")
}

/// All text there, unless it has more bytes than [`LIMITS`] allows a JSON body.
pub(crate) fn text(from: impl Read, name: &str) -> Result<String, String> {
    let limit = LIMITS.json_body_bytes as u64;
    let mut text = String::new();
    let read = from.take(limit + 1).read_to_string(&mut text);
    read.map_err(|error| format!("{name}: {error}"))?;
    if text.len() as u64 > limit {
        return Err(format!("{name} has more than {limit} bytes"));
    }
    Ok(text)
}
