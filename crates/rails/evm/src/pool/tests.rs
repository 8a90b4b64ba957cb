use super::*;
use crate::scripted::{CHAIN_ID, SELLER, Script, key};

const CAPS: Caps = Caps { most: 10_000_000_000, tip: 2_000_000 };

fn errand() -> Errand {
    Errand { only: None, to: SELLER, value: U256::ZERO, data: Bytes::from_static(&[1, 2]), gas: 50_000 }
}

async fn pool(script: &Script, caps: Caps) -> Pool {
    Pool::new(CHAIN_ID, script.rpc().await, caps, vec![key(10)])
}

fn draft(nonce: u64, fee: Fee) -> Draft {
    Draft::sign(&key(10), CHAIN_ID, nonce, fee, &errand()).unwrap()
}

#[test]
fn a_transaction_is_read_as_it_was_written_down() {
    let draft = draft(7, Fee { most: 9, tip: 3 });
    assert_eq!(Draft::read(&draft.raw), Some(draft.clone()));
    assert_eq!(draft.signer, key(10).account());
    assert_eq!(Draft::read(&draft.raw.slice(1..)), None);
}

#[tokio::test]
async fn a_fee_leaves_room_for_the_base_fee_and_keeps_to_the_caps() {
    let script = Script::new();
    let quote = async |caps| Fees::new(script.rpc().await, caps).quote().await;
    // The scripted chain asks for a base fee of a billion wei, and advises a tip of a million.
    assert_eq!(quote(CAPS).await, Ok(Fee { most: 2_001_000_000, tip: 1_000_000 }));
    assert_eq!(quote(Caps { most: 1_500_000_000, tip: 7 }).await, Ok(Fee { most: 1_500_000_000, tip: 7 }));
    assert!(matches!(quote(Caps { most: 999_999_999, tip: 7 }).await, Err(SendError::TooDear(_))));
}

#[tokio::test]
async fn what_takes_the_place_of_a_transaction_pays_a_quarter_more_if_the_caps_allow_it() {
    let script = Script::new();
    let fees = Fees::new(script.rpc().await, CAPS);
    let first = fees.quote().await.unwrap();
    let second = fees.dearer(first).await.unwrap().unwrap();
    assert!(second.most * 4 > first.most * 5 && second.tip * 4 > first.tip * 5);
    assert_eq!(fees.dearer(Fee { tip: 1_900_000, ..first }).await, Ok(None));
    assert_eq!(fees.dearer(Fee { most: 9_000_000_000, ..first }).await, Ok(None));
}

#[tokio::test]
async fn a_gap_that_keeps_a_transaction_from_being_mined_is_filled() {
    let script = Script::new();
    let pool = pool(&script, CAPS).await;
    let fee = pool.fees.quote().await.unwrap();
    let waits = draft(1, fee);
    pool.adopt(&waits).await;
    assert_eq!(pool.push(&waits, true, &mut NoBook).await, Ok(None));
    assert_eq!(script.world().counts[&key(10).account()], 2);
    assert!(script.world().receipts.contains_key(&waits.hash));
    // The next goes on after both.
    let next = pool.send(&errand(), &mut NoBook).await.unwrap();
    assert_eq!(next.nonce, 2);
}

#[tokio::test]
async fn a_nonce_that_is_on_its_way_is_no_gap() {
    let script = Script::new();
    script.world().holds = true;
    let pool = pool(&script, CAPS).await;
    let (first, second) =
        (pool.send(&errand(), &mut NoBook).await.unwrap(), pool.send(&errand(), &mut NoBook).await.unwrap());
    assert_eq!((first.nonce, second.nonce), (0, 1));
    assert_eq!(pool.push(&second, true, &mut NoBook).await, Ok(None));
    assert_eq!(script.world().sent, [first.hash, second.hash]);
    // The one that is next is pushed for more.
    let dearer = pool.push(&first, true, &mut NoBook).await.unwrap().unwrap();
    assert_eq!(dearer.nonce, 0);
    script.mine();
    assert!(script.world().receipts.contains_key(&dearer.hash));
}

#[tokio::test]
async fn a_transaction_that_a_node_refuses_uses_no_nonce_up() {
    let script = Script::new();
    let pool = pool(&script, CAPS).await;
    script.world().refuses.push("gas limit too high");
    assert!(matches!(
        pool.send(&errand(), &mut NoBook).await,
        Err(SendError::Chain(RpcError::Rejected { .. }))
    ));
    for word in ["nonce too low", "transaction underpriced"] {
        // Found out anew, and sent.
        script.world().refuses.push(word);
    }
    assert_eq!(pool.send(&errand(), &mut NoBook).await.unwrap().nonce, 0);
    assert_eq!(pool.send(&errand(), &mut NoBook).await.unwrap().nonce, 1);
}
