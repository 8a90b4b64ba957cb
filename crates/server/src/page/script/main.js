// From the terms to the content: what this visitor can do next.

let terms = page.terms;
let offer;

/** Offers that can be paid here, one for each price. */
function payable() {
  const all = terms.accepts.filter(isPayable);
  const same = (one, other) => ["network", "asset", "amount", "payTo"].every((key) => one[key] === other[key]);
  return all.filter((one, at) => all.findIndex((other) => same(one, other)) === at);
}

function choose() {
  const offers = payable();
  offer = offers.find((one) => offer && one.asset === offer.asset) ?? offers[0];
  show("choices", offers.length > 1);
  $("choices").querySelectorAll("label").forEach((label) => label.remove());
  if (offers.length < 2) return;
  for (const one of offers) {
    const [label, input] = ["label", "input"].map((tag) => document.createElement(tag));
    Object.assign(input, { type: "radio", name: "offer", checked: one === offer });
    input.onchange = () => void once(() => ((offer = one), ready()));
    label.append(input, priceOf(one));
    $("choices").append(label);
  }
}

/** Shows the wallet and the one thing to do next. */
async function ready(last) {
  const own = await wallet();
  const balance = own && (await balanceOf(own, offer));
  const short = balance !== undefined && balance < BigInt(offer.amount);
  show("wallet");
  show("wallet-none", !own);
  show("wallet-facts", Boolean(own));
  show("wallet-balance", balance !== undefined);
  show("test-money", unitOf(offer)?.currency === "XTS");
  $("account").textContent = own?.account ?? "";
  $("balance").textContent = balance === undefined ? "" : money(offer, balance);
  $("price").textContent = priceOf(offer);
  if (!terms.extensions?.["sign-in-with-x"]) $("per").textContent = say(offer.scheme === "upto" ? "at_most" : "once");
  const price = { price: priceOf(offer) };
  const canTopUp = page.topUp && offer.asset === "XTS";
  const add = [say("top_up"), () => fill(own, last)];
  const pay = last ? [say("pay_again", price), () => payAnew(own, last)] : [say("pay", price), () => pays(own)];
  if (!own) {
    button("act", say("wallet_make"), async () => {
      await makeWallet();
      told(say("wallet_made"));
      await ready(last);
    });
    button("more");
  } else if (short && canTopUp) {
    button("act", ...add);
    button("more");
  } else if (short) {
    button("act");
    button("more");
    told(`${say("too_little")} ${say("ask_seller", { account: own.account })}`);
  } else {
    button("act", ...pay);
    button("more", say("top_up"), canTopUp && add[1]);
  }
}

async function fill(own, last) {
  told(say("topping_up"));
  try {
    const given = await topUp(own);
    told(say("topped_up", { amount: given.shown }));
  } catch (error) {
    told("");
    warn(say("top_up_failed", { why: error.message }));
  }
  await ready(last);
}

/** Pays by the offer that is shown. Two tabs never pay for one address at the same time. */
async function pays(own, last) {
  if (now() >= endOf(offer) && !(await refresh())) return;
  await navigator.locks.request(`farthing ${here}`, async () => {
    const kept = await read("payments", here);
    if (kept && kept.id !== last?.id) return resume(kept);
    told(say("paying"));
    return resume(await signFor(own, offer, terms), true);
  });
}

async function payAnew(own, last) {
  const price = priceOf(offer);
  $("sure-text").textContent = say("sure", { price, date: dated(last.at) });
  $("sure-yes").textContent = say("pay", { price });
  const sure = await new Promise((done) => {
    $("sure-no").onclick = () => $("sure").close("");
    $("sure-yes").onclick = () => $("sure").close("yes");
    $("sure").returnValue = "";
    $("sure").onclose = () => done($("sure").returnValue === "yes");
    $("sure").showModal();
  });
  if (sure) await pays(own, last);
}

/** Fetches the terms again; false when they are others, which must be read before they are paid. */
async function refresh() {
  const before = offer && [offer.amount, offer.asset, offer.payTo].join();
  terms = await currentTerms();
  choose();
  count();
  if (offer && before === [offer.amount, offer.asset, offer.payTo].join()) return true;
  warn(say("changed"));
  if (offer) await ready();
  return false;
}

/** Presents a payment until it is certain what became of it. Nothing else is signed meanwhile. */
async function resume(kept, fresh) {
  show("wallet", false);
  show("choices", false);
  button("act");
  button("more");
  told(say(fresh ? "paying" : "looking"));
  if (fresh) $("status").focus();
  for (let tries = 0; ; tries++) {
    const said = await present(kept);
    if (said.what !== "unknown") return settled(kept, said);
    if (page.ledger && tries > 0 && (await isNotTaken(kept))) return settled(kept, { what: "voided" });
    const seconds = Math.min(Math.max(Number(said.after) || 2, 2 ** Math.min(tries, 4)), 30);
    told(say("unknown"));
    await pause(seconds);
  }
}

