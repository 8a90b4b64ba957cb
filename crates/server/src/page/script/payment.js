// A payment: signed for this address and nothing else, kept before it is sent, and presented as often as it takes.

const here = location.origin + location.pathname + location.search;
const loaded = performance.now();

/** Unix seconds by the seller's clock, which the offers go by. */
const now = () => page.now + Math.floor((performance.now() - loaded) / 1000);

const ledgerOf = (offer) => unhex(offer.network.slice("farthing:".length), 16);
const SCHEMES = { exact: 1, "auth-capture": 2, upto: 3 };

/** Whether this page knows how to pay by an offer. */
function isPayable({ network, scheme, extra = {} }) {
  const escrow = (extra.paymentFlow ?? "escrow") === "escrow";
  return /^farthing:[0-9a-f]{32}$/.test(network) && scheme in SCHEMES && escrow;
}

/** Unix seconds at which an offer is of no more use. */
function endOf(offer) {
  const { captureDeadline = Infinity, quote } = offer.extra;
  return Math.min(captureDeadline - 60, quote?.expires ?? Infinity);
}

async function digestOf(offer) {
  const bound = offer.extra.binding === 1;
  const body = bound ? await sha256(new Uint8Array()) : new Uint8Array(32);
  const target = location.pathname + location.search;
  const request = [page.method, page.origin, target].map((text) => counted(utf8(text)));
  return sha256(layout("farthing/request-digest", Uint8Array.of(bound ? 1 : 2), ...request.flat(), body));
}

/** What is signed for an offer. Reaches no further ahead than five and fifteen minutes, and thirty days. */
async function draft(own, offer) {
  const { extra } = offer;
  const [time, digest] = [now(), await digestOf(offer)];
  if (extra.requestDigest !== hex(digest)) throw new Error(say("other_address", { origin: page.origin }));
  const capture = Math.min(extra.captureDeadline ?? Infinity, time + 900);
  const asked = offer.scheme === "auth-capture" ? (extra.refundDeadline ?? 0) : 0;
  const refund = asked && Math.max(Math.min(asked, time + 30 * 86400), capture);
  const { minFeeBps = 0, maxFeeBps = 0 } = extra;
  const nobody = new Uint8Array(32);
  const account = unhex(own.account, 32);
  const before = time + Math.min(offer.maxTimeoutSeconds, 300);
  const bytes = layout(
    "farthing/payment",
    ledgerOf(offer),
    Uint8Array.of(SCHEMES[offer.scheme], 1),
    [account, Uint8Array.of(1), account],
    [unhex(offer.payTo, 32), unhex(extra.receiverAuthorizer, 32)],
    counted(utf8(offer.asset)),
    number(offer.amount, 16),
    [number(time - 60, 8), number(before, 8), number(capture, 8), number(refund, 8)],
    [number(minFeeBps, 2), number(maxFeeBps, 2)],
    maxFeeBps ? unhex(extra.feeRecipient, 32) : nobody,
    [nobody, random(32)],
    [Uint8Array.of(extra.binding), digest],
  );
  return { bytes, digest, before };
}

/** Signs for an offer and keeps what was signed: from then on it is this payment or none. */
async function signFor(own, offer, terms) {
  const { bytes, digest, before } = await draft(own, offer);
  const payload = { authorization: base64(bytes), signature: hex(await sign(own, bytes)) };
  const extensions = { "farthing-receipt": {} };
  const named = terms.extensions?.["payment-identifier"];
  if (named) extensions["payment-identifier"] = { ...named, info: { ...named.info, id: `pay_${hex(random(16))}` } };
  const payment = { x402Version: 2, resource: terms.resource, accepted: offer, payload, extensions };
  const kept = {
    header: base64(utf8(JSON.stringify(payment))),
    id: hex(await sha256(bytes)),
    digest: hex(digest),
    price: priceOf(offer),
    amount: offer.amount,
    network: offer.network,
    before,
    receiptKey: offer.extra.receiptKey,
    at: Date.now(),
    state: "unknown",
  };
  await write("payments", here, kept);
  return kept;
}

const ACCEPT = "application/problem+json, text/html;q=0.9, application/xhtml+xml;q=0.9, */*;q=0.8";

/** Presents a payment once, and says what came of it: `delivered`, `gone`, `refused`, `voided`, or `unknown`. */
async function present(kept) {
  let response;
  const patience = new AbortController();
  // The answer must begin in this time; then it may take longer.
  const end = setTimeout(() => patience.abort(), 120_000);
  try {
    const headers = { accept: ACCEPT, "payment-signature": kept.header };
    response = await fetch(here, { headers, cache: "no-store", redirect: "manual", signal: patience.signal });
  } catch {
    return { what: "unknown" };
  } finally {
    clearTimeout(end);
  }
  if (response.type === "opaqueredirect") return { what: "delivered", response: new Response(""), settlement: {} };
  return judge(response);
}

async function judge(response) {
  const settlement = settlementOf(response);
  if (response.status < 400) {
    if (settlement?.success === false) return { what: "unknown" };
    return { what: "delivered", response, settlement: settlement ?? {} };
  }
  const isProblem = response.headers.get("content-type") === "application/problem+json";
  const problem = isProblem ? await response.json().catch(() => ({})) : {};
  const reason = settlement?.errorReason;
  const why = problem.detail ?? settlement?.errorMessage ?? reason ?? `HTTP ${response.status}`;
  const said = { why, reason, message: problem.message, after: response.headers.get("retry-after") };
  const never = ["answer-not-kept", "refused-by-policy"].includes(problem.code);
  if (settlement?.success) return { what: never ? "gone" : "unknown", ...said };
  const waits = ["settlement_pending", "payment_in_progress"].includes(reason);
  // Without advice from the seller's own server nothing is known: somebody in between may have answered.
  const retry = problem.retry ?? (reason ? (waits ? "same" : "new") : "same");
  if (retry === "same") return { what: "unknown", ...said };
  return { what: reason === "payment_voided" ? "voided" : "refused", ...said };
}

function settlementOf(response) {
  try {
    const text = new TextDecoder().decode(unbase64(response.headers.get("payment-response")));
    return JSON.parse(text) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Whether the ledger has signed that nothing was taken, and nothing will be. */
async function isNotTaken(kept) {
  try {
    const said = await (await fetch(`${page.ledger}/payments/${kept.id}`, { cache: "no-store" })).json();
    const ledger = ledgerOf(kept);
    const state = ["absent", "held", "captured", "voided", "reclaimed"].indexOf(said.state);
    const sums = [number(said.amount, 16), number(said.refunded, 16), number(said.asOf, 8)];
    const signed = layout("farthing/statement", ledger, unhex(kept.id, 32), Uint8Array.of(state), ...sums);
    const isLedgers = hex((await sha256(unhex(said.key, 32))).slice(0, 16)) === hex(ledger);
    if (!isLedgers || !(await isSigned(said.key, said.signature, signed))) return false;
    return state > 2 || (state === 0 && said.asOf > kept.before + 5 && said.asOf < kept.before + 86400);
  } catch {
    return false;
  }
}

/** The terms as they are now. */
async function currentTerms() {
  const response = await fetch(here, { headers: { accept: "application/problem+json" }, cache: "no-store" });
  const header = response.headers.get("payment-required");
  if (!header) throw new Error(`HTTP ${response.status}`);
  return JSON.parse(new TextDecoder().decode(unbase64(header)));
}
