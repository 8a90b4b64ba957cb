//! The canonical binary layouts: what gets signed or hashed, and the rows of storage.
//!
//! A layout is a domain and a version, then fields in a fixed order: integers big-endian, byte strings of
//! a known length as they are, other byte strings behind their length as a big-endian `u32`. One value has
//! exactly one encoding, and one encoding exactly one value: [`Reader::finish`] refuses what is left over.
//! Nothing that is signed or hashed ever goes through JSON.

use thiserror::Error;

/// Bytes that are not the layout they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// They begin with another domain: they were made for something else.
    #[error("these bytes were made for another purpose")]
    Domain,
    /// A version that this code does not know.
    #[error("layout version {found} is not known here")]
    Version {
        /// The version in the bytes.
        found: u8,
    },
    /// They end inside a field.
    #[error("the bytes end inside a field")]
    Short,
    /// A field is longer than its reader allows.
    #[error("a field of {len} bytes is longer than the {limit} that are allowed")]
    Long {
        /// Bytes that the field announces.
        len: u32,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// Bytes follow the last field.
    #[error("bytes follow the last field")]
    Trailing,
    /// A field was read and does not have a meaning.
    #[error("field `{field}` has a value without a meaning")]
    Value {
        /// The field's name in its layout.
        field: &'static str,
    },
}

