//! Free requests for each caller, before money is asked for.
//!
//! Periods are counted from the Unix epoch, for all callers at once: when one is over, all counts begin anew
//! and nothing is kept of the last. Memory is bounded by the number of callers that are counted. When there
//! are more, the counted ones stay, and a caller that comes later has nothing free until the period ends:
//! forgetting somebody's count instead would give requests away to whoever invents enough callers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ConnectInfo;
use farthing_protocol::digest::sha256;
use http::HeaderName;
use http::request::Parts;

/// Callers that are counted at the same time, unless configured otherwise: about 4 MiB.
const MOST_CALLERS: usize = 65_536;

/// So many requests in each period are free for each caller; then a request is paid for.
///
/// Clones count together, as do all routes that are priced with clones of one layer. Each process counts for
/// itself.
#[derive(Clone)]
pub struct Quota {
    requests: u32,
    /// Seconds.
    period: u64,
    by: By,
    most_callers: usize,
    counts: Arc<Mutex<Counts>>,
}

/// What tells one caller from another.
#[derive(Clone)]
enum By {
    Address,
    Header(HeaderName),
    Own(Arc<Own>),
}

/// What a seller makes of a request's head.
type Own = dyn Fn(&Parts) -> Option<String> + Send + Sync;

/// The first half of a caller's SHA-256: names may be long, and counts are not.
type Caller = [u8; 16];

#[derive(Default)]
struct Counts {
    /// Periods since the Unix epoch.
    period: u64,
    used: HashMap<Caller, u32>,
}

/// Whether a request is free for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// It is, and was counted.
    Left,
    /// It would have been, earlier.
    UsedUp {
        /// Seconds until requests are free again.
        retry_after: u32,
    },
    /// Nothing is free here, or nobody knows whose request it is.
    None,
}

impl Quota {
    /// `requests` in each `period`, which is taken in whole seconds, for each address that requests come from.
    ///
    /// # Panics
    /// When the period is below one second.
    #[must_use]
    #[track_caller]
    pub fn new(requests: u32, period: Duration) -> Self {
        assert!(period.as_secs() > 0, "a quota's period is one second or more");
        let (period, counts) = (period.as_secs(), Arc::default());
        Self { requests, period, by: By::Address, most_callers: MOST_CALLERS, counts }
    }

    /// Counts by the address of the connection, as axum's `ConnectInfo<SocketAddr>` has it; by the first 64
    /// bits of an IPv6 address. Without `into_make_service_with_connect_info` nobody has an address, and
    /// nothing is free. Behind a proxy all requests come from one address.
    #[must_use]
    pub fn by_address(self) -> Self {
        Self { by: By::Address, ..self }
    }

    /// Counts by the value of a header, such as an API key; a request without it is paid for. Whoever can
    /// invent values gets requests for nothing: a layer outside of this one must refuse unknown ones.
    ///
    /// # Panics
    /// When the name is not one.
    #[must_use]
    #[track_caller]
    pub fn by_header(self, name: &str) -> Self {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Self { by: By::Header(name), ..self },
            Err(_) => panic!("{name:?} is not the name of a header"),
        }
    }

    /// Counts by whatever the seller makes of a request's head; a request of which it makes `None` is paid for.
    #[must_use]
    pub fn by(self, caller: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { by: By::Own(Arc::new(caller)), ..self }
    }

    /// Callers that are counted in one period, 65,536 unless set. Whoever comes later pays.
    #[must_use]
    pub fn most_callers(self, callers: usize) -> Self {
        Self { most_callers: callers, ..self }
    }

    /// Takes one free request, when its caller has one left.
    pub(crate) fn take(&self, parts: &Parts, now: u64) -> Allowance {
        let Some(caller) = self.caller(parts) else { return Allowance::None };
        let period = now / self.period;
        let used_up = || {
            let retry_after = (period + 1).saturating_mul(self.period).saturating_sub(now).max(1);
            Allowance::UsedUp { retry_after: u32::try_from(retry_after).unwrap_or(u32::MAX) }
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that goes back gives nothing away.
        if period > counts.period {
            *counts = Counts { period, used: HashMap::new() };
        }
        let known = counts.used.len();
        match counts.used.get_mut(&caller) {
            Some(used) if *used < self.requests => *used += 1,
            Some(_) => return used_up(),
            None if self.requests == 0 || known >= self.most_callers => return used_up(),
            None => {
                counts.used.insert(caller, 1);
            }
        }
        Allowance::Left
    }

    fn caller(&self, parts: &Parts) -> Option<Caller> {
        let name = match &self.by {
            By::Address => network(parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()),
            By::Header(name) => {
                let mut values = parts.headers.get_all(name).iter();
                let value = values.next().filter(|value| !value.is_empty())?;
                // Of several values nobody knows which one was believed elsewhere.
                if values.next().is_some() {
                    return None;
                }
                value.as_bytes().to_vec()
            }
            By::Own(caller) => caller(parts)?.into_bytes(),
        };
        sha256(&name).first_chunk().copied()
    }
}

