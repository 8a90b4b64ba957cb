// Visits the paywall's page as a person does, and prints what was seen as one line of JSON.
// Usage: node paywall.mjs MODULES ORIGIN PICTURES VISIT
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { checks } from "./checks.mjs";

const [modules, origin, pictures, visit] = process.argv.slice(2);
const { chromium } = await import(pathToFileURL(join(modules, "playwright-core/index.mjs")).href);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
});

const complaints = [];

/** A browser window of somebody who was never here before. */
async function visitor(options = {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1100, height: 900 }, ...options });
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => {
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  // What a browser says by itself of an answer 402 or 503 is no fault of the page.
  const ofStatus = /^Failed to load resource: (the server responded with a status of (400|402|409|429|500|502|503)|net::ERR_CONNECTION_RESET)/;
  // What is sold may not run anything: that the browser says so is right.
  const ofContent = /^Blocked script execution in 'about:srcdoc'|\/kinds\/x' violates/;
  page.on("console", (message) => {
    if (message.type() === "error" && !ofStatus.test(message.text()) && !ofContent.test(message.text())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  return page;
}

const picture = (page, name) => page.screenshot({ path: join(pictures, `paywall-${name}.png`), fullPage: true });
const text = (page, id) => page.locator(`#${id}`).textContent();
const visible = (page, id) => page.locator(`#${id}`).waitFor();
const pressed = (page, name) => page.getByRole("button", { name, exact: false }).click();

/** Opens an address and makes a wallet with test money in it. */
async function prepared(page, path) {
  await page.goto(origin + path);
  await pressed(page, "Set up a wallet");
  await pressed(page, "Add test money");
  await page.getByRole("button", { name: /^Pay / }).waitFor();
  await page.locator("#offer[aria-busy=false]").waitFor();
  return text(page, "account");
}

/** Goes forward by the keyboard until the focus is on an element. */
async function tabTo(page, id) {
  for (let presses = 0; presses < 30; presses++) {
    if ((await page.evaluate(() => document.activeElement?.id)) === id) return presses;
    await page.keyboard.press("Tab");
  }
  throw new Error(`the keyboard does not lead to ${id}`);
}

const visits = {
  /** Everything from the keyboard, then the same page once more. */
  async keyboard() {
    const page = await visitor();
    const response = await page.goto(`${origin}/article`);
    await page.getByRole("button", { name: "Set up a wallet" }).waitFor();
    await picture(page, "unpaid");
    const before = { faults: await page.evaluate(checks), tree: await page.locator("body").ariaSnapshot() };
    await tabTo(page, "act");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Add test money" }).waitFor();
    await page.locator("#offer[aria-busy=false]").waitFor();
    await tabTo(page, "act");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: /^Pay / }).waitFor();
    await page.locator("#offer[aria-busy=false]").waitFor();
    const ready = { faults: await page.evaluate(checks), balance: await text(page, "balance") };
    await picture(page, "ready");
    const account = await text(page, "account");
    await tabTo(page, "act");
    await page.keyboard.press("Enter");
    await visible(page, "receipt");
    const focus = await page.evaluate(() => document.activeElement?.id);
    await picture(page, "paid");
    const seen = async () => ({
      content: await text(page, "content"),
      status: await text(page, "status"),
      receipt: await text(page, "receipt-word"),
    });
    const paid = { ...(await seen()), faults: await page.evaluate(checks) };
    await page.reload();
    await visible(page, "receipt");
    const again = await seen();
    return { headers: response.headers(), status: response.status(), before, ready, account, focus, paid, again };
  },

  /** A hasty hand. */
  async double() {
    const page = await visitor();
    const account = await prepared(page, "/article");
    const pay = page.locator("#act");
    await pay.dblclick();
    await pay.evaluate((button) => [1, 2, 3].forEach(() => button.click()));
    await visible(page, "receipt");
    return { account };
  },

  /** Two windows on the same address at the same time. */
  async windows() {
    const page = await visitor();
    const account = await prepared(page, "/article");
    const other = await page.context().newPage();
    await other.goto(`${origin}/article`);
    await other.getByRole("button", { name: /^Pay / }).waitFor();
    await other.locator("#offer[aria-busy=false]").waitFor();
    await Promise.all([page.locator("#act").click(), other.locator("#act").click()]);
    await Promise.all([visible(page, "receipt"), visible(other, "receipt")]);
    return { account, contents: [await text(page, "content"), await text(other, "content")] };
  },

  /** The line goes dead while the payment is on its way. */
  async line() {
    const page = await visitor();
    const account = await prepared(page, "/article");
    const sent = [];
    page.on("request", (request) => sent.push(request.headers()["payment-signature"]));
    await page.route("**/article", async (route) => {
      await route.fetch();
      await route.abort("connectionreset");
    }, { times: 1 });
    await page.locator("#act").click();
    await page.getByText("It is not certain yet").waitFor();
    await page.getByRole("button", { name: "Try now" }).click();
    await visible(page, "receipt");
    const payments = new Set(sent.filter(Boolean));
    return { account, content: await text(page, "content"), payments: payments.size };
  },

  /** Somebody in between hides every answer to a payment: the ledger says that it was given back. */
  async masked() {
    const page = await visitor();
    const account = await prepared(page, "/masked");
    await page.locator("#act").click();
    await page.getByText("It is not certain yet").waitFor();
    await page.locator("#alert").getByText("given back").waitFor();
    await page.getByRole("button", { name: /^Pay / }).waitFor();
    return { account };
  },

  /** Two prices to choose from, one of them in money that this wallet does not have. */
  async choice() {
    const page = await visitor();
    await page.goto(`${origin}/either`);
    await pressed(page, "Set up a wallet");
    await page.locator("#offer[aria-busy=false]").waitFor();
    const prices = await page.getByRole("radio").count();
    await page.getByRole("radio", { name: "0.02 USD" }).check();
    await page.getByText("Your balance is below the price").waitFor();
    const poor = { price: await text(page, "price"), test: await page.locator("#test-money").isVisible() };
    const faults = await page.evaluate(checks);
    await page.getByRole("radio", { name: "0.01 XTS" }).check();
    await pressed(page, "Add test money");
    await page.getByRole("button", { name: "Pay 0.01 XTS" }).click();
    await visible(page, "receipt");
    return { account: await text(page, "account"), prices, poor, faults };
  },

  /** Whoever waits too long is not sold at an old price. */
  async late() {
    const page = await visitor();
    await page.clock.install();
    const account = await prepared(page, "/article");
    await page.clock.fastForward("14:30");
    await page.getByText("This offer has run out").waitFor();
    const act = await text(page, "act");
    return { account, act, remaining: await text(page, "remaining") };
  },

  /** A refusal that has no price. */
  async notice() {
    const page = await visitor({ locale: "zh-TW", extraHTTPHeaders: { "sign-in-with-x": "!" } });
    await page.goto(`${origin}/pass`);
    await picture(page, "notice");
    return { heading: await text(page, "what"), faults: await page.evaluate(checks) };
  },

  /** The answer to the payment is lost, and the page is opened again while nobody knows. */
  async unknown() {
    const page = await visitor();
    const account = await prepared(page, "/flaky");
    await page.locator("#act").click();
    await page.getByText("It is not certain yet").waitFor();
    const during = { act: await page.locator("#act").isVisible(), more: await text(page, "more") };
    await page.reload();
    await visible(page, "receipt");
    return { account, during, content: await text(page, "content") };
  },

  /** Paying again is asked about. */
  async anew() {
    const page = await visitor();
    const account = await prepared(page, "/article");
    await page.locator("#act").click();
    await visible(page, "receipt");
    await page.locator("#anew").click();
    const asked = await text(page, "sure-text");
    await page.keyboard.press("Escape");
    await page.locator("#offer[aria-busy=false]").waitFor();
    await page.locator("#anew").click();
    const focus = await page.evaluate(() => document.activeElement?.id);
    await picture(page, "twice");
    await page.locator("#sure-yes").click();
    await page.getByText("run 2").waitFor();
    return { account, asked, focus, content: await text(page, "content") };
  },

  /** Without money, and after the seller's handler failed. */
  async failing() {
    const page = await visitor();
    await page.goto(`${origin}/dear`);
    await pressed(page, "Set up a wallet");
    await pressed(page, "Add test money");
    await page.getByText("1 XTS was added").waitFor();
    await page.locator("#offer[aria-busy=false]").waitFor();
    const poor = { balance: await text(page, "balance"), act: await text(page, "act") };
    await pressed(page, "Add test money");
    await page.locator("#alert").getByText("hour").waitFor();
    const refused = await text(page, "alert");
    await page.goto(`${origin}/broken`);
    await page.getByRole("button", { name: /^Pay / }).click();
    await page.locator("#alert").getByText("given back").waitFor();
    await page.getByRole("button", { name: /^Pay / }).waitFor();
    return { poor, refused, account: await text(page, "account"), balance: await text(page, "balance") };
  },

  /** What is sold is shown as what it is, and does nothing. */
  async kinds() {
    const page = await visitor();
    const account = await prepared(page, "/kinds/json");
    const seen = {};
    for (const kind of ["json", "html", "png", "binary"]) {
      await page.goto(`${origin}/kinds/${kind}`);
      await page.getByRole("button", { name: /^Pay / }).click();
      await visible(page, "receipt");
      await page.waitForTimeout(50);
      const shown = page.locator("#content > *");
      seen[kind] = {
        element: await shown.evaluate((element) => element.tagName),
        text: await text(page, "content"),
        sandbox: await shown.getAttribute("sandbox"),
        width: await shown.evaluate((element) => element.naturalWidth ?? 0),
        receipt: await text(page, "receipt-word"),
      };
    }
    const hacked = await page.evaluate(() => globalThis.hacked ?? "no");
    return { account, seen, hacked };
  },

  /** Events that are paid for one by one. */
  async events() {
    const page = await visitor();
    const account = await prepared(page, "/events");
    const per = await text(page, "per");
    await page.locator("#act").click();
    await visible(page, "receipt");
    const [content, receipt] = [await text(page, "content"), await text(page, "receipt-facts")];
    await page.reload();
    await page.getByText("no longer keeps the answer").waitFor();
    return { account, per, content, receipt, act: await text(page, "act") };
  },

  /** A seller's words that want to be more than words. */
  async hostile() {
    const page = await visitor();
    await page.goto(`${origin}/hostile/%3Cscript%3Ehacked=1%3C/script%3E?q="'<img src=x onerror=hacked=1>`);
    await page.getByRole("button", { name: "Set up a wallet" }).waitFor();
    const heading = await text(page, "what");
    const hacked = await page.evaluate(() => [globalThis.hacked ?? "no", document.querySelectorAll("img").length]);
    await prepared(page, "/hostile/%3Cb%3E");
    await page.locator("#act").click();
    await visible(page, "receipt");
    return { heading, hacked, content: await text(page, "content") };
  },

  /** A pass: after paying, the page itself. */
  async pass() {
    const page = await visitor();
    const account = await prepared(page, "/pass");
    await page.locator("#act").click();
    await page.waitForFunction(() => document.body.textContent.startsWith("for the holder"));
    await page.reload();
    const content = await page.locator("body").textContent();
    // The session is over, and the answer to the payment forgotten: the wallet's key opens the page again.
    await page.context().clearCookies();
    await page.evaluate(() => sessionStorage.clear());
    await page.reload();
    await page.waitForFunction(() => document.body.textContent.startsWith("for the holder"));
    // Where cookies are not kept, the page shows what the pass opens.
    await page.route("**/pass", async (route) => {
      const response = await route.fetch({ maxRedirects: 0 });
      const headers = Object.fromEntries(Object.entries(response.headers()).filter(([name]) => name !== "set-cookie"));
      await page.context().clearCookies();
      await route.fulfill({ response, headers });
    });
    await page.context().clearCookies();
    await page.evaluate(() => sessionStorage.clear());
    await page.reload();
    await visible(page, "bought");
    const frame = await page.locator("#content iframe").contentFrame().locator("body").textContent();
    return { account, content, frame };
  },

  /** In Chinese, on a telephone, in the dark. */
  async looks() {
    const page = await visitor({ locale: "zh-TW" });
    await page.goto(`${origin}/article`);
    await page.locator("#act").waitFor();
    await picture(page, "zh-TW");
    const chinese = {
      lang: await page.evaluate(() => document.documentElement.lang),
      act: await text(page, "act"),
      faults: await page.evaluate(checks),
    };
    const narrow = await visitor({ viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true });
    await prepared(narrow, "/article");
    await picture(narrow, "narrow");
    const overflow = await narrow.evaluate(() => document.documentElement.scrollWidth - 360);
    await narrow.locator("#act").click();
    await visible(narrow, "receipt");
    await picture(narrow, "narrow-paid");
    await narrow.locator("summary").click();
    await picture(narrow, "offers");
    const dark = await visitor({ colorScheme: "dark", reducedMotion: "reduce" });
    await prepared(dark, "/article");
    await picture(dark, "dark");
    const faults = [...(await narrow.evaluate(checks)), ...(await dark.evaluate(checks))];
    const japanese = await visitor({ locale: "ja-JP" });
    await japanese.goto(`${origin}/article`);
    await japanese.locator("#act").waitFor();
    return { chinese, overflow, faults, japanese: await text(japanese, "act") };
  },

  /** Where this browser cannot pay. */
  async cannot() {
    const page = await visitor();
    await page.addInitScript(() => {
      crypto.subtle.generateKey = async () => {
        throw new DOMException("Ed25519", "NotSupportedError");
      };
    });
    await page.goto(`${origin}/article`);
    await page.getByText("cannot sign payments here").waitFor();
    const unable = { act: await page.locator("#act").isVisible(), command: await text(page, "command") };
    const script = await visitor({ javaScriptEnabled: false });
    await script.goto(`${origin}/article`);
    return { unable, still: await script.locator("noscript").innerText(), price: await text(script, "price") };
  },
};

try {
  const seen = await visits[visit]();
  console.log(JSON.stringify({ ...seen, complaints }));
} finally {
  await browser.close();
}