/// Puts a layout together, field after field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a layout is taken with `finish`"]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Begins a layout that is signed or hashed: `u8` length of `domain`, `domain`, `version`.
    ///
    /// # Panics
    /// When `domain` is longer than 255 bytes. Domains are constants of the code.
    pub fn new(domain: &str, version: u8) -> Self {
        assert!(domain.len() <= usize::from(u8::MAX), "a domain has at most 255 bytes");
        let writer = Self(Vec::with_capacity(256)).u8(domain.len() as u8);
        writer.fixed(domain.as_bytes()).u8(version)
    }

    /// Begins a layout without domain and version, for rows of storage that are told apart by their table.
    pub fn bare() -> Self {
        Self(Vec::with_capacity(256))
    }

    /// Adds bytes whose number the layout knows: no length is written.
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds bytes of any number behind their length as a `u32`.
    ///
    /// # Panics
    /// When there are 4 GiB of them or more. What arrives from outside is limited long before.
    pub fn var(self, bytes: &[u8]) -> Self {
        assert!(bytes.len() <= u32::MAX as usize, "a field has less than 4 GiB");
        self.u32(bytes.len() as u32).fixed(bytes)
    }

    /// Adds one byte.
    pub fn u8(self, value: u8) -> Self {
        self.fixed(&[value])
    }

    /// Adds two bytes, big-endian.
    pub fn u16(self, value: u16) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Adds four bytes, big-endian.
    pub fn u32(self, value: u32) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Adds eight bytes, big-endian.
    pub fn u64(self, value: u64) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Adds sixteen bytes, big-endian.
    pub fn u128(self, value: u128) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Adds sixteen bytes, big-endian, two's complement.
    pub fn i128(self, value: i128) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// The bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a layout apart, field after field, in the order in which it was written.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins to read what [`Writer::new`] began with the same `domain` and `version`.
    ///
    /// # Errors
    /// [`LayoutError::Domain`] for any other beginning, [`LayoutError::Version`] for another version.
    pub fn open(bytes: &'a [u8], domain: &str, version: u8) -> Result<Self, LayoutError> {
        let mut reader = Self::bare(bytes);
        let length = usize::from(reader.u8().map_err(|_| LayoutError::Domain)?);
        if length != domain.len() || reader.take(length) != Ok(domain.as_bytes()) {
            return Err(LayoutError::Domain);
        }
        let found = reader.u8()?;
        if found != version {
            return Err(LayoutError::Version { found });
        }
        Ok(reader)
    }

    /// Begins to read what [`Writer::bare`] began.
    #[must_use]
    pub fn bare(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`LayoutError::Short`].
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], LayoutError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(LayoutError::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    /// The next field of variable length, of at most `max_len` bytes.
    ///
    /// # Errors
    /// [`LayoutError::Long`] before anything else is looked at, [`LayoutError::Short`].
    pub fn var(&mut self, max_len: usize) -> Result<&'a [u8], LayoutError> {
        let len = self.u32()?;
        match usize::try_from(len) {
            Ok(length) if length <= max_len => self.take(length),
            _ => Err(LayoutError::Long { len, limit: max_len }),
        }
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`LayoutError::Short`], as all the fixed-width readers below.
    pub fn u8(&mut self) -> Result<u8, LayoutError> {
        self.fixed().map(u8::from_be_bytes)
    }

    /// The next two bytes, big-endian.
    ///
    /// # Errors
    /// [`LayoutError::Short`].
    pub fn u16(&mut self) -> Result<u16, LayoutError> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// The next four bytes, big-endian.
    ///
    /// # Errors
    /// [`LayoutError::Short`].
    pub fn u32(&mut self) -> Result<u32, LayoutError> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// The next eight bytes, big-endian.
    ///
    /// # Errors
    /// [`LayoutError::Short`].
    pub fn u64(&mut self) -> Result<u64, LayoutError> {
        self.fixed().map(u64::from_be_bytes)
    }

    /// The next sixteen bytes, big-endian.
    ///
    /// # Errors
    /// [`LayoutError::Short`].
    pub fn u128(&mut self) -> Result<u128, LayoutError> {
        self.fixed().map(u128::from_be_bytes)
    }

    /// The next sixteen bytes, big-endian, two's complement.
    ///
    /// # Errors
    /// [`LayoutError::Short`].
    pub fn i128(&mut self) -> Result<i128, LayoutError> {
        self.fixed().map(i128::from_be_bytes)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`LayoutError::Trailing`] when bytes are left.
    pub fn finish(self) -> Result<(), LayoutError> {
        if self.rest.is_empty() { Ok(()) } else { Err(LayoutError::Trailing) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], LayoutError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(LayoutError::Short)?;
        self.rest = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let writer = Writer::new("test/sample", 3).u8(1).u16(2).u32(3).u64(4).u128(5).i128(-6);
        writer.fixed(&[7; 4]).var(b"eight").finish()
    }

    #[test]
    fn what_was_written_is_read_again() {
        let bytes = sample();
        let mut reader = Reader::open(&bytes, "test/sample", 3).unwrap();
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.u64(), Ok(4));
        assert_eq!(reader.u128(), Ok(5));
        assert_eq!(reader.i128(), Ok(-6));
        assert_eq!(reader.fixed::<4>(), Ok([7; 4]));
        assert_eq!(reader.var(5), Ok(&b"eight"[..]));
        assert_eq!(reader.remaining(), 0);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn the_bytes_are_the_documented_ones() {
        assert_eq!(
            Writer::new("ab", 1).u16(0x0203).var(b"c").finish(),
            b"\x02ab\x01\x02\x03\x00\x00\x00\x01c"
        );
        assert_eq!(Writer::bare().u8(9).finish(), [9]);
    }

    #[test]
    fn another_domain_or_version_is_refused() {
        let bytes = sample();
        for domain in ["", "test/sampl", "test/sample2", "test/sampld"] {
            assert_eq!(Reader::open(&bytes, domain, 3).err(), Some(LayoutError::Domain));
        }
        assert_eq!(Reader::open(&[], "test/sample", 3).err(), Some(LayoutError::Domain));
        assert_eq!(Reader::open(&bytes[..6], "test/sample", 3).err(), Some(LayoutError::Domain));
        assert_eq!(Reader::open(&bytes[..12], "test/sample", 3).err(), Some(LayoutError::Short));
        assert_eq!(Reader::open(&bytes, "test/sample", 4).err(), Some(LayoutError::Version { found: 3 }));
    }

    #[test]
    fn short_long_and_trailing_bytes_are_refused() {
        assert_eq!(Reader::bare(&[0; 7]).u64(), Err(LayoutError::Short));
        assert_eq!(Reader::bare(&[0, 0, 0, 2, 1]).var(2), Err(LayoutError::Short));
        assert_eq!(Reader::bare(&[0, 0, 0, 2, 1, 1]).var(2), Ok(&[1, 1][..]));
        assert_eq!(Reader::bare(&[0xff; 4]).var(2), Err(LayoutError::Long { len: u32::MAX, limit: 2 }));
        assert_eq!(Reader::bare(&[0]).finish(), Err(LayoutError::Trailing));
    }
}
