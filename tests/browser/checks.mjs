// What a page owes to people who do not see it as its author did. Runs inside of the page; returns what is wrong.

export function checks() {
  const faults = [];
  const shown = (element) => element.checkVisibility() && !element.closest("[hidden]");
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const one = (what, found) => found.length === 1 || faults.push(`${found.length} of ${what}`);

  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title) faults.push("no title");
  one("main", all("main"));
  one("header", all("body > header"));
  one("h1", all("h1"));
  const live = document.querySelector("[role=status]") && document.querySelector("[role=alert]");
  if (document.getElementById("act") && !live) faults.push("no live region");

  const name = (element) =>
    (element.getAttribute("aria-labelledby") ?? "")
      .split(" ")
      .map((id) => document.getElementById(id)?.textContent ?? "")
      .join(" ")
      .trim() ||
    element.getAttribute("aria-label") ||
    element.title ||
    element.alt ||
    element.labels?.[0]?.textContent ||
    element.textContent.trim();
  for (const element of all("button, a, input, summary, iframe, img, section, article, dialog")) {
    if (!name(element)) faults.push(`no name: ${element.outerHTML.slice(0, 80)}`);
  }
  for (const element of all("button, summary, .actions a")) {
    const { width, height } = element.getBoundingClientRect();
    if (width < 24 || height < 24) faults.push(`small: ${element.id} ${width} x ${height}`);
  }
  for (const element of document.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
    for (const attribute of ["aria-labelledby", "aria-describedby"]) {
      const id = element.getAttribute(attribute);
      if (id && !document.getElementById(id)) faults.push(`${attribute}=${id}`);
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size !== ids.length) faults.push("an id stands twice");

  // Contrast, by the formula of WCAG 2.
  const channels = (color) => (color.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const luminance = ([red, green, blue]) => {
    const linear = [red, green, blue].map((channel) => channel / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const element = words.currentNode.parentElement;
    if (!words.currentNode.textContent.trim() || !shown(element) || element.closest("script, style, noscript")) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const [light, dark] = [luminance(channels(style.color)), luminance(ground(element))].sort((one, two) => two - one);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < (large ? 3 : 4.5)) faults.push(`contrast ${contrast.toFixed(2)}: ${words.currentNode.textContent.trim()}`);
  }
  return faults;
}
