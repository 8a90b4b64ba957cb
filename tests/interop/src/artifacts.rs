//! Signed offers, receipts and payment identifiers, in both directions: the reference reads what farthing writes, and
//! farthing reads what the reference makes.

use std::path::PathBuf;
use std::process::Stdio;

use farthing::protocol::offer_receipt::{self, Artifact, SignedOffer, SignedReceipt};
use farthing::protocol::payment_identifier::{self, Identifier};
use farthing::protocol::rail::PaymentId;
use farthing::protocol::v2::{Extensions, PaymentRequirements};
use farthing::protocol::{PublicKey, SecretKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Has the reference and farthing read each other's signed offers, receipts and payment identifiers.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The programs of `node/` with their packages beside them.
    #[arg(long)]
    node: PathBuf,
}

const URL: &str = "https://shop.example/weather?city=Taipei";
const PAYER: &str = "0x857b06519E91e3A54538791bDbb0E22373e36b66";
const TRANSACTION: &str = "0xfeed";

/// What the reference answers.
#[derive(Debug, Deserialize)]
struct Answer {
    offers: Vec<Read>,
    receipt: Value,
    refused: bool,
    names: Names,
    theirs: Theirs,
}

#[derive(Debug, Deserialize)]
struct Read {
    payload: Value,
    accepted: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Names {
    required: bool,
    answered: Extensions,
    read: Value,
    valid: bool,
}

#[derive(Debug, Deserialize)]
struct Theirs {
    key: PublicKey,
    offer: Artifact,
    receipt: Artifact,
    minimal: Artifact,
}

/// Checks both directions.
///
/// # Errors
/// The first thing that one of the two does not read as the other means it.
pub(crate) async fn run(args: &Args) -> Result<(), String> {
    let (key, other) = (SecretKey::from_seed([7; 32]), SecretKey::from_seed([8; 32]));
    let accepts = accepts()?;
    let signed: Result<Vec<_>, _> = (0..)
        .zip(&accepts)
        .map(|(at, offer)| Artifact::sign(&SignedOffer::of(offer, URL, 2_000_000_000), Some(at), &key))
        .collect();
    let stated = receipt(&accepts[0], Some(TRANSACTION));
    let artifact = Artifact::sign(&stated, None, &key).map_err(text)?;
    let foreign = Artifact::sign(&stated, None, &other).map_err(text)?;
    let declared = payment_identifier::declaration(true);
    let id = Identifier::of(&PaymentId([1; 32]));
    let issued = serde_json::value::to_raw_value(&declared).map_err(text)?;
    let named = payment_identifier::answer(&issued, &id).ok_or("no answer to an extension of our own")?;
    let job = json!({
        "terms": {
            "x402Version": 2,
            "resource": { "url": URL },
            "accepts": accepts,
            "extensions": {
                "offer-receipt": value(&offer_receipt::of_offers(&signed.map_err(text)?).map_err(text)?)?,
                "payment-identifier": declared,
            },
        },
        "settlement": {
            "success": true,
            "payer": PAYER,
            "transaction": TRANSACTION,
            "network": accepts[0].network,
            "extensions": { "offer-receipt": value(&offer_receipt::of_receipt(&artifact).map_err(text)?)? },
        },
        "tampered": { "format": "jws", "signature": mixed(&artifact.signature, &foreign.signature) },
        "identifier": { "id": id.as_str(), "extensions": { "payment-identifier": value(&named)? } },
    });
    let Answer { offers, receipt: read, refused, names, theirs } = ask(args, &job).await?;

    same("offers that the reference verifies", &offers.len(), &accepts.len())?;
    for (offer, read) in accepts.iter().zip(&offers) {
        let meant = serde_json::to_value(SignedOffer::of(offer, URL, 2_000_000_000)).map_err(text)?;
        same("an offer as the reference reads it", &read.payload, &meant)?;
        let found = read.accepted.clone().unwrap_or_default();
        same("what the reference finds it to be about", &found, &serde_json::to_value(offer).map_err(text)?)?;
    }
    same("a receipt as the reference reads it", &read, &serde_json::to_value(&stated).map_err(text)?)?;
    same("the reference refuses another key's signature", &refused, &true)?;

    same("the reference sees that a name is required", &names.required, &true)?;
    same("the reference takes our name", &(names.valid, &names.read["id"]), &(true, &json!(id.as_str())))?;
    let answered = payment_identifier::read(&names.answered).map_err(text)?;
    answered.ok_or("the reference's client has no name in its answer")?;

    let offer: SignedOffer = proven(&theirs.offer, &theirs.key)?;
    let is_ours = offer.covers(&accepts[0], URL) && offer.valid_until.is_some();
    same("the reference's offer is about what it was made of", &is_ours, &true)?;
    let read: SignedReceipt = proven(&theirs.receipt, &theirs.key)?;
    let meant = SignedReceipt { issued_at: read.issued_at, ..stated };
    same("the reference's receipt", &read, &meant)?;
    let read: SignedReceipt = proven(&theirs.minimal, &theirs.key)?;
    same("the reference's receipt without a transaction", &read.transaction, &None)?;
    let refused = theirs.receipt.verify::<SignedReceipt>(&other.public()).is_err();
    same("another key is refused", &refused, &true)?;
    println!("signed offers, receipts and payment identifiers are read in both directions");
    Ok(())
}

fn accepts() -> Result<Vec<PaymentRequirements>, String> {
    let offer = |scheme: &str, amount: &str| {
        serde_json::from_value(json!({
            "scheme": scheme, "network": "eip155:84532", "amount": amount, "maxTimeoutSeconds": 60,
            "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
            "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", "extra": { "name": "USDC", "version": "2" },
        }))
        .map_err(text)
    };
    Ok(vec![offer("exact", "1000")?, offer("upto", "340282366920938463463374607431768211455")?])
}

fn receipt(offer: &PaymentRequirements, transaction: Option<&str>) -> SignedReceipt {
    SignedReceipt {
        version: offer_receipt::VERSION,
        network: offer.network.clone(),
        resource_url: URL.to_owned(),
        payer: PAYER.to_owned(),
        issued_at: 1_800_000_000,
        transaction: transaction.map(str::to_owned),
    }
}

/// One JWS with the signature of another.
fn mixed(one: &str, other: &str) -> String {
    let head = one.rsplit_once('.').map_or(one, |(head, _)| head);
    let signature = other.rsplit_once('.').map_or(other, |(_, signature)| signature);
    format!("{head}.{signature}")
}

/// What the reference signed, by the key that it says and that its artifact carries.
fn proven<T: offer_receipt::Statement + DeserializeOwned>(
    artifact: &Artifact,
    key: &PublicKey,
) -> Result<T, String> {
    let carried = artifact.jws().and_then(|jws| Ok(jws.key()?)).map_err(text)?;
    same("the key in what the reference signs", &carried, key)?;
    artifact.verify(key).map_err(text)
}

/// Runs the reference's program for one job.
async fn ask(args: &Args, job: &Value) -> Result<Answer, String> {
    let mut command = Command::new("node");
    command.arg(args.node.join("artifacts.mjs")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|error| format!("node: {error}"))?;
    let mut input = child.stdin.take().ok_or("no standard input")?;
    input.write_all(job.to_string().as_bytes()).await.map_err(text)?;
    drop(input);
    let output = child.wait_with_output().await.map_err(text)?;
    if !output.status.success() {
        return Err(format!("artifacts.mjs: {}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(text)
}

fn value(raw: &RawValue) -> Result<Value, String> {
    serde_json::from_str(raw.get()).map_err(text)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, meant: &T) -> Result<(), String> {
    if is == meant { Ok(()) } else { Err(format!("{what}: {is:?} instead of {meant:?}")) }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
