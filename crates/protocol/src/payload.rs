//! The scheme's own part of a payment: its text, and what a rail has read of it.
//!
//! One rail reads the same payload in several roles of one process. Its text stays what counts between
//! processes; within one, the rail's own reading of it is handed along and made once.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Member `payload` of a payment. Cheap to clone; never changes.
///
/// It holds signatures, so its `Debug` is silent.
#[derive(Clone)]
pub struct Payload(Arc<Inner>);

struct Inner {
    text: OnceLock<Box<RawValue>>,
    read: OnceLock<Anything>,
    /// Writes what was made without a text.
    write: fn(&Anything) -> Option<Box<RawValue>>,
}

type Anything = Arc<dyn Any + Send + Sync>;

impl Payload {
    /// A payload that a rail makes. Its text is `value`'s JSON, written when somebody asks for it; `null` if
    /// `value` has none.
    #[must_use]
    pub fn of<T: Serialize + Send + Sync + 'static>(value: T) -> Self {
        let write = |value: &Anything| serde_json::value::to_raw_value(value.downcast_ref::<T>()?).ok();
        let read: Anything = Arc::new(value);
        Self(Arc::new(Inner { text: OnceLock::new(), read: OnceLock::from(read), write }))
    }

    /// The JSON text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.text().get()
    }

    /// The payload as a `T`: as it was made, as it was read before, or as `parse` reads its text now.
    ///
    /// # Errors
    /// Those of `parse`.
    pub fn read<T, E>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<Arc<T>, E>
    where
        T: Send + Sync + 'static,
    {
        if let Some(Ok(read)) = self.0.read.get().map(|read| read.clone().downcast::<T>()) {
            return Ok(read);
        }
        let read = Arc::new(parse(self.get())?);
        // The first reading is the one that is kept.
        let _ = self.0.read.set(read.clone());
        Ok(read)
    }

    fn text(&self) -> &RawValue {
        let write = || self.0.read.get().and_then(self.0.write).unwrap_or_default();
        self.0.text.get_or_init(write)
    }
}

impl From<Box<RawValue>> for Payload {
    fn from(text: Box<RawValue>) -> Self {
        Self(Arc::new(Inner { text: OnceLock::from(text), read: OnceLock::new(), write: |_| None }))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload(..)")
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::Payload;

    fn number(text: &str) -> Result<u32, std::num::ParseIntError> {
        text.parse()
    }

    #[test]
    fn a_payload_is_read_once_and_its_text_stays_as_it_came() {
        let payload: Payload = serde_json::from_str(" 17").unwrap();
        assert_eq!(payload.get(), "17");
        assert_eq!(payload.read(number).as_deref(), Ok(&17));
        assert_eq!(payload.clone().read(|_| number("another")).as_deref(), Ok(&17));
        assert_eq!(serde_json::to_string(&payload).unwrap(), "17");
    }

    #[test]
    fn what_cannot_be_read_is_refused_each_time() {
        let payload: Payload = serde_json::from_str("\"x\"").unwrap();
        assert!(payload.read(number).is_err());
        assert!(payload.read(number).is_err());
        assert_eq!(payload.read(|text| Ok::<_, ()>(text.len())).as_deref(), Ok(&3));
    }

    #[test]
    fn a_payload_that_is_made_is_handed_along_as_it_is_and_has_a_text_when_asked() {
        let payload = Payload::of(17_u32);
        assert_eq!(payload.read(|_| number("not asked")).as_deref(), Ok(&17));
        assert_eq!(serde_json::to_string(&payload).unwrap(), "17");
        // Read as something else, it is what its text says.
        assert_eq!(payload.read(|text| Ok::<_, ()>(text.to_owned())).as_deref(), Ok(&"17".to_owned()));
        assert_eq!(format!("{payload:?}"), "Payload(..)");
    }
}
