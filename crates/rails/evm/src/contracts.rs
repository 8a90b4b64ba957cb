//! The contracts that the facilitator calls, as their interfaces say.
#![allow(missing_docs, clippy::too_many_arguments, reason = "generated: the names are the contracts' own")]

use alloy_sol_types::sol;

sol! {
    /// ERC-20, EIP-3009 and EIP-2612.
    interface Token {
        function balanceOf(address account) external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
        function approve(address spender, uint256 value) external returns (bool);
        function decimals() external view returns (uint8);
        function name() external view returns (string);
        function version() external view returns (string);
        function nonces(address owner) external view returns (uint256);
        function DOMAIN_SEPARATOR() external view returns (bytes32);
        function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, uint8 v, bytes32 r, bytes32 s) external;
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature) external;

        event Transfer(address indexed from, address indexed to, uint256 value);
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
        event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);
    }

    /// Permit2, as far as it is asked.
    interface Permit2 {
        function nonceBitmap(address owner, uint256 word) external view returns (uint256);

        error InvalidNonce();
        error SignatureExpired(uint256 signatureDeadline);
        error InvalidSigner();
        error InvalidSignature();
        error InvalidSignatureLength();
        error InvalidContractSignature();
    }

    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    /// An EIP-2612 permit for Permit2.
    struct Permit2612 {
        uint256 value;
        uint256 deadline;
        bytes32 r;
        bytes32 s;
        uint8 v;
    }

    struct ExactWitness {
        address to;
        uint256 validAfter;
    }

    struct UptoWitness {
        address to;
        address facilitator;
        uint256 validAfter;
    }

    /// x402's proxy of scheme `exact`.
    interface ExactProxy {
        function settle(PermitTransferFrom permit, address owner, ExactWitness witness, bytes signature) external;
        function settleWithPermit(Permit2612 permit2612, PermitTransferFrom permit, address owner, ExactWitness witness, bytes signature) external;
    }

    /// x402's proxy of scheme `upto`.
    interface UptoProxy {
        function settle(PermitTransferFrom permit, uint256 amount, address owner, UptoWitness witness, bytes signature) external;
        function settleWithPermit(Permit2612 permit2612, PermitTransferFrom permit, uint256 amount, address owner, UptoWitness witness, bytes signature) external;
    }

    /// What both proxies refuse with.
    interface ProxyErrors {
        error InvalidPermit2Address();
        error InvalidDestination();
        error InvalidOwner();
        error InvalidAmount();
        error PaymentTooEarly();
        error Permit2612AmountMismatch();
        error UnauthorizedFacilitator();
        error AmountExceedsPermitted();
    }

    /// An account that is a contract (EIP-1271).
    interface Account {
        function isValidSignature(bytes32 hash, bytes signature) external view returns (bytes4);
    }

    /// Multicall3.
    interface Multicall {
        struct Call3 {
            address target;
            bool allowFailure;
            bytes callData;
        }

        struct Result {
            bool success;
            bytes returnData;
        }

        function aggregate3(Call3[] calls) external payable returns (Result[] returnData);
    }
}

/// What `isValidSignature` returns for a signature that is valid.
pub(crate) const IS_VALID: [u8; 4] = [0x16, 0x26, 0xba, 0x7e];
