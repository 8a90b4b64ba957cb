//! What is asked of a chain before anything is settled on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::SolCall;

use super::journal::Journal;
use super::watch::Receipts;
use super::{Desk, EvmConfig, EvmSettle, Limits};
use crate::assets::Asset;
use crate::chain::{At, Call};
use crate::contracts::Token;
use crate::multicall::Trials;
use crate::pool::{Caps, Pool};
use crate::rpc::{Rpc, RpcError};
use crate::verify::{Deployed, Verifier};
use crate::wire::text::read_address;
use crate::wire::{EXACT_PROXY, MULTICALL3, PERMIT2, TokenDomain, UPTO_PROXY, configured_chain};
use crate::{ConfigError, Transfer};

pub(super) async fn connect(config: EvmConfig) -> Result<EvmSettle, ConfigError> {
    let EvmConfig { network, rpc, signers, assets, records, .. } = &config;
    let chain_id = configured_chain(network)?;
    let Some(first) = signers.first() else {
        return Err(ConfigError::new("signers", "needs at least one key"));
    };
    let mut accounts: Vec<Address> = signers.iter().map(crate::EvmKey::account).collect();
    accounts.sort_unstable();
    if accounts.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(ConfigError::new("signers", "has one key twice"));
    }
    if assets.is_empty() {
        return Err(ConfigError::new(
            "assets",
            "needs at least one token: the table has none for this network",
        ));
    }
    let factory = |text: &String| {
        read_address(text).ok_or_else(|| ConfigError::new("wallet_factories", "holds what is no address"))
    };
    let factories = config.wallet_factories.iter().map(factory).collect::<Result<Vec<_>, _>>()?;

    let chain = |error: RpcError| ConfigError::Chain { network: network.to_string(), why: error.to_string() };
    rpc.expect_chain(chain_id).await?;
    let deployed = deployed(rpc).await.map_err(chain)?;
    let mut tokens = HashMap::new();
    for asset in assets {
        let domain = Arc::new(asset.domain(network)?);
        confirm(rpc, asset, &domain).await.map_err(|fault| match fault {
            Fault::Chain(error) => chain(error),
            Fault::Differs(why) => {
                let why = format!("asset {} {why}", asset.address);
                ConfigError::Chain { network: network.to_string(), why }
            }
        })?;
        tokens.insert(domain.token, domain);
    }

    let verifier = Verifier {
        network: network.clone(),
        rpc: rpc.clone(),
        trials: Trials::new(rpc.clone(), deployed.multicall),
        tokens,
        facilitator: first.account(),
        factories,
        deployed,
    };
    let caps = Caps { most: config.max_fee_per_gas, tip: config.max_priority_fee_per_gas };
    let desk = Desk {
        verifier: Arc::new(verifier),
        pool: Arc::new(Pool::new(chain_id, rpc.clone(), caps, signers.clone())),
        journal: Journal::new(records.clone(), network.clone()),
        receipts: Arc::new(Receipts::new(rpc.clone())),
        rpc: rpc.clone(),
        limits: Limits::of(&config),
        underway: Arc::new(Mutex::default()),
    };
    let settle = EvmSettle { desk };
    settle.recover().await.map_err(|error| ConfigError::new("records", error.to_string()))?;
    Ok(settle)
}

async fn deployed(rpc: &Rpc) -> Result<Deployed, RpcError> {
    let (multicall, permit2, exact, upto) =
        tokio::join!(rpc.code(MULTICALL3), rpc.code(PERMIT2), rpc.code(EXACT_PROXY), rpc.code(UPTO_PROXY));
    let there = |code: Result<Bytes, RpcError>| code.map(|code| !code.is_empty());
    let permit2 = there(permit2)?;
    Ok(Deployed {
        multicall: there(multicall)?,
        exact: permit2 && there(exact)?,
        upto: permit2 && there(upto)?,
    })
}

/// What is wrong with a token.
enum Fault {
    Chain(RpcError),
    /// Continues a sentence that begins with its address.
    Differs(String),
}

/// Whether a token on chain is what the configuration says.
async fn confirm(rpc: &Rpc, asset: &Asset, domain: &TokenDomain) -> Result<(), Fault> {
    if rpc.code(domain.token).await.map_err(Fault::Chain)?.is_empty() {
        return Err(Fault::Differs("is no contract".into()));
    }
    let ask = |data: Vec<u8>| Call::new(domain.token, data);
    let calls = [ask(Token::decimalsCall {}.abi_encode()), ask(Token::DOMAIN_SEPARATORCall {}.abi_encode())];
    let mut answers = rpc.call_all(&calls, At::Latest).await.into_iter();
    let decimals =
        answers.next().map(|answer| answer.map(|bytes| Token::decimalsCall::abi_decode_returns(&bytes)));
    match decimals {
        Some(Ok(Ok(decimals))) if decimals == asset.decimals => {}
        Some(Ok(Ok(decimals))) => {
            let why = format!("has {decimals} decimals, and {} are configured", asset.decimals);
            return Err(Fault::Differs(why));
        }
        Some(Err(error @ RpcError::Unreachable(_))) => return Err(Fault::Chain(error)),
        _ => return Err(Fault::Differs("does not say its decimals".into())),
    }
    let wants_domain = asset.transfer == Transfer::Eip3009 || asset.eip2612;
    match answers.next() {
        Some(Ok(separator)) if separator.len() == 32 => {
            let separator = B256::from_slice(&separator);
            if wants_domain && separator != domain.separator() {
                let Asset { name, version, .. } = asset;
                let why = format!("has another EIP-712 domain than name {name:?}, version {version:?}");
                return Err(Fault::Differs(why));
            }
            Ok(())
        }
        Some(Err(error @ RpcError::Unreachable(_))) => Err(Fault::Chain(error)),
        _ if wants_domain => Err(Fault::Differs("does not say its EIP-712 domain".into())),
        _ => Ok(()),
    }
}
