//! One request on a priced route, as a state machine without I/O.
//!
//! [`Route::open`] begins it. From then on each step is an [`Action`] that carries the state its event goes
//! to, so the states cannot be confused and none can be skipped:
//!
//! | action | what the shell does | event |
//! |---|---|---|
//! | [`Action::Answer`] | sends the answer | the end |
//! | [`Action::Enter`] | asks the [desk](crate::desk) | [`Entering::entered`] |
//! | [`Action::Settle`] | asks the facilitator | [`Settling::outcome`] |
//! | [`Action::Run`] | runs the handler | [`Held::ended`] |
//! | [`Action::Stream`] | sends the answer through its [tap](crate::metering::Tap), and captures for it | [`Streaming::close`] |
//! | [`Action::AnswerAndSettle`] | answers, and settles behind the client's back | [`Settling::outcome`] |
//!
//! A paid answer needs a [`Permit`], which only a hold or a settlement gives. Time is an argument, in Unix
//! seconds; the flow draws no random numbers. `B` is what the shell needs to send a body that is too long
//! to be held in memory; the flow never looks at it.

mod case;
mod claiming;
mod held;
mod later;
mod notice;
mod observed;
mod open;
mod route;
mod settling;
mod streaming;

pub(crate) use case::Objection;
pub use case::PaidBy;
pub(crate) use claiming::{Bearer, Step};
pub use claiming::{Claiming, Reply};
pub use held::{HandlerAnswer, HandlerEnd, Held, Permit};
pub use later::Later;
pub use notice::Notices;
pub(crate) use open::REMEMBERED;
pub use open::{BodyFault, Bound, Entering, Opened};
pub use route::{Asked, Durability, OnDisconnect, Route, Seller};
pub(crate) use route::{Terms, takes};
pub use settling::{Kept, Question, Settling, Standing};
pub use streaming::Streaming;

use crate::answer::Answer;
use crate::metering::Tap;

/// What to do next.
#[derive(Debug)]
pub enum Action<B> {
    /// Send this; there is nothing more to do.
    Answer(Answer<B>),
    /// Ask the desk about this payment.
    Enter(Box<Entering>),
    /// Ask the facilitator to settle this.
    Settle(Box<Settling<B>>),
    /// Run the handler.
    Run(Box<Held>),
    /// Send the answer while it is written, and capture for it on the way.
    Stream {
        /// For the client; its body goes through the tap.
        answer: Answer<B>,
        /// The delivering side of the meter.
        tap: Tap,
        /// The capturing side.
        streaming: Box<Streaming>,
    },
    /// Send the answer, and go on with the settlement.
    AnswerAndSettle {
        /// For the client.
        answer: Answer<B>,
        /// To be repeated until its outcome is known, or kept for the client to present again.
        settling: Box<Settling<B>>,
        /// The settlement was not tried yet.
        at_once: bool,
    },
}
