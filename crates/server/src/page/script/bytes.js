// Bytes: texts and numbers as they are signed and sent.

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

function unhex(text, length) {
  if (typeof text !== "string" || text.length !== 2 * length || !/^[0-9a-f]*$/.test(text)) {
    throw new Error("an offer has a member that is not hex");
  }
  return Uint8Array.from({ length }, (_, at) => parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const unbase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const utf8 = (text) => new TextEncoder().encode(text);
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
const random = (length) => crypto.getRandomValues(new Uint8Array(length));

/** Whole numbers, big-endian, in so many bytes. */
function number(value, length) {
  const bytes = new Uint8Array(length);
  let rest = BigInt(value);
  for (let at = length - 1; at >= 0; at--, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  if (rest !== 0n) throw new Error("an offer has a number that is too large");
  return bytes;
}

/** Bytes of any number, behind their length. */
const counted = (bytes) => [number(bytes.length, 4), bytes];

/** A canonical layout of version 1: a domain, the version, and fields one behind the other. */
function layout(domain, ...fields) {
  const parts = [Uint8Array.of(domain.length), utf8(domain), Uint8Array.of(1), ...fields.flat()];
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
