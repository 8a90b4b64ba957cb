// Compiles src/*.sol with the solc of the packages in argv[2] and writes, to argv[3], for each contract:
// its abi, its runtime code, and the selectors of its functions.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const [modules, output] = process.argv.slice(2);
const solc = require(path.resolve(modules, "solc"));

const directory = path.join(__dirname, "src");
const sources = {};
for (const name of fs.readdirSync(directory).sort()) {
  if (name.endsWith(".sol")) {
    sources[name] = { content: fs.readFileSync(path.join(directory, name), "utf8") };
  }
}

const input = {
  language: "Solidity",
  sources,
  settings: {
    evmVersion: "cancun",
    optimizer: { enabled: true, runs: 1000 },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: {
      "*": { "*": ["abi", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences", "evm.methodIdentifiers"] },
    },
  },
};

const compiled = JSON.parse(solc.compile(JSON.stringify(input)));
const complaints = compiled.errors ?? [];
if (complaints.length > 0) {
  console.error(complaints.map((complaint) => complaint.formattedMessage).join("\n"));
  process.exit(1);
}

const contracts = {};
for (const file of Object.values(compiled.contracts)) {
  for (const [name, { abi, evm }] of Object.entries(file)) {
    const { object, immutableReferences } = evm.deployedBytecode;
    if (object === "") continue; // An interface.
    if (Object.keys(immutableReferences).length > 0) {
      console.error(`${name} has immutables: its code cannot be placed as it is`);
      process.exit(1);
    }
    contracts[name] = { abi, runtime: `0x${object}`, selectors: evm.methodIdentifiers };
  }
}

// Whole or not at all: others may be looking for it.
const draft = `${output}.${process.pid}`;
fs.writeFileSync(draft, JSON.stringify(contracts));
fs.renameSync(draft, output);
