"""Makes jws.json with the package cryptography, which shares no code with farthing: python3 make_jws.py > jws.json"""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
NETWORK = "farthing:00112233445566778899aabbccddeeff"
URL = "https://shop.example/weather?city=Taipei"


def base58(data):
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        digits = DIGITS[rest] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    def __init__(self, name):
        self.seed = hashlib.sha256(f"farthing vectors: {name}".encode()).digest()
        self.private = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        identifier = "z" + base58(b"\xed\x01" + self.public)
        self.did = f"did:key:{identifier}"
        self.kid = f"{self.did}#{identifier}"

    def sign(self, payload, header=None, raw=False):
        header = {"alg": "EdDSA", "kid": self.kid} if header is None else header
        header = header if isinstance(header, str) else json.dumps(header, separators=(",", ":"))
        # Only ASCII keys and strings, and whole numbers: sorting and no spaces is RFC 8785 here.
        payload = payload if raw else json.dumps(payload, separators=(",", ":"), sort_keys=True)
        signed = f"{text(header.encode())}.{text(payload.encode())}"
        return f"{signed}.{text(self.private.sign(signed.encode()))}"


SELLER, OTHER = Key("seller's receipts"), Key("somebody else")
OFFER = {"version": 1, "resourceUrl": URL, "scheme": "exact", "network": NETWORK, "asset": "XTS",
         "payTo": "aa" * 32, "amount": "1000", "validUntil": 1_800_000_300}
FOREVER = {name: value for name, value in OFFER.items() if name != "validUntil"}
RECEIPT = {"version": 1, "network": NETWORK, "resourceUrl": URL, "payer": "bb" * 32, "issuedAt": 1_800_000_000}
NAMED = {**RECEIPT, "transaction": "cc" * 32}
LARGE = {**OFFER, "amount": str(2**128 - 1), "network": "eip155:8453", "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
         "asset": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"}


def holds(name, kind, payload, **more):
    return {"name": name, "kind": kind, "key": SELLER.public.hex(), "jws": SELLER.sign(payload), "states": payload, **more}


def fails(name, kind, jws, error):
    return {"name": name, "kind": kind, "key": SELLER.public.hex(), "jws": jws, "error": error}


def header(**members):
    return {"alg": "EdDSA", "kid": SELLER.kid, **members}


def parts(jws):
    return jws.split(".")


def main():
    good, other = SELLER.sign(RECEIPT), OTHER.sign(RECEIPT)
    head, body, signature = parts(good)
    last = signature[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    sloppy = signature[:-1] + alphabet[alphabet.index(last) + 1]
    order = (2**252 + 27742317777372353535851937790883648493)
    raw = base64.urlsafe_b64decode(signature + "==")
    high = raw[:32] + (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    vectors = [
        holds("an offer", "offer", OFFER),
        holds("an offer without an end", "offer", FOREVER),
        holds("the largest amount, on a chain", "offer", LARGE),
        holds("a receipt", "receipt", RECEIPT),
        holds("a receipt that names its settlement", "receipt", NAMED),
        fails("another key's", "receipt", other, "foreign-key"),
        fails("another key's under the seller's name", "receipt", OTHER.sign(RECEIPT, header()), "signature"),
        fails("another payload under a good signature", "receipt", f"{head}.{parts(SELLER.sign(NAMED))[1]}.{signature}", "signature"),
        fails("a scalar above the group's order", "receipt", f"{head}.{body}.{text(high)}", "signature"),
        fails("no signature", "receipt", f"{head}.{body}.", "signature"),
        fails("alg none", "receipt", SELLER.sign(RECEIPT, header(alg="none")), "algorithm"),
        fails("alg HS256", "receipt", SELLER.sign(RECEIPT, header(alg="HS256")), "algorithm"),
        fails("alg ES256K", "receipt", SELLER.sign(RECEIPT, header(alg="ES256K")), "algorithm"),
        fails("alg in small letters", "receipt", SELLER.sign(RECEIPT, header(alg="eddsa")), "algorithm"),
        fails("a critical extension", "receipt", SELLER.sign(RECEIPT, header(crit=["exp"], exp=1)), "critical"),
        fails("a payload that is not encoded", "receipt", SELLER.sign(RECEIPT, header(b64=False)), "critical"),
        fails("no kid", "receipt", SELLER.sign(RECEIPT, {"alg": "EdDSA"}), "header"),
        fails("alg twice", "receipt", SELLER.sign(RECEIPT, f'{{"alg":"none","alg":"EdDSA","kid":"{SELLER.kid}"}}'), "header"),
        fails("two keys", "receipt", SELLER.sign(RECEIPT, header(jwk={"kty": "OKP", "crv": "Ed25519", "x": text(OTHER.public)})), "two-keys"),
        fails("a fragment of another key", "receipt", SELLER.sign(RECEIPT, header(kid=f"{SELLER.did}#{OTHER.did[8:]}")), "kid"),
        fails("padding", "receipt", good + "==", "base64"),
        fails("bits that no byte has", "receipt", f"{head}.{body}.{sloppy}", "base64"),
        fails("the standard alphabet", "receipt", f"{head}.{body}.{'+/' + signature[2:]}", "base64"),
        fails("two parts", "receipt", f"{head}.{body}", "parts"),
        fails("four parts", "receipt", good + ".e30", "parts"),
        fails("an offer in the place of a receipt", "receipt", SELLER.sign(OFFER), "statement"),
        fails("a receipt in the place of an offer", "offer", SELLER.sign(RECEIPT), "statement"),
        fails("both at once", "receipt", SELLER.sign({**OFFER, **RECEIPT}), "statement"),
        fails("a payer twice", "receipt", SELLER.sign('{"payer":"x",' + json.dumps(RECEIPT)[1:], raw=True), "statement"),
        fails("an amount that is a number", "offer", SELLER.sign({**OFFER, "amount": 1000}), "statement"),
        fails("a later version", "receipt", SELLER.sign({**RECEIPT, "version": 2}), "version"),
    ]
    about = ("Signed offers and receipts of x402's extension offer-receipt, spec/extension-offer-and-receipt.md. states is the "
             "payload when jws verifies under key as an artifact of this kind; error is why it does not: parts, base64, header, "
             "algorithm, critical, two-keys, kid, foreign-key, signature, statement or version. Where kid names a key, that "
             "is its did:key. seed is the secret key (RFC 8032) of did; every jws that states something is what it signs.")
    print(json.dumps({"about": about, "seed": SELLER.seed.hex(), "did": SELLER.did, "kid": SELLER.kid, "vectors": vectors}, indent=1))


main()