/// Whom an address belongs to: one address of version 4, or a network of version 6.
fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

impl std::fmt::Debug for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { requests, period, .. } = self;
        f.debug_struct("Quota").field("requests", requests).field("seconds", period).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn from(address: &str) -> Parts {
        let mut parts = http::Request::new(()).into_parts().0;
        let address: IpAddr = address.parse().unwrap();
        parts.extensions.insert(ConnectInfo(SocketAddr::from((address, 1))));
        parts
    }

    fn keyed(keys: &[&str]) -> Parts {
        let request = keys.iter().fold(http::Request::builder(), |b, key| b.header("x-api-key", *key));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn each_caller_has_its_own_count_in_each_period() {
        let quota = Quota::new(2, Duration::from_secs(100));
        let (a, b) = (from("192.0.2.1"), from("192.0.2.2"));
        assert_eq!([&a, &a, &b].map(|caller| quota.take(caller, NOW)), [Allowance::Left; 3]);
        assert_eq!(quota.take(&a, NOW + 30), Allowance::UsedUp { retry_after: 70 });
        assert_eq!(quota.take(&b, NOW + 30), Allowance::Left);
        assert_eq!(quota.take(&a, NOW + 99), Allowance::UsedUp { retry_after: 1 });
        assert_eq!(quota.take(&a, NOW + 100), Allowance::Left);
        assert_eq!(quota.clone().take(&a, NOW + 100), Allowance::Left);
        assert_eq!(quota.take(&a, NOW + 100), Allowance::UsedUp { retry_after: 100 });
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let quota = Quota::new(1, Duration::from_secs(100));
        let a = from("192.0.2.1");
        assert_eq!(quota.take(&a, NOW), Allowance::Left);
        assert!(matches!(quota.take(&a, NOW - 500), Allowance::UsedUp { .. }));
    }

    #[test]
    fn a_flood_of_callers_neither_grows_memory_nor_resets_a_count() {
        let quota = Quota::new(1, Duration::from_secs(100)).by_header("x-api-key").most_callers(8);
        assert_eq!(quota.take(&keyed(&["known"]), NOW), Allowance::Left);
        let flood = (0..1000).map(|number| quota.take(&keyed(&[&number.to_string()]), NOW));
        assert_eq!(flood.filter(|allowance| *allowance == Allowance::Left).count(), 7);
        assert!(matches!(quota.take(&keyed(&["known"]), NOW), Allowance::UsedUp { .. }));
        assert_eq!(quota.counts.lock().unwrap().used.len(), 8);
        assert_eq!(quota.take(&keyed(&["known"]), NOW + 100), Allowance::Left);
        assert_eq!(quota.counts.lock().unwrap().used.len(), 1);
    }

    #[test]
    fn who_cannot_be_told_apart_has_nothing_free() {
        let day = Duration::from_secs(86_400);
        assert_eq!(Quota::new(9, day).take(&keyed(&["a"]), NOW), Allowance::None);
        let by_key = Quota::new(9, day).by_header("X-API-Key");
        for keys in [&[][..], &[""], &["a", "a"]] {
            assert_eq!(by_key.take(&keyed(keys), NOW), Allowance::None, "{keys:?}");
        }
        assert_eq!(by_key.take(&keyed(&["a"]), NOW), Allowance::Left);
        assert_eq!(Quota::new(9, day).by(|_| None).take(&from("::1"), NOW), Allowance::None);
        assert!(matches!(Quota::new(0, day).take(&from("::1"), NOW), Allowance::UsedUp { .. }));
    }

    #[test]
    fn a_network_of_version_6_is_one_caller_and_so_is_an_address_however_it_is_written() {
        let quota = Quota::new(1, Duration::from_secs(100));
        for (first, second) in [("2001:db8::1", "2001:db8::ffff:2"), ("192.0.2.1", "::ffff:192.0.2.1")] {
            assert_eq!(quota.take(&from(first), NOW), Allowance::Left);
            assert!(matches!(quota.take(&from(second), NOW), Allowance::UsedUp { .. }), "{second}");
        }
        assert_eq!(quota.take(&from("2001:db8:0:1::1"), NOW), Allowance::Left);
    }
}
