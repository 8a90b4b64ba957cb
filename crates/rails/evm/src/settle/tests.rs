use std::time::Duration;

use farthing_protocol::records::RecordsError;

use super::*;
use crate::scripted::{
    Notes, SELLER, Script, key, network, now, pay, payer, request, signed_by, token, transfer,
};
use alloy_primitives::U256;

fn config(rpc: Rpc, records: &Arc<Notes>) -> EvmConfig {
    EvmConfig {
        assets: vec![token()],
        receipt_timeout: Duration::from_millis(1500),
        poll: Duration::from_millis(2),
        stuck_after: Duration::from_millis(100),
        ..EvmConfig::new(network(), rpc, vec![key(10)], records.clone())
    }
}

/// A facilitator on a scripted chain.
async fn on(script: &Script) -> (EvmSettle, Arc<Notes>) {
    let records = Arc::new(Notes::default());
    let settle = EvmSettle::connect(config(script.rpc().await, &records)).await.unwrap();
    (settle, records)
}

async fn settle(at: &EvmSettle, request: &FacilitatorRequest) -> Outcome {
    at.settle(&Tenant::local(), request).await
}

fn settled(outcome: Outcome) -> String {
    match outcome {
        Outcome::Settled(settlement) => settlement.transaction,
        other => panic!("{other:?}"),
    }
}

