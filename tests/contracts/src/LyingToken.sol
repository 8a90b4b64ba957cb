// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {TestToken} from "./TestToken.sol";

/// A token whose transfers always succeed. What they do is set by `lie`: 0 what they say, 1 nothing at all,
/// 2 they move half, and say so.
contract LyingToken is TestToken {
    uint256 public manner;

    function lie(uint256 manner_) external {
        manner = manner_;
    }

    function _move(address from, address to, uint256 value) internal override {
        if (manner == 0) super._move(from, to, value);
        if (manner == 2) super._move(from, to, value / 2);
    }
}
