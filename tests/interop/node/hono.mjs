// A reference server of version 2 on hono.
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { paymentMiddleware, setSettlementOverrides } from "@x402/hono";
import { content, paths, resourceServer, routes, used } from "./offers.mjs";
import { ready } from "./ready.mjs";

const app = new Hono();
app.use(paymentMiddleware(routes, resourceServer));
for (const path of paths) {
  app.get(path, (context) => {
    const overrides = used(path);
    if (overrides) setSettlementOverrides(context, overrides);
    return context.text(content(path));
  });
}
serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) => ready(port));
