// What the reference makes of farthing's signed offers, receipts and payment identifiers, and its own for farthing: one
// job on standard input, one answer on standard output.
import { generateKeyPairSync, sign } from "node:crypto";
import { base58 } from "@scure/base";
import {
  createJWSOfferReceiptIssuer,
  decodeSignedOffers,
  extractOffersFromPaymentRequired,
  findAcceptsObjectFromSignedOffer,
  verifyOfferSignatureJWS,
  verifyReceiptSignatureJWS,
} from "@x402/extensions/offer-receipt";
import {
  appendPaymentIdentifierToExtensions,
  extractAndValidatePaymentIdentifier,
  isPaymentIdentifierRequired,
  isValidPaymentId,
} from "@x402/extensions/payment-identifier";

const parts = [];
for await (const part of process.stdin) parts.push(part);
const { terms, settlement, tampered, identifier } = JSON.parse(Buffer.concat(parts).toString());

/** Farthing's terms: each signed offer verifies, and is found among what is accepted. */
const signed = extractOffersFromPaymentRequired(terms);
const offers = [];
for (const offer of decodeSignedOffers(signed)) {
  const payload = await verifyOfferSignatureJWS(offer.signedOffer);
  offers.push({ payload, accepted: findAcceptsObjectFromSignedOffer(offer, terms.accepts) });
}
const receipt = await verifyReceiptSignatureJWS(settlement.extensions["offer-receipt"].info.receipt);
const refused = await verifyReceiptSignatureJWS(tampered).then(() => false, () => true);

/** Farthing's extension, answered by the reference's client; and farthing's own answer. */
const declared = terms.extensions["payment-identifier"];
const required = isPaymentIdentifierRequired(declared);
const answered = appendPaymentIdentifierToExtensions(structuredClone({ "payment-identifier": declared }));
const read = extractAndValidatePaymentIdentifier({ extensions: identifier.extensions });
const names = { required, answered, read, valid: isValidPaymentId(identifier.id) };

/** The reference's own, with a key of this moment. */
const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const raw = Buffer.from(publicKey.export({ format: "jwk" }).x, "base64url");
const name = `z${base58.encode(Uint8Array.from([0xed, 0x01, ...raw]))}`;
const kid = `did:key:${name}#${name}`;
const signer = {
  kid,
  format: "jws",
  algorithm: "EdDSA",
  sign: async (bytes) => sign(null, bytes, privateKey).toString("base64url"),
};
const issuer = createJWSOfferReceiptIssuer(kid, signer);
const [accepted] = terms.accepts;
const { url } = terms.resource;
const theirs = {
  key: raw.toString("hex"),
  offer: await issuer.issueOffer(url, { ...accepted, acceptIndex: 0, offerValiditySeconds: 300 }),
  receipt: await issuer.issueReceipt(url, settlement.payer, settlement.network, settlement.transaction),
  minimal: await issuer.issueReceipt(url, settlement.payer, settlement.network, undefined),
};

console.log(JSON.stringify({ offers, receipt, refused, names, theirs }));
