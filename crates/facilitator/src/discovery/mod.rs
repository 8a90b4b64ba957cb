//! The catalogue of resources (extension `bazaar`): what is sold where, for agents that look for it.
//!
//! A payment only points at a resource; what a client says about one is not believed. When a payment for a
//! resource was verified, and the resource is at an origin where the caller is configured to sell, the
//! catalogue asks the resource server itself, without a payment. What the server answers with 402, and
//! nothing else, becomes the entry (`docs/adr/0008-discovery.md`).

mod ask;
mod entry;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use farthing_protocol::Origin;
use farthing_protocol::records::{CATALOGUE, Record, Records, RecordsError, Replaced};
use farthing_protocol::v2::{FacilitatorRequest, PaymentRequirements};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use crate::ConfigError;
use ask::Asker;
use entry::{Brief, Entry};

/// The extension's name.
pub(crate) const EXTENSION: &str = "bazaar";

/// Entries of a page, unless asked otherwise.
const PAGE: usize = 20;
/// Entries of the longest page.
const PAGE_MAX: usize = 100;
/// Records that are read at once.
const SCAN: usize = 256;
/// Resource servers that are asked at the same time.
const ASKS: usize = 4;
/// Resources that are remembered as asked for.
const RECENT: usize = 10_000;
/// How long what was read from the records is good for listing.
const FRESH: Duration = Duration::from_secs(2);
/// How long an entry stays without another payment for its resource: 30 days.
const KEEP_SECONDS: u64 = 30 * 24 * 3600;
/// Attempts to store an entry that other processes store as well.
const ATTEMPTS: usize = 3;

/// Resources that were paid for, as their servers describe them. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue(Arc<Inner>);

struct Inner {
    records: Arc<dyn Records>,
    asker: Asker,
    asks: Arc<Semaphore>,
    settings: Settings,
    recent: Mutex<HashMap<String, Instant>>,
    index: tokio::sync::Mutex<Option<(Instant, Arc<Index>)>>,
}

#[derive(Clone, Copy)]
struct Settings {
    capacity: usize,
    per_origin: usize,
    refresh: Duration,
}

/// Everything that is listed, in the order of its keys.
type Index = Vec<Item>;

struct Item {
    key: Vec<u8>,
    brief: Brief,
    text: Box<RawValue>,
}

/// What a reader wants to see: the query of `GET /discovery/resources`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Filter {
    r#type: Option<String>,
    pay_to: Option<String>,
    scheme: Option<String>,
    network: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// The answer of `GET /discovery/resources`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    x402_version: u64,
    items: Vec<Box<RawValue>>,
    pagination: Pagination,
}

#[derive(Debug, Serialize)]
struct Pagination {
    limit: usize,
    offset: usize,
    total: usize,
}

impl Catalogue {
    /// A catalogue that is kept in `records`, which several processes may share: at most 2,000 resources, 200 of
    /// one origin, each asked about at most once in ten minutes and forgotten after 30 days without a payment.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] when the client that asks cannot be prepared.
    pub fn new(records: Arc<dyn Records>) -> Result<Self, ConfigError> {
        let settings = Settings { capacity: 2_000, per_origin: 200, refresh: Duration::from_secs(600) };
        Ok(Self::with(records, Asker::new()?, settings))
    }

    /// How many resources are listed, and how many of one origin; more are not added.
    #[must_use]
    pub fn capacity(self, resources: usize, per_origin: usize) -> Self {
        let settings = Settings { capacity: resources, per_origin, ..self.0.settings };
        Self::with(self.0.records.clone(), self.0.asker.clone(), settings)
    }

    /// How long a resource is not asked about again.
    #[must_use]
    pub fn refresh(self, refresh: Duration) -> Self {
        let settings = Settings { refresh, ..self.0.settings };
        Self::with(self.0.records.clone(), self.0.asker.clone(), settings)
    }

