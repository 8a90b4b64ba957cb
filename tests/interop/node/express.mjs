// A reference server of version 2 on express.
import express from "express";
import { paymentMiddleware, setSettlementOverrides } from "@x402/express";
import { content, paths, resourceServer, routes, used } from "./offers.mjs";
import { ready } from "./ready.mjs";

const app = express();
app.use(paymentMiddleware(routes, resourceServer));
for (const path of paths) {
  app.get(path, (_, response) => {
    const overrides = used(path);
    if (overrides) setSettlementOverrides(response, overrides);
    response.type("text/plain").send(content(path));
  });
}
const server = app.listen(0, "127.0.0.1", () => ready(server.address().port));
