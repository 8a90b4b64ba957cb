// A pass that was paid for: the wallet proves its key again, and pays nothing.

/** What is signed to sign in, in the form of EIP-4361. */
function signInText(info, network, account) {
  const [family, chain] = network.split(":");
  const lines = [`${info.domain} wants you to sign in with your ${family} account:`, account, ""];
  if (info.statement) lines.push(info.statement, "");
  lines.push(`URI: ${info.uri}`, `Version: ${info.version}`, `Chain ID: ${chain}`);
  lines.push(`Nonce: ${info.nonce}`, `Issued At: ${info.issuedAt}`);
  const rest = { "Expiration Time": "expirationTime", "Not Before": "notBefore", "Request ID": "requestId" };
  for (const [name, key] of Object.entries(rest)) if (info[key]) lines.push(`${name}: ${info[key]}`);
  if (info.resources) lines.push("Resources:", ...info.resources.map((resource) => `- ${resource}`));
  return lines.join("\n");
}

/** Asks for this page with a proof of the wallet's key. Nothing unless that opens it. */
async function signIn(own) {
  const { info, supportedChains = [] } = terms.extensions?.["sign-in-with-x"] ?? {};
  const chain = supportedChains.find(({ chainId, type }) => chainId === offer.network && type === "ed25519");
  const isOurs = info && new URL(info.uri).origin === page.origin && info.domain === new URL(page.origin).host;
  if (!own || !chain || !isOurs) return undefined;
  const signature = hex(await sign(own, utf8(signInText(info, chain.chainId, own.account))));
  const proof = { ...info, address: own.account, chainId: chain.chainId, type: chain.type, signature };
  const headers = { accept: ACCEPT, "sign-in-with-x": base64(utf8(JSON.stringify(proof))) };
  const response = await fetch(here, { headers, cache: "no-store" });
  return response.ok ? response : undefined;
}
