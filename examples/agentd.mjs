// Fetches a paid URL through `farthing agentd`: node agentd.mjs URL
import { readFileSync } from "node:fs";

const home = process.env.FARTHING_HOME ?? `${process.env.HOME}/.farthing`;
const token = readFileSync(`${home}/agentd.token`, "utf8").trim();
const agentd = process.env.FARTHING_AGENTD ?? "http://127.0.0.1:4020";
const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
const body = JSON.stringify({ url: process.argv[2], max_price: "0.01 XTS" });
const answer = await fetch(`${agentd}/fetch`, { method: "POST", headers, body });
console.log(await answer.text());
console.log("It cost", answer.headers.get("farthing-payment-cost"));
