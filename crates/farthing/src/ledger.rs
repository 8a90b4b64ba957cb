//! A ledger of your own: embedded, closed-loop, with play money.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use farthing_facilitator::LocalFacilitator;
use farthing_facilitator::http::{self, HttpOptions};
use farthing_ledger::admin::{Deposit, NewAsset};
use farthing_ledger::command::Signed;
use farthing_ledger::records::{EmbeddedRecords, MemoryRecords};
use farthing_ledger::recovery::Recovered;
use farthing_ledger::{Ledger, Options, WeakLedger, keyfile};
use farthing_protocol::rail::Facilitator;
use farthing_protocol::records::Records;
use farthing_protocol::{Amount, Price, PublicKey, SecretKey};
use farthing_rail_native::NativeSettle;

use crate::Error;

/// Decimal places of both assets.
pub(crate) const SCALE: u8 = 6;
/// Where a ledger's directory has the records of whoever sells on it.
const RECORDS: &str = "records";
/// What one payer can hold of each asset: 1,000.000000.
const PAYER_CAP: Amount = Amount(1_000_000_000);

/// An embedded ledger for one seller, with two assets of scale 6: `USD`, prepaid credit at this seller,
/// and `XTS`, play money (ISO 4217's code for tests).
///
/// Whoever runs a ledger can mint on it: a balance is credit at that operator, and nothing else. So this
/// one is closed-loop: it pays one seller, has no transfers between payers, and caps what each can hold.
#[derive(Clone, Debug)]
pub struct LocalLedger {
    ledger: Ledger,
    issuer: SecretKey,
    facilitator: Arc<LocalFacilitator>,
    records: Option<Arc<dyn Records>>,
}

impl LocalLedger {
    /// Opens the ledger in `directory`, making it if it is not there, and the seller's [records](Self::records)
    /// beside it. `seller` is the one account that can be paid; an existing ledger must have been made for the
    /// same.
    ///
    /// # Errors
    /// When the directory is in use, was made otherwise, or cannot be read.
    pub async fn open(directory: impl AsRef<Path>, seller: PublicKey) -> Result<Self, Error> {
        let directory = directory.as_ref();
        let ledger = Ledger::open(directory, Options::closed_loop(seller, PAYER_CAP))?;
        let issuer = keyfile::load_or_create(directory.join("issuer.key"))?;
        let records = EmbeddedRecords::open(directory.join(RECORDS));
        let records = records.map_err(|error| Error::Config(error.to_string()))?;
        Ok(Self::with(ledger, issuer).await?.with_records(Arc::new(records)))
    }

    /// A ledger in memory, gone with the process: for tests.
    ///
    /// # Errors
    /// When there is no randomness for its keys.
    pub async fn memory(seller: PublicKey) -> Result<Self, Error> {
        let key = SecretKey::from_seed(random()?);
        let ledger = Ledger::memory(key, Options::closed_loop(seller, PAYER_CAP))?;
        let ledger = Self::with(ledger, SecretKey::from_seed(random()?)).await?;
        Ok(ledger.with_records(Arc::new(MemoryRecords::new())))
    }

    /// Wraps a ledger, registering both assets with `issuer` unless they are there. It has no records beside it
    /// until they are [named](Self::with_records).
    ///
    /// # Errors
    /// When an asset of the same code was registered otherwise.
    pub async fn with(ledger: Ledger, issuer: SecretKey) -> Result<Self, Error> {
        for code in ["USD", "XTS"] {
            let code = code.parse().map_err(|_| Error::Config("asset code".into()))?;
            ledger.register(NewAsset { code, scale: SCALE, issuer: issuer.public() }).await?;
        }
        let rail = NativeSettle::new(ledger.clone()).await?;
        let facilitator =
            Arc::new(LocalFacilitator::new(vec![Arc::new(rail)]).map_err(|e| Error::Config(e.to_string()))?);
        Ok(Self { ledger, issuer, facilitator, records: None })
    }

    /// Keeps what its seller must remember, such as passes, in `records`: one store for all processes that sell on
    /// this ledger.
    #[must_use]
    pub fn with_records(self, records: Arc<dyn Records>) -> Self {
        Self { records: Some(records), ..self }
    }

