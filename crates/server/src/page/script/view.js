// What is on the screen. Texts of others are only ever set as text.

const page = JSON.parse(document.getElementById("farthing").textContent);
const $ = (id) => document.getElementById(id);
const show = (id, visible = true) => void ($(id).hidden = !visible);

/** A text of the catalogue, with its words filled in. */
const say = (key, words = {}) => page.words[key].replace(/\{(\w+)\}/g, (_, word) => words[word] ?? "");
const told = (text) => void ($("status").textContent = text);
const warn = (text) => void ($("alert").textContent = text);
const dated = (time) => new Date(time).toLocaleString(page.lang, { dateStyle: "medium", timeStyle: "short" });

/** Atomic units in whole ones. */
function decimal(amount, scale) {
  const digits = String(amount).padStart(scale + 1, "0");
  const fraction = digits.slice(digits.length - scale).replace(/0+$/, "");
  return digits.slice(0, digits.length - scale) + (scale && fraction ? `.${fraction}` : "");
}

const unitOf = (offer) => page.units.find((unit) => unit.network === offer.network && unit.asset === offer.asset);

/** An amount of what an offer asks for, for people. */
function money(offer, amount) {
  const unit = unitOf(offer);
  return unit ? `${decimal(amount, unit.scale)} ${unit.currency}` : `${amount} ${offer.asset}`;
}

const priceOf = (offer) => money(offer, offer.amount);

/** Gives a button its text and its task; without a task it goes away. */
function button(id, text, task) {
  $(id).hidden = !task;
  if (!task) return;
  $(id).textContent = text;
  $(id).onclick = () => void once(task);
}

let running = false;

/** Runs one task at a time: what is pressed meanwhile is not heard. */
async function once(task) {
  if (running) return;
  running = true;
  busy(true);
  warn("");
  try {
    await task();
  } catch (error) {
    told("");
    warn(say("failed", { why: error.message }));
  } finally {
    running = false;
    busy(false);
  }
}

// `disabled` would take the focus away from whoever pressed.
function busy(is) {
  $("offer").setAttribute("aria-busy", is);
  for (const id of ["act", "more", "anew"]) $(id).setAttribute("aria-disabled", is);
}

/** Waits for so many seconds, or until somebody presses. The countdown is on the button, and not read aloud. */
function pause(seconds) {
  return new Promise((done) => {
    const end = Date.now() + seconds * 1000;
    const tell = (left) => void ($("more").textContent = say("try_now", { seconds: left }));
    const tick = setInterval(() => (Date.now() >= end ? finish() : tell(Math.ceil((end - Date.now()) / 1000))), 1000);
    const finish = () => {
      clearInterval(tick);
      if (document.activeElement === $("more")) $("status").focus();
      show("more", false);
      done();
    };
    tell(seconds);
    $("more").setAttribute("aria-disabled", false);
    $("more").onclick = finish;
    show("more");
  });
}

function facts(id, entries) {
  const rows = entries.map(([name, value]) => {
    const [row, dt, dd] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    [dt.textContent, dd.textContent] = [name, value];
    if (/^[0-9a-f]{64}$/.test(value)) dd.className = "short code";
    row.append(dt, dd);
    return row;
  });
  $(id).replaceChildren(...rows);
}

function link(id, blob, name) {
  Object.assign($(id), { href: URL.createObjectURL(blob), download: name });
}

const IMAGES = /^image\/(png|jpeg|gif|webp|avif|bmp|svg\+xml)$/;

/** Shows what was bought, so that nothing of it can act on this page. */
function showContent(kind, body) {
  const type = kind.split(";")[0].trim().toLowerCase();
  const blob = new Blob([body], { type: "application/octet-stream" });
  let element;
  if (IMAGES.test(type)) {
    element = document.createElement("img");
    element.src = URL.createObjectURL(new Blob([body], { type }));
    element.alt = $("what").textContent;
  } else if (type === "text/html" || type === "application/xhtml+xml") {
    element = document.createElement("iframe");
    element.setAttribute("sandbox", "");
    element.title = say("content");
    element.srcdoc = decoded(kind, body);
  } else if (/^text\/|[/+](json|xml)$/.test(type)) {
    element = document.createElement("pre");
    element.tabIndex = 0;
    element.className = /^text\/(plain|markdown)$/.test(type) ? "prose" : "";
    element.textContent = decoded(kind, body);
  } else {
    element = document.createElement("p");
    element.textContent = say("binary", { kind: type || "?", bytes: body.length });
  }
  $("content").replaceChildren(element);
  link("save", blob, location.pathname.split("/").pop() || "content");
}

const whole = async (response) => new Uint8Array(await response.arrayBuffer());

/** Shows events as they come, and returns all of them. */
async function showStream(response) {
  const [lines, decoder, pieces] = [document.createElement("pre"), new TextDecoder(), []];
  lines.tabIndex = 0;
  $("content").replaceChildren(lines);
  const reader = response.body.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    pieces.push(next.value);
    lines.append(decoder.decode(next.value, { stream: true }));
  }
  const blob = new Blob(pieces);
  link("save", blob, "events.txt");
  return new Uint8Array(await blob.arrayBuffer());
}

function decoded(kind, body) {
  const charset = /charset=\x22?([\w-]+)/i.exec(kind)?.[1] ?? "utf-8";
  try {
    return new TextDecoder(charset).decode(body);
  } catch {
    return new TextDecoder().decode(body);
  }
}
