// The reference client of version 1: the legacy package. Jobs are `{key, url}`.
import { createSigner, wrapFetchWithPayment } from "x402-fetch";
import { seen } from "./seen.mjs";
import { serveJson, setting } from "./ready.mjs";

const network = setting("NETWORK_V1");

serveJson({
  "POST /": async ({ key, url }) => seen(await wrapFetchWithPayment(fetch, await createSigner(network, key))(url)),
});
