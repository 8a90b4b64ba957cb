//! Why a payment on an EVM chain was not valid or not settled, spelled as the TypeScript reference spells it.
//! Reasons of all rails are in `farthing_protocol::reason`.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => { $($(#[$doc])* pub(crate) const $name: &str = $text;)* };
}

// `exact`, by EIP-3009.
reasons! {
    /// Another scheme than the one signed for.
    EXACT_SCHEME = "invalid_exact_evm_scheme";
    /// Another network.
    EXACT_NETWORK_MISMATCH = "invalid_exact_evm_network_mismatch";
    /// The offer does not name the token's domain.
    EXACT_MISSING_DOMAIN = "invalid_exact_evm_missing_eip712_domain";
    /// Another payee.
    EXACT_RECIPIENT_MISMATCH = "invalid_exact_evm_recipient_mismatch";
    /// The signature is not the payer's.
    EXACT_SIGNATURE = "invalid_exact_evm_signature";
    /// The settlement was reverted.
    EXACT_TRANSACTION_FAILED = "invalid_exact_evm_transaction_failed";
    /// The token's domain has another name.
    EXACT_TOKEN_NAME = "invalid_exact_evm_token_name_mismatch";
    /// The token's domain has another version.
    EXACT_TOKEN_VERSION = "invalid_exact_evm_token_version_mismatch";
    /// The token has no EIP-3009.
    EXACT_EIP3009_NOT_SUPPORTED = "invalid_exact_evm_eip3009_not_supported";
    /// The authorization was used or cancelled.
    EXACT_NONCE_USED = "invalid_exact_evm_nonce_already_used";
    /// The payer has too little.
    EXACT_BALANCE = "invalid_exact_evm_insufficient_balance";
    /// The chain would not settle it, and does not say why.
    EXACT_SIMULATION_FAILED = "invalid_exact_evm_transaction_simulation_failed";
    /// Its window has ended, ends too soon, or is too long.
    EXACT_VALID_BEFORE = "invalid_exact_evm_payload_authorization_valid_before";
    /// Its window has not begun.
    EXACT_VALID_AFTER = "invalid_exact_evm_payload_authorization_valid_after";
    /// Another amount.
    EXACT_VALUE = "invalid_exact_evm_payload_authorization_value_mismatch";
    /// The payer's wallet is not deployed.
    EXACT_UNDEPLOYED_WALLET = "invalid_exact_evm_payload_undeployed_smart_wallet";
    /// The payer's wallet would be deployed by a contract that is not on the list.
    FACTORY_NOT_ALLOWED = "eip6492_factory_not_allowed";
    /// The payer's wallet could not be deployed.
    WALLET_DEPLOYMENT_FAILED = "smart_wallet_deployment_failed";
    /// There is no contract at the token's address.
    ASSET_NOT_DEPLOYED = "asset_not_deployed_contract";
    /// The settlement did not move the token as it should have.
    TRANSFER_EVENT_MISMATCH = "invalid_exact_evm_transfer_event_mismatch";
    /// The signature has no form that can be read.
    EXACT_UNREADABLE_SIGNATURE = "invalid_exact_evm_failed_to_parse_signature";
}

