// The reference client of version 2, which answers version 1 in kind. It takes jobs from the runner:
// `{key, url}` pays for `url`; `lie` makes it sign something else than it was offered in `version`, and `again`
// presents the payment of `url` a second time, for that other URL.
import { wrapFetchWithPayment, x402Client, x402HTTPClient } from "@x402/fetch";
import { registerExactEvmScheme } from "@x402/evm/exact/client";
import { UptoEvmScheme } from "@x402/evm/upto/client";
import { privateKeyToAccount } from "viem/accounts";
import { seen } from "./seen.mjs";
import { serveJson, setting } from "./ready.mjs";

const network = setting("NETWORK");
const schemeOptions = { rpcUrl: setting("RPC") };
const AMOUNT = { 1: "maxAmountRequired", 2: "amount" };
const LIES = {
  "wrong-amount": (offer, version) => ({ ...offer, [AMOUNT[version]]: "1" }),
  "wrong-payee": (offer) => ({ ...offer, payTo: "0x000000000000000000000000000000000000dEaD" }),
  expired: (offer) => ({ ...offer, maxTimeoutSeconds: -60 }),
};

function wallet(key) {
  const signer = privateKeyToAccount(key);
  const client = registerExactEvmScheme(new x402Client(), { signer, networks: [network], schemeOptions });
  return client.register(network, new UptoEvmScheme(signer)).setSpendControls(false);
}

async function pay({ key, url }) {
  return seen(await wrapFetchWithPayment(fetch, wallet(key))(url));
}

/** Signs by hand what the offer of `url` says, or what `lie` makes of it. */
async function signed({ key, url, lie, version }) {
  const client = wallet(key);
  const http = new x402HTTPClient(client);
  const unpaid = await fetch(url);
  // Version 2 has its terms in a header, version 1 in the body.
  const header = (name) => (version === 2 ? unpaid.headers.get(name) : undefined);
  const terms = http.getPaymentRequiredResponse(header, await unpaid.json());
  const [offer] = terms.accepts;
  const told = lie ? LIES[lie](offer, terms.x402Version) : offer;
  const payment = await client.createPaymentPayload({ ...terms, accepts: [told] });
  if (payment.accepted) payment.accepted = offer;
  return http.encodePaymentSignatureHeader(payment);
}

async function present(job) {
  const headers = await signed(job);
  const first = await seen(await fetch(job.url, { headers }));
  return job.again ? { first, ...(await seen(await fetch(job.again, { headers }))) } : first;
}

serveJson({ "POST /": (job) => (job.lie || job.again ? present(job) : pay(job)) });
