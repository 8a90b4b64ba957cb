// What the reference servers of version 2 sell: the same routes at the same price, paid in each way there is.
import { HTTPFacilitatorClient, x402ResourceServer } from "@x402/core/server";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { UptoEvmScheme } from "@x402/evm/upto/server";
import { declareEip2612GasSponsoringExtension, declareErc20ApprovalGasSponsoringExtension } from "@x402/extensions";
import { setting } from "./ready.mjs";

const network = setting("NETWORK");
const payTo = setting("PAY_TO");
const amount = setting("PRICE");
const token = { name: setting("TOKEN_NAME"), version: setting("TOKEN_VERSION") };
const permit2 = { assetTransferMethod: "permit2" };
const usdc = (extra) => ({ amount, asset: setting("TOKEN"), extra: { ...token, ...extra } });
const plain = { amount, asset: setting("PLAIN"), extra: permit2 };
const exact = (path, price, extensions) => ({
  [`GET ${path}`]: {
    accepts: { scheme: "exact", network, payTo, price },
    description: "interop",
    extensions,
  },
});
const upto = (path) => ({
  [`GET ${path}`]: { accepts: { scheme: "upto", network, payTo, price: usdc({}) }, description: "interop" },
});

/** Every route, by its key for the middleware. */
export const routes = {
  ...exact("/eip3009", usdc({})),
  ...exact("/eip3009/other", usdc({})),
  ...exact("/permit2", usdc(permit2)),
  ...exact("/permit2/other", usdc(permit2)),
  ...exact("/eip2612", usdc(permit2), declareEip2612GasSponsoringExtension()),
  ...exact("/erc20", plain, declareErc20ApprovalGasSponsoringExtension()),
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
