"""Makes signatures.json with eth-account, which shares no code with farthing: python3 make.py > signatures.json"""

import hashlib
import json

from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data

PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
EXACT_PROXY = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001"
UPTO_PROXY = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
# The first keys that development chains open with: no secrets.
PAYER = Account.from_key("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
PAYEE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
FACILITATOR = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
NOW = 1_800_000_000
USDC = {"network": "eip155:84532", "address": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "name": "USDC", "version": "2"}
FLARE = {"network": "eip155:14", "address": "0xe7cd86e13AC4309349F30B3435a9d337750fC82D", "name": "USD\u20ae0", "version": "1"}
MEGA = {"network": "eip155:4326", "address": "0xFAfDdbb3FC7688494971a79cc65DCa3EF82079E7", "name": "MegaUSD", "version": "1"}

TRANSFER = [("from", "address"), ("to", "address"), ("value", "uint256"), ("validAfter", "uint256"),
            ("validBefore", "uint256"), ("nonce", "bytes32")]
PERMITTED = [("token", "address"), ("amount", "uint256")]
PERMIT = [("permitted", "TokenPermissions"), ("spender", "address"), ("nonce", "uint256"), ("deadline", "uint256"),
          ("witness", "Witness")]
EXACT_WITNESS = [("to", "address"), ("validAfter", "uint256")]
UPTO_WITNESS = [("to", "address"), ("facilitator", "address"), ("validAfter", "uint256")]
PERMIT2612 = [("owner", "address"), ("spender", "address"), ("value", "uint256"), ("nonce", "uint256"),
              ("deadline", "uint256")]


def chain(token):
    return int(token["network"].split(":")[1])


def domain(token):
    return {"name": token["name"], "version": token["version"], "chainId": chain(token),
            "verifyingContract": token["address"]}


def sign(domain, types, message):
    types = {name: [{"name": n, "type": t} for n, t in fields] for name, fields in types.items()}
    signable = encode_typed_data(domain, types, message)
    signed = PAYER.sign_message(signable)
    return bytes(_hash_eip191_message(signable)), "0x" + bytes(signed.signature).hex()


def hex32(number):
    return "0x" + number.to_bytes(32, "big").hex()


def transfer(token, value, after, before, nonce):
    texts = {"from": PAYER.address, "to": PAYEE, "value": str(value), "validAfter": str(after),
             "validBefore": str(before), "nonce": hex32(nonce)}
    message = dict(texts, value=value, validAfter=after, validBefore=before, nonce=nonce.to_bytes(32, "big"))
    signing_hash, signature = sign(domain(token), {"TransferWithAuthorization": TRANSFER}, message)
    return signing_hash, {"signature": signature, "authorization": texts}


def permit(token, amount, nonce, deadline, after, facilitator=None):
    spender = UPTO_PROXY if facilitator else EXACT_PROXY
    witness = {"to": PAYEE, **({"facilitator": facilitator} if facilitator else {})}
    message = {"permitted": {"token": token["address"], "amount": amount}, "spender": spender, "nonce": nonce,
               "deadline": deadline, "witness": {**witness, "validAfter": after}}
    types = {"PermitWitnessTransferFrom": PERMIT, "TokenPermissions": PERMITTED,
             "Witness": UPTO_WITNESS if facilitator else EXACT_WITNESS}
    permit2 = {"name": "Permit2", "chainId": chain(token), "verifyingContract": PERMIT2}
    signing_hash, signature = sign(permit2, types, message)
    texts = {"from": PAYER.address, "permitted": {"token": token["address"], "amount": str(amount)}, "spender": spender,
             "nonce": str(nonce), "deadline": str(deadline), "witness": {**witness, "validAfter": str(after)}}
    return signing_hash, {"signature": signature, "permit2Authorization": texts}


def payment_id(signing_hash):
    payer = bytes.fromhex(PAYER.address[2:])
    return hashlib.sha256(b"farthing/evm/payment/1" + payer + signing_hash).hexdigest()


def payment(name, token, made):
    signing_hash, payload = made
    return {"name": name, "token": token, "payload": json.dumps(payload), "payer": PAYER.address,
            "signingHash": "0x" + signing_hash.hex(), "payment": payment_id(signing_hash)}


def offer(token, scheme, amount, seconds, extra):
    return {"scheme": scheme, "network": token["network"], "amount": str(amount), "asset": token["address"],
            "payTo": PAYEE, "maxTimeoutSeconds": seconds, "extra": extra}


def paid(name, token, offer, random, made):
    return {**payment(name, token, made), "offer": offer, "now": NOW, "random": hex32(random)[2:]}


def eip2612(token, amount, nonce, deadline):
    message = {"owner": PAYER.address, "spender": PERMIT2, "value": amount, "nonce": nonce, "deadline": deadline}
    signing_hash, signature = sign(domain(token), {"Permit": PERMIT2612}, message)
    info = {"from": PAYER.address, "asset": token["address"], "spender": PERMIT2, "amount": str(amount),
            "nonce": str(nonce), "deadline": str(deadline), "signature": signature, "version": "1"}
    return {"token": token, "signingHash": "0x" + signing_hash.hex(), "info": info}


def approval(token, nonce, max_fee, tip):
    data = "0x095ea7b3" + PERMIT2[2:].lower().rjust(64, "0") + "f" * 64
    transaction = {"type": 2, "chainId": chain(token), "nonce": nonce, "gas": 70_000, "maxFeePerGas": max_fee,
                   "maxPriorityFeePerGas": tip, "to": token["address"], "value": 0, "data": data}
    raw = "0x" + bytes(PAYER.sign_transaction(transaction).raw_transaction).hex()
    info = {"from": PAYER.address, "asset": token["address"], "spender": PERMIT2, "amount": str(2**256 - 1),
            "signedTransaction": raw, "version": "1"}
    return {"token": token, "nonce": nonce, "maxFee": max_fee, "tip": tip, "info": info}


def keys(signing_hash, signature):
    """Forms of one signature, and whose it is: only one of them is anybody's."""
    raw = bytes.fromhex(signature[2:])
    r, s, v = raw[:32], int.from_bytes(raw[32:64], "big"), raw[64]
    word = lambda number: number.to_bytes(32, "big")
    compact = r + word(s | ((v - 27) << 255))
    forms = [
        ("as it was made", raw, PAYER.address),
        ("the other half of the order, with the other v", r + word(ORDER - s) + bytes([55 - v]), None),
        ("v as a parity", raw[:64] + bytes([v - 27]), None),
        ("v as EIP-155 has it", raw[:64] + bytes([v + 8]), None),
        ("64 bytes (EIP-2098)", compact, None),
        ("a byte too long", raw + b"\0", None),
        ("r is zero", word(0) + raw[32:], None),
        ("s is zero", r + word(0) + raw[64:], None),
        ("r is the order", word(ORDER) + raw[32:], None),
        ("empty", b"", None),
    ]
    return [{"name": name, "hash": "0x" + signing_hash.hex(), "signature": "0x" + form.hex(), "signer": signer}
            for name, form, signer in forms]


def main():
    large = 2**128 - 1
    named = {"name": "USDC", "version": "2"}
    first = transfer(USDC, 1000, 0, NOW + 300, 0x0123456789ABCDEF << 192)
    golden = [
        payment("a tenth of a cent by EIP-3009", USDC, first),
        payment("the largest amount and a backdated window", USDC, transfer(USDC, large, NOW - 600, 2**64 - 1, 1)),
        payment("a token whose name is not ASCII", FLARE, transfer(FLARE, 1, 0, NOW + 60, 2**256 - 1)),
        payment("exact by Permit2", USDC, permit(USDC, 1000, 7, NOW + 300, NOW - 600)),
        payment("exact by Permit2 with the largest nonce", MEGA, permit(MEGA, large, 2**256 - 1, NOW + 60, 0)),
        payment("upto", USDC, permit(USDC, 1000, 7, NOW + 300, NOW - 600, FACILITATOR)),
    ]
    random = int.from_bytes(bytes(range(1, 33)), "big")
    by_permit2 = {"assetTransferMethod": "permit2", **named}
    pay = [
        paid("exact by EIP-3009", USDC, offer(USDC, "exact", 1000, 300, named), random,
             transfer(USDC, 1000, 0, NOW + 300, random)),
        paid("exact by EIP-3009 for an hour at most", USDC, offer(USDC, "exact", 1000, 86_400, named), random,
             transfer(USDC, 1000, 0, NOW + 3600, random)),
        paid("exact by Permit2", USDC, offer(USDC, "exact", 1000, 60, by_permit2), random,
             permit(USDC, 1000, random, NOW + 60, NOW - 600)),
        paid("upto", USDC, offer(USDC, "upto", 5000, 60, {**by_permit2, "facilitatorAddress": FACILITATOR}), random,
             permit(USDC, 5000, random, NOW + 60, NOW - 600, FACILITATOR)),
    ]
    about = ("What payers sign on EVM chains. golden: member payload as JSON text, its EIP-712 hash, and the payment's "
             "id: SHA-256 of \"farthing/evm/payment/1\", the payer's 20 bytes and that hash. pay: what a client signs "
             "for an offer at a time, with 32 random bytes. keys: forms of one key's signature over a hash, and the "
             "signer, or null where it must be refused. eip2612 and approval: member info of the gas sponsoring "
             "extensions. Made by make.py.")
    out = {"about": about, "key": "0x" + bytes(PAYER.key).hex(), "golden": golden, "pay": pay,
           "keys": keys(first[0], first[1]["signature"]),
           "eip2612": [eip2612(USDC, 1000, 0, NOW + 300), eip2612(FLARE, 2**256 - 1, 41, 2**64)],
           "approval": [approval(USDC, 3, 2_000_000_000, 1_000_000)]}
    print(json.dumps(out, indent=1, ensure_ascii=False))


main()
