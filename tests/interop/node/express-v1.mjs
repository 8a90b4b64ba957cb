// A reference server of version 1: the legacy package for express.
import express from "express";
import { paymentMiddleware } from "x402-express";
import { ready, setting } from "./ready.mjs";

const price = {
  amount: setting("PRICE"),
  asset: {
    address: setting("TOKEN"),
    decimals: 6,
    eip712: { name: setting("TOKEN_NAME"), version: setting("TOKEN_VERSION") },
  },
};
const paths = ["/eip3009", "/eip3009/other"];
const routes = Object.fromEntries(paths.map((path) => [`GET ${path}`, { price, network: setting("NETWORK_V1") }]));

const app = express();
app.use(paymentMiddleware(setting("PAY_TO"), routes, { url: setting("FACILITATOR") }));
for (const path of paths) {
  app.get(path, (_, response) => response.type("text/plain").send(`sold: ${path}`));
}
const server = app.listen(0, "127.0.0.1", () => ready(server.address().port));
