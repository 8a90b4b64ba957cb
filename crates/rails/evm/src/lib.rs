//! The x402 schemes `exact` and `upto` on EVM chains (`eip155:*`), in all three roles.
