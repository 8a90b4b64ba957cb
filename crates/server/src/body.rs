//! Bodies: a request's, read before it is bound, and an answer's, held as far as it is kept.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::answer::Content;
use crate::flow::BodyFault;

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn spool(body: Body, limit: usize, deadline: Duration) -> Result<Bytes, BodyFault> {
    if http_body::Body::size_hint(&body).lower() > limit as u64 {
        return Err(BodyFault::TooLarge);
    }
    if http_body::Body::is_end_stream(&body) {
        return Ok(Bytes::new());
    }
    let collected = tokio::time::timeout(deadline, gather(body, limit)).await;
    match collected.map_err(|_| BodyFault::Timeout)? {
        Ok(gathered) if gathered.more => Err(BodyFault::TooLarge),
        Ok(gathered) => Ok(gathered.join()),
        Err(_) => Err(BodyFault::Unreadable),
    }
}

/// Reads an answer's body as far as it is kept: all of it, or a body that still has all of it.
pub(crate) async fn collect(body: Body, limit: usize) -> Result<Content<Body>, BoxError> {
    if http_body::Body::size_hint(&body).lower() > limit as u64 {
        return Ok(Content::Long(body));
    }
    let gathered = gather(body, limit).await?;
    if gathered.more || gathered.trailers {
        return Ok(Content::Long(Body::new(Resumed { first: gathered.frames, rest: gathered.rest })));
    }
    Ok(Content::Whole(gathered.join()))
}

/// What was read of a body.
struct Gathered {
    frames: VecDeque<Frame<Bytes>>,
    rest: Body,
    /// There is more data than the limit.
    more: bool,
    trailers: bool,
}

async fn gather(mut rest: Body, limit: usize) -> Result<Gathered, BoxError> {
    let (mut frames, mut read, mut trailers) = (VecDeque::new(), 0, false);
    while read <= limit {
        let Some(frame) = rest.frame().await.transpose()? else {
            return Ok(Gathered { frames, rest, more: false, trailers });
        };
        read += frame.data_ref().map_or(0, Bytes::len);
        trailers |= frame.is_trailers();
        frames.push_back(frame);
    }
    Ok(Gathered { frames, rest, more: true, trailers })
}

impl Gathered {
    fn join(self) -> Bytes {
        let mut data: Vec<Bytes> =
            self.frames.into_iter().filter_map(|frame| frame.into_data().ok()).collect();
        if data.len() == 1 {
            return data.swap_remove(0);
        }
        let mut joined = BytesMut::with_capacity(data.iter().map(Bytes::len).sum());
        data.iter().for_each(|piece| joined.extend_from_slice(piece));
        joined.freeze()
    }
}

/// A body whose beginning was read already.
struct Resumed {
    first: VecDeque<Frame<Bytes>>,
    rest: Body,
}

impl http_body::Body for Resumed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.first.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first: usize = self.first.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(first as u64));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(first as u64));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(pieces: &[&'static [u8]]) -> Body {
        let pieces: Vec<Result<Bytes, BoxError>> = pieces.iter().map(|p| Ok(Bytes::from_static(p))).collect();
        Body::from_stream(futures_util::stream::iter(pieces))
    }

    const SOON: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_body_is_read_up_to_and_including_the_limit() {
        assert_eq!(spool(pieces(&[b"ab", b"", b"c"]), 3, SOON).await.unwrap(), "abc");
        assert_eq!(spool(pieces(&[b"ab", b"cd"]), 3, SOON).await, Err(BodyFault::TooLarge));
        assert_eq!(spool(Body::from("abcd"), 3, SOON).await, Err(BodyFault::TooLarge));
        assert_eq!(spool(Body::empty(), 0, SOON).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_body_that_stalls_or_breaks_is_told_from_one_that_is_too_large() {
        let stalls = Body::from_stream(futures_util::stream::pending::<Result<Bytes, BoxError>>());
        assert_eq!(spool(stalls, 3, SOON).await, Err(BodyFault::Timeout));
        let breaks = Body::from_stream(futures_util::stream::iter([Err::<Bytes, BoxError>("gone".into())]));
        assert_eq!(spool(breaks, 3, SOON).await, Err(BodyFault::Unreadable));
    }

    #[tokio::test]
    async fn a_long_answer_loses_nothing() {
        for limit in 0..5 {
            let Content::Long(long) = collect(pieces(&[b"ab", b"cd", b"e"]), limit).await.unwrap() else {
                panic!("{limit} is less than five")
            };
            assert_eq!(long.collect().await.unwrap().to_bytes(), "abcde");
        }
        let whole = collect(pieces(&[b"ab", b"cd", b"e"]), 5).await.unwrap();
        assert!(matches!(whole, Content::Whole(body) if body == "abcde"));
    }

    #[tokio::test]
    async fn a_known_length_stays_known() {
        let Content::Long(long) = collect(Body::from("abcde"), 2).await.unwrap() else { panic!("long") };
        assert_eq!(http_body::Body::size_hint(&long).exact(), Some(5));
    }
}