    /// What its seller remembers beside the ledger, such as who bought a pass. A [paywall](crate::paywall) that is
    /// given this ledger uses it.
    #[must_use]
    pub fn records(&self) -> Option<Arc<dyn Records>> {
        self.records.clone()
    }

    /// The facilitator of this ledger, in process.
    pub fn facilitator(&self) -> Arc<dyn Facilitator> {
        self.facilitator.clone()
    }

    /// The facilitator over HTTP, to be nested in an axum router: clients read the ledger's signed terms
    /// and the status of payments there, other servers settle.
    pub fn service(&self, options: HttpOptions) -> axum::Router {
        http::service(self.facilitator.as_ref().clone(), options)
    }

    /// Issues money to an account, such as `"1.00 XTS"`, and returns it in atomic units.
    ///
    /// # Errors
    /// When the amount is not one, or the account would hold more than the cap.
    pub async fn deposit(&self, account: PublicKey, amount: &str) -> Result<Amount, Error> {
        let price: Price = amount.parse().map_err(|e| Error::Config(format!("{amount:?}: {e}")))?;
        let asset = price.currency().parse().map_err(|e| Error::Config(format!("{amount:?}: {e}")))?;
        let amount = price.to_atomic(SCALE).map_err(|e| Error::Config(e.to_string()))?;
        let deposit = Deposit { asset, account, amount, reference: random()? };
        self.ledger.deposit(Signed::<Deposit>::sign(&self.ledger.id(), deposit, &self.issuer)).await?;
        Ok(amount)
    }

    /// What an account may spend, in atomic units.
    ///
    /// # Errors
    /// When the ledger is not available, or has no such asset.
    pub async fn balance(&self, account: PublicKey, asset: &str) -> Result<Amount, Error> {
        let asset = asset.parse().map_err(|e| Error::Config(format!("{asset:?}: {e}")))?;
        Ok(self.ledger.balance(account, asset).await?)
    }

    /// Ends payments in doubt, as [`Ledger::recover`] does: what a server left behind that was killed. `authorizer`
    /// is the seller's key that captures and voids. Holds whose lease still runs are looked at again when it
    /// lapses, as long as the ledger is open and the runtime runs.
    ///
    /// A [paywall](crate::paywall) that is given this ledger calls it when it is made.
    ///
    /// # Errors
    /// When the ledger is not available.
    pub async fn recover(&self, authorizer: &SecretKey) -> Result<Recovered, Error> {
        let recovered = self.ledger.recover(Some(authorizer)).await?;
        report(&recovered);
        if let (Some(last), Ok(runtime)) = (recovered.last_lapse, tokio::runtime::Handle::try_current()) {
            let (ledger, key) = (self.ledger.downgrade(), authorizer.clone());
            runtime.spawn(recover_until(ledger, key, last, recovered.clone()));
        }
        Ok(recovered)
    }

    /// The ledger itself.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

/// How long it is waited when the ledger was not available, and how often.
const PAUSE: Duration = Duration::from_secs(5);
const TRIES: u32 = 12;

/// Recovers once more whenever a lease lapses that ran when the process started, until the last of them has.
async fn recover_until(ledger: WeakLedger, authorizer: SecretKey, last: u64, mut recovered: Recovered) {
    let mut tries = 0;
    while let Some(next) = recovered.next_lapse.filter(|next| *next <= last) {
        tokio::time::sleep(Duration::from_secs(next.saturating_sub(recovered.now).max(1))).await;
        let Some(ledger) = ledger.upgrade() else { return };
        let again = ledger.recover(Some(&authorizer)).await;
        // While nothing is done, the ledger may be closed.
        drop(ledger);
        match again {
            Ok(found) => recovered = found,
            Err(error) if tries == TRIES => {
                return tracing::warn!(%error, "payments in doubt wait for their deadlines");
            }
            Err(_) => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        report(&recovered);
    }
}

fn report(recovered: &Recovered) {
    let (reclaimed, voided, waiting) =
        (recovered.reclaimed.len(), recovered.voided.len(), recovered.waiting.len());
    if reclaimed + voided + waiting > 0 {
        tracing::info!(reclaimed, voided, waiting, leased = recovered.leased, "payments in doubt");
    }
}

fn random() -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| Error::Config(format!("no randomness: {e}")))?;
    Ok(bytes)
}