async function settled(kept, said) {
  if (said.what === "delivered") return deliver(kept, said);
  told("");
  if (said.what === "gone" || kept.state === "paid") {
    await keep({ ...kept, state: "paid" });
    told(said.what === "gone" && said.reason ? said.why : say("gone", { date: dated(kept.at) }));
    return ready(kept);
  }
  await forget("payments", here);
  const refused = said.message ? `${said.message} (${said.why})` : say("refused", { why: said.why });
  warn(said.what === "voided" ? say("voided") : refused);
  await refresh();
  await ready();
  $("act").focus();
}

const keep = (kept) => write("payments", here, kept);

async function deliver(kept, { response, settlement }) {
  await keep({ ...kept, state: "paid" });
  if (opensPage(response)) return;
  const body = await reveal(response);
  await showReceipt(kept, response, lastWord(settlement, body), body);
  const own = await wallet();
  button("anew", say("pay_again", { price: priceOf(offer) }), own && (() => payAnew(own, kept)));
}

/** Loads the page itself where a pass opens it; not again and again, as not every browser takes the cookie. */
function opensPage(response) {
  const before = Number(sessionStorage.getItem(`farthing ${here}`));
  if (!response.headers.has("pass-token") || Date.now() - before < 30_000) return false;
  sessionStorage.setItem(`farthing ${here}`, Date.now());
  told(say("pass"));
  location.reload();
  return true;
}

/** Shows what came for the money, and returns its bytes. */
async function reveal(response) {
  ["wallet", "choices", "promise"].forEach((id) => show(id, false));
  button("act");
  button("more");
  $("offer").classList.add("done");
  told(say("paid"));
  $("content").replaceChildren();
  show("bought");
  $("bought-title").focus();
  const kind = response.headers.get("content-type") ?? "";
  const body = await (kind.startsWith("text/event-stream") ? showStream(response) : whole(response));
  if (!$("content").firstChild) showContent(kind, body);
  return body;
}

/** What became of the money, where that is said at the end of a stream only. */
function lastWord(settlement, body) {
  if (settlement.extra?.state !== "authorized") return settlement;
  const said = [...new TextDecoder().decode(body).matchAll(/^event: ?payment-response\r?\ndata: ?(.*)$/gm)].pop();
  try {
    return JSON.parse(said[1]);
  } catch {
    return { ...settlement, amount: undefined };
  }
}

async function showReceipt(kept, response, settlement, body) {
  const signed = settlement.extensions?.["farthing-receipt"];
  let word = say("receipt_none");
  let amount = settlement.amount ?? kept.amount;
  if (signed) {
    const checked = await checkReceipt(kept, signed, response, body).catch(() => ({ bad: "layout" }));
    word = checked.bad ? say("receipt_bad", { why: checked.bad }) : say(checked.coded ? "receipt_coded" : "receipt_good");
    amount = checked.amount ?? amount;
    const file = { ...signed, payment: kept.id, requestDigest: kept.digest, url: here };
    link("receipt-save", new Blob([JSON.stringify(file, null, 2)]), `receipt-${kept.id.slice(0, 12)}.json`);
  }
  show("receipt-save", Boolean(signed));
  $("receipt-word").textContent = word;
  facts("receipt-facts", [
    [say("amount"), offer ? money(offer, amount) : kept.price],
    [say("date"), dated(kept.at)],
    [say("payment"), kept.id],
  ]);
  show("receipt");
}

let counting;

/** Shows how long the offer is good for. */
function count() {
  clearInterval(counting);
  const tick = () => {
    const left = Math.max(0, endOf(offer) - now());
    $("remaining").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    if (left > 0 || running || $("act").hidden || !$("bought").hidden) return;
    clearInterval(counting);
    told(say("expired"));
    button("act", say("refresh"), async () => {
      if (await refresh()) await ready();
      told("");
    });
  };
  if (!offer || !Number.isFinite(endOf(offer))) return show("valid", false);
  show("valid");
  counting = setInterval(tick, 1000);
  tick();
}

function cannot(key, words) {
  told(say(key, words));
  $("other").open = true;
}

async function start() {
  if (navigator.clipboard) {
    show("copy");
    $("copy").onclick = async () => {
      await navigator.clipboard.writeText($("command").textContent);
      told(say("copied"));
    };
  }
  if (page.method !== "GET") return cannot("no_method");
  choose();
  if (!offer) return cannot("no_offer");
  if (!globalThis.crypto?.subtle || !globalThis.indexedDB || !(await canSign())) return cannot("no_crypto");
  if (location.origin !== page.origin) return cannot("other_address", { origin: page.origin });
  show("promise");
  count();
  await navigator.locks.request(`farthing ${here}`, async () => {
    const kept = await read("payments", here);
    if (kept?.state !== "unknown") {
      const own = await wallet();
      const opened = await signIn(own).catch(() => undefined);
      if (opened) return opensPage(opened) || reveal(opened);
    }
    return kept ? resume(kept) : ready();
  });
}

once(start);
