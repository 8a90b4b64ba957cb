// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Permit2, PermitTransferFrom, SignatureTransferDetails} from "./Permit2.sol";

interface Permitting {
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external;
}

/// What both proxies of x402 do: the payer's signature names the proxy as the spender and, in its witness, where
/// the money goes. Same functions, same typed data, same errors as the contracts of that name.
abstract contract X402Proxy {
    error InvalidPermit2Address();
    error InvalidDestination();
    error InvalidOwner();
    error InvalidAmount();
    error PaymentTooEarly();
    error Permit2612AmountMismatch();

    event Settled();
    event SettledWithPermit();
    event EIP2612PermitFailedWithData(address indexed token, address indexed owner, bytes data);

    struct EIP2612Permit {
        uint256 value;
        uint256 deadline;
        bytes32 r;
        bytes32 s;
        uint8 v;
    }

    Permit2 public constant PERMIT2 = Permit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);

    /// A permit that fails is no failure: the allowance may be there already.
    function _approve(address owner, PermitTransferFrom calldata permit, EIP2612Permit calldata approval) internal {
        if (approval.value != permit.permitted.amount) revert Permit2612AmountMismatch();
        Permitting token = Permitting(permit.permitted.token);
        try token.permit(
            owner, address(PERMIT2), approval.value, approval.deadline, approval.v, approval.r, approval.s
        ) {} catch (bytes memory data) {
            emit EIP2612PermitFailedWithData(address(token), owner, data);
        }
    }

    function _settle(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails memory details,
        uint256 validAfter,
        address owner,
        bytes32 witness,
        string memory witnessType,
        bytes calldata signature
    ) internal {
        if (details.requestedAmount == 0) revert InvalidAmount();
        if (owner == address(0)) revert InvalidOwner();
        if (details.to == address(0)) revert InvalidDestination();
        if (block.timestamp < validAfter) revert PaymentTooEarly();
        PERMIT2.permitWitnessTransferFrom(permit, details, owner, witness, witnessType, signature);
    }
}