    fn with(records: Arc<dyn Records>, asker: Asker, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            records,
            asker,
            asks: Arc::new(Semaphore::new(ASKS)),
            settings,
            recent: Mutex::default(),
            index: tokio::sync::Mutex::default(),
        }))
    }

    /// A payment was good: its resource is asked about, in a task of its own, if it is at one of `origins`. The
    /// payment's own words are only used to know where to ask.
    pub(crate) fn notice<'a>(
        &self,
        mut origins: impl Iterator<Item = &'a Origin>,
        request: &FacilitatorRequest,
    ) {
        let payment = &request.payment_payload;
        let Some(resource) = &payment.resource else { return };
        if !payment.extensions.contains_key(EXTENSION) {
            return;
        }
        let Ok((origin, target)) = Origin::of_url(&resource.url) else { return };
        if !origins.any(|known| *known == origin) {
            return;
        }
        let path = target.split('?').next().unwrap_or_default().to_owned();
        if path.len() > entry::PATH_BYTES || !self.0.is_due(&origin, &path) {
            return;
        }
        // When many are asked already, this one is asked about with its next payment.
        let Ok(permit) = self.0.asks.clone().try_acquire_owned() else {
            self.0.forget(&origin, &path);
            return;
        };
        let (inner, offer) = (Arc::clone(&self.0), Arc::clone(&request.payment_requirements));
        tokio::spawn(async move {
            if let Err(why) = inner.look(&origin, &path, &offer).await {
                tracing::debug!(%origin, path, why, "a resource is not listed");
            }
            drop(permit);
        });
    }

    /// One page of what is listed.
    pub(crate) async fn list(&self, filter: &Filter) -> Result<Page, RecordsError> {
        let limit = filter.limit.unwrap_or(PAGE).min(PAGE_MAX);
        let offset = filter.offset.unwrap_or_default();
        let index = self.0.index().await?;
        let wanted = || index.iter().filter(|item| filter.admits(&item.brief));
        let total = wanted().count();
        let items = wanted().skip(offset).take(limit).map(|item| item.text.clone()).collect();
        Ok(Page {
            x402_version: farthing_protocol::v2::VERSION,
            items,
            pagination: Pagination { limit, offset, total },
        })
    }
}

impl Inner {
    /// Whether a resource was not asked about lately; then it counts as asked about from now on.
    fn is_due(&self, origin: &Origin, path: &str) -> bool {
        let Ok(mut recent) = self.recent.lock() else { return false };
        let refresh = self.settings.refresh;
        if recent.len() >= RECENT {
            recent.retain(|_, asked| asked.elapsed() < refresh);
        }
        let name = format!("{origin}{path}");
        let due = recent.get(&name).is_none_or(|asked| asked.elapsed() >= refresh);
        if !due || recent.len() >= RECENT {
            return false;
        }
        recent.insert(name, Instant::now());
        true
    }

    fn forget(&self, origin: &Origin, path: &str) {
        if let Ok(mut recent) = self.recent.lock() {
            recent.remove(&format!("{origin}{path}"));
        }
    }

    /// Asks the resource server, and lists what it says.
    async fn look(&self, origin: &Origin, path: &str, paid: &PaymentRequirements) -> Result<(), String> {
        let terms = self.asker.ask(origin, path).await?;
        let entry = Entry::of(origin, path, &terms, paid)?;
        let key = entry.key();
        let now = unix_now();
        let value = entry.text(now)?;
        for _ in 0..ATTEMPTS {
            let there = self.records.get(&key).await.map_err(|error| error.to_string())?;
            if there.is_none() && !self.has_room(&key).await? {
                return Err("the catalogue is full".into());
            }
            let expected = there.as_ref().map(|record| record.value.as_slice());
            let record = Record { value: value.clone(), until: now + KEEP_SECONDS };
            match self.records.replace(&key, expected, Some(record)).await {
                Ok(Replaced::Done) => {
                    *self.index.lock().await = None;
                    return Ok(());
                }
                Ok(Replaced::Found(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("other processes store it as well".into())
    }

    async fn has_room(&self, key: &[u8]) -> Result<bool, String> {
        let index = self.index().await.map_err(|error| error.to_string())?;
        let of_origin = index.iter().filter(|item| entry::same_origin(&item.key, key)).count();
        Ok(index.len() < self.settings.capacity && of_origin < self.settings.per_origin)
    }

    async fn index(&self) -> Result<Arc<Index>, RecordsError> {
        let mut kept = self.index.lock().await;
        if let Some((read, index)) = kept.as_ref().filter(|(read, _)| read.elapsed() < FRESH) {
            tracing::trace!(age = ?read.elapsed(), "the catalogue as it was read");
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(self.read().await?);
        *kept = Some((Instant::now(), Arc::clone(&index)));
        Ok(index)
    }

    async fn read(&self) -> Result<Index, RecordsError> {
        let (mut index, mut after, now) = (Index::new(), None::<Vec<u8>>, unix_now());
        loop {
            let page = self.records.scan(&[CATALOGUE], after.as_deref(), SCAN).await?;
            let ended = page.len() < SCAN;
            after = page.last().map(|(key, _)| key.clone());
            for (key, record) in page {
                if index.len() >= self.settings.capacity {
                    return Ok(index);
                }
                if record.until < now {
                    continue;
                }
                if let Some((brief, text)) = Entry::read(&record.value) {
                    index.push(Item { key, brief, text });
                }
            }
            if ended {
                return Ok(index);
            }
        }
    }
}

impl Filter {
    fn admits(&self, brief: &Brief) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.r#type, &brief.r#type)
            && brief.accepts.iter().any(|offer| {
                is(&self.scheme, &offer.scheme)
                    && is(&self.network, &offer.network)
                    && self.pay_to.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(&offer.pay_to))
            })
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue")
            .field("records", &self.0.records)
            .field("capacity", &self.0.settings.capacity)
            .finish_non_exhaustive()
    }
}
