//! A JSON value that is read once and forwarded byte for byte.
//!
//! x402 peers compare what a client echoes with what the server sent, and nobody agrees on how JSON is
//! re-serialised. So whatever must be echoed keeps its text beside its parsed form.

use std::ops::Deref;
use std::sync::Arc;

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// `T` together with the exact JSON text it was read from (or first written as). Cheap to clone.
#[derive(Debug)]
pub struct Verbatim<T>(Arc<(Box<RawValue>, T)>);

impl<T> Clone for Verbatim<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Serialize> Verbatim<T> {
    /// Writes `value` once; from here on its text does not change.
    ///
    /// # Errors
    /// When `value` has no JSON form.
    pub fn write(value: T) -> Result<Self, serde_json::Error> {
        let text = serde_json::value::to_raw_value(&value)?;
        Ok(Self::of(text, value))
    }
}

impl<T: DeserializeOwned> Verbatim<T> {
    /// Reads `text`, keeping it.
    ///
    /// # Errors
    /// When the text is not a `T`, or no JSON object.
    pub fn read(text: Box<RawValue>) -> Result<Self, serde_json::Error> {
        let parsed = object(text.get())?;
        Ok(Self::of(text, parsed))
    }
}

impl<T> Verbatim<T> {
    fn of(text: Box<RawValue>, parsed: T) -> Self {
        Self(Arc::new((text, parsed)))
    }

    /// The JSON text, exactly as received or first written.
    pub fn text(&self) -> &str {
        self.0.0.get()
    }

    /// The JSON text as a raw value, for embedding in another document.
    pub fn raw(&self) -> &RawValue {
        &self.0.0
    }

    /// The parsed value alone.
    pub fn into_parsed(self) -> T
    where
        T: Clone,
    {
        Arc::try_unwrap(self.0).map_or_else(|shared| shared.1.clone(), |(_, parsed)| parsed)
    }
}

impl<T> Deref for Verbatim<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.1
    }
}

/// Equal when the texts are equal.
impl<T> PartialEq for Verbatim<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.0.get() == other.0.0.get()
    }
}

impl<T> Eq for Verbatim<T> {}

impl<T> Serialize for Verbatim<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.0.serialize(serializer).map_err(S::Error::custom)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Verbatim<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match object(text.get()) {
            Ok(parsed) => Ok(Self::of(text, parsed)),
            // Says where in this text: a position would be taken for one in the text around it.
            Err(error) => Err(D::Error::custom(crate::json::typed(text.get(), &error))),
        }
    }
}

/// serde would take the members of a `T` from an array, too; other readers would not.
fn object<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    if !text.trim_start().starts_with('{') {
        return Err(<serde_json::Error as serde::de::Error>::custom("a JSON object is expected"));
    }
    serde_json::from_str(text)
}
