// How every program here speaks to the runner: it reads the environment, listens on a port of its own and says which.
import { createServer } from "node:http";

/** An environment variable that must be there. */
export function setting(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} is not set`);
    process.exit(2);
  }
  return value;
}

/** Prints the one line that the runner waits for, and ends when the runner does. */
export function ready(port) {
  console.log(`ready ${port}`);
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}

/** Serves `routes`, functions from a JSON body to a JSON answer, by "METHOD /path". */
export function serveJson(routes) {
  const server = createServer(async (request, response) => {
    const route = routes[`${request.method} ${request.url}`];
    if (!route) {
      response.writeHead(404).end();
      return;
    }
    const parts = [];
    for await (const part of request) parts.push(part);
    const text = Buffer.concat(parts).toString();
    let status = 200;
    let answer;
    try {
      answer = await route(text ? JSON.parse(text) : undefined);
    } catch (error) {
      status = 500;
      answer = { error: String(error?.message ?? error) };
    }
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(answer, (_, value) => (typeof value === "bigint" ? `${value}` : value)));
  });
  server.listen(0, "127.0.0.1", () => ready(server.address().port));
}
