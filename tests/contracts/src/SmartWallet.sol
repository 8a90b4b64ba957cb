// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Signatures} from "./Signatures.sol";

/// An account whose code says whether it signed (EIP-1271): it did when the key that owns it did.
contract SmartWallet {
    address public owner;

    function init(address owner_) external {
        require(owner == address(0), "already initialized");
        owner = owner_;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        address signer = Signatures.signer(hash, signature);
        return signer != address(0) && signer == owner ? Signatures.MAGIC : bytes4(0xffffffff);
    }

    /// Whoever owns it acts through it.
    function execute(address target, uint256 value, bytes calldata data) external returns (bytes memory) {
        require(msg.sender == owner, "not the owner");
        (bool success, bytes memory answer) = target.call{value: value}(data);
        require(success, "the call failed");
        return answer;
    }

    receive() external payable {}
}