fn refused(outcome: Outcome) -> String {
    match outcome {
        Outcome::NotSettled(settlement) => settlement.error_reason.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn unknown(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unknown(UnknownOutcome(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn earned(script: &Script) -> U256 {
    script.world().balances.get(&SELLER).copied().unwrap_or_default()
}

#[tokio::test]
async fn a_payment_settles_once_however_often_it_is_presented() {
    let script = Script::new();
    let (at, _records) = on(&script).await;
    let request = pay(1);
    let first = settled(settle(&at, &request).await);
    assert_eq!(settled(settle(&at, &request).await), first);
    assert_eq!((earned(&script), script.world().sent.len()), (U256::from(1000), 1));
    let other = settled(settle(&at, &pay(2)).await);
    assert_ne!(other, first);
    assert_eq!((earned(&script), script.world().sent.len()), (U256::from(2000), 2));
}

#[tokio::test]
async fn presented_at_the_same_time_it_is_sent_once() {
    let script = Script::new();
    script.world().holds = true;
    let (at, _records) = on(&script).await;
    let request = pay(1);
    let mine = async {
        while script.world().pool.is_empty() {
            tokio::task::yield_now().await;
        }
        script.mine();
    };
    let (a, b, c, ()) =
        tokio::join!(settle(&at, &request), settle(&at, &request), settle(&at, &request), mine);
    let (a, b, c) = (settled(a), settled(b), settled(c));
    assert!(a == b && b == c);
    assert_eq!(earned(&script), U256::from(1000));
    assert_eq!(script.world().pool.len(), 0);
    assert_eq!(script.world().counts.values().sum::<u64>(), 1);
}

#[tokio::test]
async fn two_processes_with_the_same_records_send_one_transaction() {
    let script = Script::new();
    script.world().holds = true;
    let (at, records) = on(&script).await;
    let second = EvmConfig { signers: vec![key(11)], ..config(script.rpc().await, &records) };
    let second = EvmSettle::connect(second).await.unwrap();
    let request = pay(1);
    let mine = async {
        while script.world().pool.is_empty() {
            tokio::task::yield_now().await;
        }
        script.mine();
    };
    let (a, b, ()) = tokio::join!(settle(&at, &request), settle(&second, &request), mine);
    assert_eq!(settled(a), settled(b));
    assert_eq!(script.world().counts.values().sum::<u64>(), 1);
}

#[tokio::test]
async fn what_is_not_mined_in_time_is_unknown_and_presenting_it_again_settles_it() {
    let script = Script::new();
    script.world().holds = true;
    let (at, _records) = on(&script).await;
    let request = pay(1);
    let why = unknown(settle(&at, &request).await);
    let hash = script.world().sent[0];
    assert!(why.contains(&hash.to_string()), "{why}");
    assert_eq!(earned(&script), U256::ZERO);
    script.mine();
    let transaction = settled(settle(&at, &request).await);
    assert!(script.world().sent.iter().any(|sent| sent.to_string() == transaction));
    assert_eq!(earned(&script), U256::from(1000));
}

#[tokio::test]
async fn what_was_pending_when_a_process_stopped_is_taken_up_by_the_next() {
    let script = Script::new();
    (script.world().holds, script.world().loses) = (true, true);
    let records = Arc::new(Notes::default());
    let request = pay(1);
    let first = config(script.rpc().await, &records);
    let asked = request.clone();
    // A process of its own, which stops before anybody has heard of its transaction.
    let id = tokio::task::spawn_blocking(move || {
        let process = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        process.block_on(async {
            let at = EvmSettle::connect(first).await.unwrap();
            unknown(settle(&at, &asked).await);
            at.desk.verifier.read(&asked, Task::Settle).unwrap().id
        })
    });
    let id = id.await.unwrap();
    script.world().loses = false;
    assert_eq!(script.world().sent.len(), 0);
    let at = EvmSettle::connect(config(script.rpc().await, &records)).await.unwrap();
    assert_eq!(at.payment(&id).await.unwrap().unwrap()["state"], "pending");
    assert_eq!(script.world().sent.len(), 1);
    script.mine();
    let transaction = settled(settle(&at, &request).await);
    assert_eq!(transaction, script.world().sent[0].to_string());
    let statement = at.payment(&id).await.unwrap().unwrap();
    assert_eq!((&statement["state"], &statement["amount"]), (&json!("settled"), &json!("1000")));
    assert_eq!(statement["transaction"], transaction);
    assert_eq!(at.payment(&PaymentId([7; 32])).await.unwrap().unwrap()["state"], "absent");
    // Its nonce is taken into account.
    script.world().holds = false;
    settled(settle(&at, &pay(2)).await);
}

#[tokio::test]
async fn settled_means_that_the_token_said_so() {
    let script = Script::new();
    let (at, _records) = on(&script).await;
    script.world().lies = true;
    let request = pay(1);
    assert_eq!(refused(settle(&at, &request).await), "invalid_exact_evm_transfer_event_mismatch");
    script.world().lies = false;
    assert_eq!(refused(settle(&at, &request).await), "invalid_exact_evm_transfer_event_mismatch");
    assert_eq!(script.world().sent.len(), 1);
    settled(settle(&at, &pay(2)).await);
}

#[tokio::test]
async fn a_payment_that_somebody_else_sent_meanwhile_is_settled_and_one_that_was_cancelled_is_not() {
    for (moves, nonce) in [(true, 1), (false, 2)] {
        let script = Script::new();
        script.world().holds = true;
        let (at, _records) = on(&script).await;
        let transfer = transfer(nonce);
        let request = signed_by(&payer(), &transfer);
        let overtake = async {
            while script.world().pool.is_empty() {
                tokio::task::yield_now().await;
            }
            let hash = script.world().overtake(&transfer, moves);
            script.mine();
            hash
        };
        let (outcome, other) = tokio::join!(settle(&at, &request), overtake);
        if moves {
            assert_eq!(settled(outcome), other.to_string());
            assert_eq!(earned(&script), U256::from(1000));
        } else {
            assert_eq!(refused(outcome), "invalid_exact_evm_nonce_already_used");
            assert_eq!(earned(&script), U256::ZERO);
        }
    }
}

#[tokio::test]
async fn a_payment_that_expired_unused_is_not_settled() {
    let script = Script::new();
    script.world().holds = true;
    let (at, _records) = on(&script).await;
    let request = pay(1);
    unknown(settle(&at, &request).await);
    script.world().ahead = 301;
    let reason = refused(settle(&at, &request).await);
    assert_eq!(reason, "invalid_exact_evm_payload_authorization_valid_before");
}

#[tokio::test]
async fn a_stuck_transaction_is_replaced_by_one_that_pays_more() {
    let script = Script::new();
    script.world().holds = true;
    let (at, _records) = on(&script).await;
    let request = pay(1);
    let mine = async {
        while script.world().sent.len() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        script.mine();
    };
    let (outcome, ()) = tokio::join!(settle(&at, &request), mine);
    let transaction = settled(outcome);
    assert_ne!(transaction, script.world().sent[0].to_string());
    assert_eq!(script.world().counts.values().sum::<u64>(), 1);
}

#[tokio::test]
async fn many_at_once_take_consecutive_nonces_of_all_signers() {
    let script = Script::new();
    script.world().holds = true;
    let records = Arc::new(Notes::default());
    let keys = vec![key(10), key(11), key(12)];
    let config = EvmConfig { signers: keys, ..config(script.rpc().await, &records) };
    let config = EvmConfig { stuck_after: Duration::from_secs(60), ..config };
    let at = EvmSettle::connect(config).await.unwrap();
    let requests: Vec<_> = (1..=12).map(pay).collect();
    let all = futures_util::future::join_all(requests.iter().map(|request| settle(&at, request)));
    let mine = async {
        while script.world().pool.len() < 12 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut each = std::collections::BTreeMap::new();
        script.world().pool.keys().for_each(|(signer, _)| *each.entry(*signer).or_insert(0) += 1);
        assert_eq!(each.into_values().collect::<Vec<_>>(), [4, 4, 4]);
        script.mine();
    };
    let (outcomes, ()) = tokio::join!(all, mine);
    outcomes.into_iter().for_each(|outcome| drop(settled(outcome)));
    assert_eq!(earned(&script), U256::from(12_000));
}

#[tokio::test]
async fn a_nonce_that_somebody_else_used_is_left_behind() {
    let script = Script::new();
    let (at, _records) = on(&script).await;
    settled(settle(&at, &pay(1)).await);
    script.world().counts.insert(key(10).account(), 5);
    settled(settle(&at, &pay(2)).await);
    assert_eq!(script.world().counts[&key(10).account()], 6);
}

#[tokio::test]
async fn a_signer_without_money_is_left_out() {
    let script = Script::new();
    script.world().broke.insert(key(10).account());
    let records = Arc::new(Notes::default());
    let both = EvmConfig { signers: vec![key(10), key(11)], ..config(script.rpc().await, &records) };
    let at = EvmSettle::connect(both).await.unwrap();
    for nonce in 1..4 {
        settled(settle(&at, &pay(nonce)).await);
    }
    assert_eq!(script.world().counts[&key(11).account()], 3);
    let alone = EvmSettle::connect(config(script.rpc().await, &records)).await.unwrap();
    let request = pay(4);
    assert_eq!(refused(settle(&alone, &request).await), "invalid_transaction_state");
    // Nothing was sent, so that the same payment can still be made.
    settled(settle(&at, &request).await);
}

#[tokio::test]
async fn nothing_is_sent_that_is_not_written_down() {
    let script = Script::new();
    let (at, records) = on(&script).await;
    let request = pay(1);
    for error in [RecordsError::Unavailable("gone".into()), RecordsError::Unknown("gone".into())] {
        *records.broken.lock().unwrap() = Some(error);
        unknown(settle(&at, &request).await);
    }
    assert_eq!(script.world().sent.len(), 0);
    *records.broken.lock().unwrap() = None;
    settled(settle(&at, &request).await);
}

#[tokio::test]
async fn a_payer_with_too_little_is_refused_and_nothing_is_sent() {
    let script = Script::new();
    let (at, _records) = on(&script).await;
    script.world().balances.insert(payer().account(), U256::from(999));
    let request = pay(1);
    assert_eq!(refused(settle(&at, &request).await), "invalid_exact_evm_insufficient_balance");
    assert_eq!(script.world().sent.len(), 0);
    script.world().balances.insert(payer().account(), U256::from(1000));
    settled(settle(&at, &request).await);
}

#[tokio::test]
async fn fees_above_the_caps_stop_a_settlement() {
    let script = Script::new();
    let records = Arc::new(Notes::default());
    let config = config(script.rpc().await, &records);
    let capped = EvmConfig { max_fee_per_gas: 999_999_999, ..config.clone() };
    let request = pay(1);
    let at = EvmSettle::connect(capped).await.unwrap();
    assert_eq!(refused(settle(&at, &request).await), "invalid_transaction_state");
    assert_eq!(script.world().sent.len(), 0);
    settled(settle(&EvmSettle::connect(config).await.unwrap(), &request).await);
}

#[tokio::test]
async fn looks_at_the_same_time_share_requests_and_fail_one_by_one() {
    let script = Script::new();
    let (at, _records) = on(&script).await;
    let before = script.world().requests;
    let mut requests: Vec<_> = (1..=20).map(pay).collect();
    let used = transfer(99);
    script.world().used.insert((used.from, used.nonce));
    requests.push(signed_by(&payer(), &used));
    requests.push(signed_by(&key(2), &transfer(50)));
    let tenant = Tenant::local();
    let looks = requests.iter().map(|request| at.verify(&tenant, request));
    let answers = futures_util::future::join_all(looks).await;
    let valid = answers.iter().filter(|answer| answer.as_ref().unwrap().is_valid).count();
    assert_eq!(valid, 20);
    let why = |at: usize| answers[at].as_ref().unwrap().invalid_reason.clone().unwrap();
    assert_eq!(why(20), "invalid_exact_evm_nonce_already_used");
    assert_eq!(why(21), "invalid_exact_evm_signature");
    assert!(script.world().requests - before < 10, "{}", script.world().requests - before);
    assert_eq!(script.world().sent.len(), 0);
}

#[tokio::test]
async fn an_account_with_code_is_asked_itself() {
    let script = Script::new();
    let (at, _records) = on(&script).await;
    let (tenant, keyed) = (Tenant::local(), pay(1));
    let account = payer().account();
    let contract = request(&transfer(2), vec![1, 2, 3].into());
    let reason = async |request| at.verify(&tenant, request).await.unwrap().invalid_reason;
    assert_eq!(reason(&keyed).await, None);
    assert_eq!(reason(&contract).await.as_deref(), Some("invalid_exact_evm_signature"));
    script.world().wallets.insert(account, false);
    assert_eq!(reason(&keyed).await.as_deref(), Some("invalid_exact_evm_signature"));
    assert_eq!(reason(&contract).await.as_deref(), Some("invalid_exact_evm_signature"));
    script.world().wallets.insert(account, true);
    assert_eq!(reason(&keyed).await, None);
    assert_eq!(reason(&contract).await, None);
    settled(settle(&at, &contract).await);
}

#[tokio::test]
async fn a_chain_that_is_not_as_configured_stops_the_start() {
    let script = Script::new();
    let records = Arc::new(Notes::default());
    let start = async |change: fn(&mut EvmConfig)| {
        let mut config = config(script.rpc().await, &records);
        change(&mut config);
        EvmSettle::connect(config).await.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(start(|_| {}).await, Ok(()));
    for (change, named) in [
        ((|config| config.network = "eip155:1".parse().unwrap()) as fn(&mut EvmConfig), "31337"),
        (|config| config.network = "solana:x".parse().unwrap(), "solana:x"),
        (|config| config.signers.clear(), "signers"),
        (|config| config.signers.push(key(10)), "signers"),
        (|config| config.assets.clear(), "assets"),
        (|config| config.assets[0].decimals = 18, "decimals"),
        (|config| config.assets[0].name = "USD Coin".into(), "USD Coin"),
        (|config| config.assets[0].address = format!("0x{}", "11".repeat(20)).into(), "no contract"),
        (|config| config.wallet_factories.push("0x12".into()), "wallet_factories"),
    ] {
        let error = start(change).await.unwrap_err();
        assert!(error.contains(named), "{error}");
    }
}

#[tokio::test]
async fn it_says_what_it_settles_and_from_where() {
    let script = Script::new();
    let (at, _records) = on(&script).await;
    let kinds: Vec<_> = at.kinds().into_iter().map(|kind| (kind.x402_version, kind.scheme)).collect();
    assert_eq!(kinds, [(2, "exact".to_owned())]);
    assert_eq!(at.signers(), [("eip155:*".to_owned(), vec![key(10).address()])]);
    assert_eq!(at.facilitator_address(), key(10).address());
    assert!(now() > 0);
}
