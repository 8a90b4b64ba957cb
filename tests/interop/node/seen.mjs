// What a client saw: the status, the content, what the server says of the settlement, by the reference's decoder, and
// why it refuses.
import { decodePaymentRequiredHeader } from "@x402/core/http";
import { decodePaymentResponseHeader } from "@x402/fetch";

export async function seen(response) {
  const body = await response.text();
  const answer = { status: response.status, body, reason: reason(response, body) };
  for (const header of ["PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE"]) {
    const value = response.headers.get(header);
    if (value) return { ...answer, header, settlement: decodePaymentResponseHeader(value) };
  }
  return answer;
}

function reason(response, body) {
  const terms = response.headers.get("PAYMENT-REQUIRED");
  if (terms) return decodePaymentRequiredHeader(terms).error;
  try {
    const { error } = JSON.parse(body);
    return typeof error === "string" ? error : undefined;
  } catch {
    return undefined;
  }
}
