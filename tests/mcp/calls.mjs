// Drives `farthing mcp` with the official client library, and prints what each call gave as one line of JSON, after
// one with what the server says of itself.
// Usage: node calls.mjs MODULES PROGRAM HOME PASSPHRASE_FILE < CALLS, a JSON list of {name, arguments}.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, program, home, passphrase] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(join(modules, "@modelcontextprotocol/sdk/dist/esm", file)).href);
const { Client } = await load("client/index.js");
const { StdioClientTransport } = await load("client/stdio.js");

const args = ["mcp", "--home", home, "--passphrase-file", passphrase];
const transport = new StdioClientTransport({ command: program, args, env: process.env, stderr: "inherit" });
const client = new Client({ name: "farthing-test", version: "1.0.0" });
// Whatever stands on standard output and is not the protocol comes out here.
client.onerror = (error) => {
  console.error(`protocol: ${error}`);
  process.exitCode = 1;
};
await client.connect(transport);
const print = (value) => console.log(JSON.stringify(value));
print({
  server: client.getServerVersion(),
  instructions: client.getInstructions(),
  tools: (await client.listTools()).tools,
});
for (const call of JSON.parse(readFileSync(0, "utf8"))) {
  print(await client.callTool(call).catch((error) => ({ protocolError: String(error) })));
}
await client.close();
