// The receipt: the seller's signed word, checked against what was paid and what came.

/** Checks a receipt; says what is wrong, or whether the content could be compared. */
async function checkReceipt(kept, signed, response, body) {
  const bytes = unbase64(signed.receipt);
  if (signed.key !== kept.receiptKey) return { bad: "key" };
  if (!(await isSigned(signed.key, signed.signature, bytes))) return { bad: "signature" };
  const view = new DataView(bytes.buffer);
  const field = (from, length) => hex(bytes.slice(from, from + length));
  const head = layout("farthing/receipt");
  if (bytes.length !== 140 || field(0, head.length) !== hex(head)) return { bad: "layout" };
  const amount = (view.getBigUint64(116) << 64n) | view.getBigUint64(124);
  if (field(18, 32) !== kept.id) return { bad: "payment" };
  if (field(50, 32) !== kept.digest) return { bad: "request" };
  if (view.getUint16(82) !== response.status) return { bad: "status" };
  if (amount > BigInt(kept.amount)) return { bad: "amount" };
  // A browser undoes compression before a page sees what was signed for.
  if (response.headers.has("content-encoding")) return { coded: true, amount };
  if (field(84, 32) !== hex(await sha256(body))) return { bad: "content" };
  return { amount, issued: Number(view.getBigUint64(132)) };
}
