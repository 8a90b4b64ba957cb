// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

interface Wallet {
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4);
}

/// Who signed a hash.
library Signatures {
    /// What a wallet answers to a signature that it takes for its own (EIP-1271).
    bytes4 internal constant MAGIC = 0x1626ba7e;
    /// Half of the curve's order: of the two signatures with the same meaning, only the one below it counts.
    uint256 internal constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// The zero address when nobody did.
    function signer(bytes32 hash, uint8 v, bytes32 r, bytes32 s) internal pure returns (address) {
        if (uint256(s) > HALF_ORDER || (v != 27 && v != 28)) return address(0);
        return ecrecover(hash, v, r, s);
    }

    /// The zero address when nobody did. 65 bytes: r, s, v.
    function signer(bytes32 hash, bytes calldata signature) internal pure returns (address) {
        if (signature.length != 65) return address(0);
        return signer(hash, uint8(signature[64]), bytes32(signature[0:32]), bytes32(signature[32:64]));
    }

    /// Whether `owner` signed: by its code if it has any, else by its key.
    function isBy(address owner, bytes32 hash, bytes calldata signature) internal view returns (bool) {
        if (owner.code.length == 0) return owner != address(0) && signer(hash, signature) == owner;
        try Wallet(owner).isValidSignature(hash, signature) returns (bytes4 answer) {
            return answer == MAGIC;
        } catch {
            return false;
        }
    }
}
