// What the reference servers of version 2 sell: the same routes at the same price, paid in each way there is.
import { HTTPFacilitatorClient, x402ResourceServer } from "@x402/core/server";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { UptoEvmScheme } from "@x402/evm/upto/server";
import { setting } from "./ready.mjs";

const network = setting("NETWORK");
const payTo = setting("PAY_TO");
const amount = setting("PRICE");
const token = { name: setting("TOKEN_NAME"), version: setting("TOKEN_VERSION") };
const price = (extra) => ({ amount, asset: setting("TOKEN"), extra: { ...token, ...extra } });
const exact = (path, extra) => ({
  [`GET ${path}`]: { accepts: { scheme: "exact", network, payTo, price: price(extra) }, description: "interop" },
});
const upto = (path) => ({
  [`GET ${path}`]: { accepts: { scheme: "upto", network, payTo, price: price({}) }, description: "interop" },
});

/** Every route, by its key for the middleware. */
export const routes = {
  ...exact("/eip3009", {}),
  ...exact("/eip3009/other", {}),
  ...exact("/permit2", { assetTransferMethod: "permit2" }),
  ...exact("/permit2/other", { assetTransferMethod: "permit2" }),
  ...upto("/upto"),
  ...upto("/upto/other"),
};

/** Every path that is sold. */
export const paths = Object.keys(routes).map((key) => key.slice("GET ".length));

/** What an `upto` route takes of its maximum, in atomic units; nothing for other routes. */
export const used = (path) => (path.startsWith("/upto") ? { amount: setting("USED") } : undefined);

/** What a path answers when it is paid for. */
export const content = (path) => `sold: ${path}`;

/** The resource server that settles through the configured facilitator. */
export const resourceServer = new x402ResourceServer(new HTTPFacilitatorClient({ url: setting("FACILITATOR") }))
  .register(network, new ExactEvmScheme())
  .register(network, new UptoEvmScheme());
