// The wallet: an Ed25519 key that this browser made and that nobody can read out of it.

/** The wallet: {key, account}. Nothing when there is none. */
const wallet = () => read("wallet", "key");

async function canSign() {
  try {
    await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    await wallet();
    return true;
  } catch {
    return false;
  }
}

async function makeWallet() {
  const { privateKey, publicKey } = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const account = hex(new Uint8Array(await crypto.subtle.exportKey("raw", publicKey)));
  return navigator.locks.request("farthing wallet", async () => {
    const made = await wallet();
    if (made) return made;
    await write("wallet", "key", { key: privateKey, account });
    navigator.storage?.persist?.().catch(() => {});
    return { key: privateKey, account };
  });
}

const sign = async (own, bytes) => new Uint8Array(await crypto.subtle.sign("Ed25519", own.key, bytes));

async function isSigned(key, signature, bytes) {
  const known = await crypto.subtle.importKey("raw", unhex(key, 32), "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", known, unhex(signature, 64), bytes);
}

/** What the account has of an asset, in atomic units. Nothing when the ledger does not say. */
async function balanceOf(own, offer) {
  if (!page.ledger) return undefined;
  const asOf = now();
  const account = unhex(own.account, 32);
  const asked = layout("farthing/balances", ledgerOf(offer), account, number(asOf, 8));
  const signature = hex(await sign(own, asked));
  try {
    const response = await fetch(`${page.ledger}/balances`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ network: offer.network, account: own.account, asOf, signature }),
    });
    const said = await response.json();
    return response.ok ? BigInt(said.balances[offer.asset] ?? 0) : undefined;
  } catch {
    return undefined;
  }
}

/** Asks for test money, and returns what was given: {amount, asset}. */
async function topUp(own) {
  const response = await fetch(page.topUp, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json", "accept-language": page.lang },
    body: JSON.stringify({ account: own.account }),
  });
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(page.words[said.code] ?? said.detail ?? `HTTP ${response.status}`);
  return said;
}