// By Permit2.
reasons! {
    /// Another contract than the scheme's proxy.
    PERMIT2_SPENDER = "invalid_permit2_spender";
    /// Another payee.
    PERMIT2_RECIPIENT_MISMATCH = "invalid_permit2_recipient_mismatch";
    /// Its window has ended, ends too soon, or is too long.
    PERMIT2_DEADLINE = "permit2_deadline_expired";
    /// Its window has not begun.
    PERMIT2_NOT_YET_VALID = "permit2_not_yet_valid";
    /// Another amount.
    PERMIT2_AMOUNT_MISMATCH = "permit2_amount_mismatch";
    /// Another token.
    PERMIT2_TOKEN_MISMATCH = "permit2_token_mismatch";
    /// The signature is not the payer's.
    PERMIT2_SIGNATURE = "invalid_permit2_signature";
    /// The payer has not allowed Permit2 to take that much of the token.
    PERMIT2_ALLOWANCE = "permit2_allowance_required";
    /// The chain would not settle it, and does not say why.
    PERMIT2_SIMULATION_FAILED = "permit2_simulation_failed";
    /// The payer has too little.
    PERMIT2_BALANCE = "permit2_insufficient_balance";
    /// The proxy is not on this chain.
    PERMIT2_PROXY_NOT_DEPLOYED = "permit2_proxy_not_deployed";
    /// The proxy's `InvalidAmount`.
    PERMIT2_INVALID_AMOUNT = "permit2_invalid_amount";
    /// The proxy's `InvalidDestination`.
    PERMIT2_INVALID_DESTINATION = "permit2_invalid_destination";
    /// The proxy's `InvalidOwner`.
    PERMIT2_INVALID_OWNER = "permit2_invalid_owner";
    /// The nonce was used.
    PERMIT2_INVALID_NONCE = "permit2_invalid_nonce";
    /// The proxy's `PaymentTooEarly`.
    PERMIT2_TOO_EARLY = "permit2_payment_too_early";
    /// The proxy's `Permit2612AmountMismatch`.
    PERMIT2_2612_AMOUNT = "permit2_2612_amount_mismatch";
}

// Gas sponsoring.
reasons! {
    /// The extension's members are not what they have to be.
    EIP2612_FORMAT = "invalid_eip2612_extension_format";
    /// Signed by somebody else than the payer.
    EIP2612_FROM = "eip2612_from_mismatch";
    /// For another token.
    EIP2612_ASSET = "eip2612_asset_mismatch";
    /// For somebody else than Permit2.
    EIP2612_SPENDER = "eip2612_spender_not_permit2";
    /// Its deadline has passed.
    EIP2612_DEADLINE = "eip2612_deadline_expired";
    /// The extension's members are not what they have to be.
    ERC20_FORMAT = "invalid_erc20_approval_extension_format";
    /// By somebody else than the payer.
    ERC20_FROM = "erc20_approval_from_mismatch";
    /// For another token.
    ERC20_ASSET = "erc20_approval_asset_mismatch";
    /// For somebody else than Permit2.
    ERC20_SPENDER = "erc20_approval_spender_not_permit2";
    /// The transaction calls another contract.
    ERC20_TX_TARGET = "erc20_approval_tx_wrong_target";
    /// The transaction calls another function.
    ERC20_TX_SELECTOR = "erc20_approval_tx_wrong_selector";
    /// The transaction approves somebody else.
    ERC20_TX_SPENDER = "erc20_approval_tx_wrong_spender";
    /// The transaction's call cannot be read.
    ERC20_TX_CALLDATA = "erc20_approval_tx_invalid_calldata";
    /// The transaction is signed by somebody else.
    ERC20_TX_SIGNER = "erc20_approval_tx_signer_mismatch";
    /// The transaction's signature is none.
    ERC20_TX_SIGNATURE = "erc20_approval_tx_invalid_signature";
    /// The transaction cannot be read.
    ERC20_TX_PARSE = "erc20_approval_tx_parse_failed";
    /// The transaction was reverted.
    ERC20_TX_FAILED = "erc20_approval_tx_failed";
    /// No node took the transaction.
    ERC20_BROADCAST_FAILED = "erc20_approval_broadcast_failed";
}

// `upto`.
reasons! {
    /// Another scheme than the one signed for.
    UPTO_SCHEME = "invalid_upto_evm_scheme";
    /// Another network.
    UPTO_NETWORK_MISMATCH = "invalid_upto_evm_network_mismatch";
    /// More would be settled than was signed for.
    UPTO_EXCEEDS_AMOUNT = "invalid_upto_evm_payload_settlement_exceeds_amount";
    /// The proxy's `AmountExceedsPermitted`.
    UPTO_EXCEEDS_PERMITTED = "upto_amount_exceeds_permitted";
    /// The proxy's `UnauthorizedFacilitator`.
    UPTO_UNAUTHORIZED_FACILITATOR = "upto_unauthorized_facilitator";
    /// Signed for another facilitator.
    UPTO_FACILITATOR_MISMATCH = "upto_facilitator_mismatch";
    /// The settlement was reverted.
    UPTO_TRANSACTION_FAILED = "invalid_upto_evm_transaction_failed";
}
