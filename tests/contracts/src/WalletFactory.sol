// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {SmartWallet} from "./SmartWallet.sol";

/// Makes wallets at addresses that are known before (CREATE2), so that a payment can come from one that has no code
/// yet (ERC-6492). Making it again changes nothing.
contract WalletFactory {
    function wallet(address owner, uint256 salt) public view returns (address) {
        bytes32 code = keccak256(type(SmartWallet).creationCode);
        bytes32 hash = keccak256(abi.encodePacked(bytes1(0xff), address(this), _salt(owner, salt), code));
        return address(uint160(uint256(hash)));
    }

    function deploy(address owner, uint256 salt) external returns (address made) {
        made = wallet(owner, salt);
        if (made.code.length == 0) new SmartWallet{salt: _salt(owner, salt)}().init(owner);
    }

    function _salt(address owner, uint256 salt) private pure returns (bytes32) {
        return keccak256(abi.encode(owner, salt));
    }
}
