use super::*;
use crate::chain::At;
use crate::scripted::{CHAIN_ID, Script, key};

async fn asks(rpc: &Rpc) -> Result<u64, RpcError> {
    rpc.transaction_count(key(1).account(), At::Latest).await
}

/// A port where nobody listens.
async fn nowhere() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn when_an_endpoint_fails_the_next_is_asked_and_the_first_is_left_alone() {
    for broken in [(503, "busy"), (200, "hello"), (429, "{}"), (200, r#"{"error":{"code":-32005}}"#)] {
        let (first, second) = (Script::new(), Script::new());
        let rpc = Rpc::new([first.serve().await, second.serve().await]).unwrap();
        assert_eq!(asks(&rpc).await, Ok(0));
        assert_eq!((first.world().requests, second.world().requests), (1, 0));
        first.world().broken = Some((broken.0, broken.1.to_owned()));
        for _ in 0..3 {
            assert_eq!(asks(&rpc).await, Ok(0), "{broken:?}");
        }
        assert_eq!((first.world().requests, second.world().requests), (2, 3), "{broken:?}");
        // When all others fail, it is asked again.
        second.world().broken = Some((500, String::new()));
        first.world().broken = None;
        assert_eq!(asks(&rpc).await, Ok(0));
    }
}

#[tokio::test]
async fn what_a_node_says_is_an_answer_and_ends_the_search() {
    let (first, second) = (Script::new(), Script::new());
    let rpc = Rpc::new([first.serve().await, second.serve().await]).unwrap();
    first.world().broken =
        Some((200, r#"{"id":0,"error":{"code":-32000,"message":"nonce too low"}}"#.into()));
    let error = rpc.send_raw(&[2]).await.unwrap_err();
    assert!(error.is_nonce_used() && !error.is_unfunded());
    first.world().broken =
        Some((200, r#"{"id":0,"error":{"code":-32000,"message":"already known"}}"#.into()));
    assert_eq!(rpc.send_raw(&[2]).await, Ok(()));
    assert_eq!(second.world().requests, 0);
}

#[tokio::test]
async fn without_an_answer_nothing_is_known() {
    let rpc = Rpc::with_timeout([nowhere().await], Duration::from_secs(2)).unwrap();
    assert!(matches!(asks(&rpc).await, Err(RpcError::Unreachable(_))));
    // One that takes the connection and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let script = Script::new();
    let rpc = Rpc::with_timeout([silent, script.serve().await], Duration::from_millis(200)).unwrap();
    assert_eq!(asks(&rpc).await, Ok(0));
    drop(listener);
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_it() {
    let script = Script::new();
    let rpc = script.rpc().await;
    script.world().broken = Some((200, format!("{{\"result\":\"0x{}\"}}", "0".repeat(ANSWER_BYTES))));
    assert!(matches!(asks(&rpc).await, Err(RpcError::Unreachable(_))));
}

#[tokio::test]
async fn several_calls_are_one_request_where_that_is_taken() {
    let script = Script::new();
    let rpc = script.rpc().await;
    let request = |method| Request { method, params: "[]".into() };
    let requests =
        || vec![request("eth_chainId"), request("eth_nothing"), request("eth_maxPriorityFeePerGas")];
    for (no_batches, in_all) in [(false, 1), (true, 4 + 1), (true, 3 + 4 + 1)] {
        script.world().no_batches = no_batches;
        let replies = rpc.ask_all(requests()).await;
        assert_eq!(replies[0].as_ref().unwrap().get(), format!("\"{CHAIN_ID:#x}\""));
        assert!(matches!(&replies[1], Err(RpcError::Rejected { code: -32601, .. })));
        assert_eq!(replies[2].as_ref().unwrap().get(), "\"0xf4240\"");
        assert_eq!(script.world().requests, in_all);
    }
}

#[tokio::test]
async fn an_endpoint_of_another_chain_is_named_at_the_start_and_never_asked_later() {
    let script = Script::new();
    let (url, dead) = (script.serve().await, nowhere().await);
    let other = Rpc::new([&url]).unwrap();
    let error = other.expect_chain(1).await.unwrap_err().to_string();
    assert!(error.contains(&url) && error.contains("31337"), "{error}");
    assert!(matches!(asks(&other).await, Err(RpcError::Unreachable(_))));
    // One that does not answer at the start may answer later.
    let rpc = Rpc::new([&dead, &url]).unwrap();
    assert_eq!(rpc.expect_chain(CHAIN_ID).await, Ok(()));
    assert_eq!(asks(&rpc).await, Ok(0));
    assert!(Rpc::new([&dead]).unwrap().expect_chain(CHAIN_ID).await.is_err());
}

#[tokio::test]
async fn keys_in_urls_are_used_and_never_shown() {
    let script = Script::new();
    let url = script.serve().await;
    let secret = format!("{}/v2/s3cret?token=s3cret", url.replace("http://", "http://user:s3cret@"));
    let rpc = Rpc::new([&secret]).unwrap();
    assert_eq!(asks(&rpc).await, Ok(0));
    script.world().broken = Some((404, String::new()));
    let error = asks(&rpc).await.unwrap_err();
    let refused = rpc.expect_chain(1).await.unwrap_err();
    for shown in [format!("{rpc:?}"), format!("{error} {error:?}"), format!("{refused} {refused:?}")] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    for bad in ["s3cret", "ftp://s3cret", "http:// s3cret"] {
        let shown = Rpc::new([bad]).unwrap_err().to_string();
        assert!(shown.contains("number 1") && !shown.contains("s3cret"), "{shown}");
    }
    assert!(Rpc::new(Vec::<String>::new()).is_err());
}

#[test]
fn the_data_of_a_revert_is_found_wherever_nodes_put_it() {
    for answer in [
        r#"{"error":{"code":3,"message":"execution reverted: no","data":"0x08c379a0"}}"#,
        r#"{"error":{"code":-32000,"message":"execution reverted","data":"0x08c379a0"}}"#,
        r#"{"error":{"code":-32015,"message":"VM execution error.","data":"Reverted 0x08c379a0"}}"#,
        r#"{"error":{"code":-32603,"message":"call revert exception","data":{"data":"0x08c379a0"}}}"#,
    ] {
        let reply = answer::read_one(answer.as_bytes()).ok().unwrap();
        assert_eq!(reply.unwrap_err(), RpcError::Reverted(vec![8, 0xc3, 0x79, 0xa0].into()), "{answer}");
    }
    let reply =
        answer::read_one(br#"{"error":{"code":-32000,"message":"execution reverted"}}"#).ok().unwrap();
    assert_eq!(reply.unwrap_err(), RpcError::Reverted(Bytes::new()));
}
