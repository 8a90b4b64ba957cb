// The reference facilitator: both versions, both schemes, over HTTP.
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { registerExactEvmScheme } from "@x402/evm/exact/facilitator";
import { UptoEvmScheme } from "@x402/evm/upto/facilitator";
import { EIP2612_GAS_SPONSORING, createErc20ApprovalGasSponsoringExtension } from "@x402/extensions";
import { createWalletClient, http, nonceManager, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";
import { serveJson, setting } from "./ready.mjs";

const network = setting("NETWORK");
const account = privateKeyToAccount(setting("KEY"), { nonceManager });
const transport = http(setting("RPC"));
const chain = createWalletClient({ account, chain: baseSepolia, transport, pollingInterval: 50 }).extend(publicActions);
const signer = toFacilitatorEvmSigner({
  address: account.address,
  readContract: (call) => chain.readContract({ ...call, args: call.args ?? [] }),
  verifyTypedData: (signed) => chain.verifyTypedData(signed),
  writeContract: (call) => chain.writeContract({ ...call, args: call.args ?? [] }),
  sendTransaction: (transaction) => chain.sendTransaction(transaction),
  waitForTransactionReceipt: (wait) => chain.waitForTransactionReceipt(wait),
  getCode: (of) => chain.getCode(of),
});
/** A client's own approval as it is, and the facilitator's call after it. */
async function sendTransactions(requests) {
  const hashes = [];
  for (const request of requests) {
    const hash =
      typeof request === "string"
        ? await chain.sendRawTransaction({ serializedTransaction: request })
        : await chain.sendTransaction(request);
    await chain.waitForTransactionReceipt({ hash });
    hashes.push(hash);
  }
  return hashes;
}

const facilitator = new x402Facilitator()
  .registerExtension(EIP2612_GAS_SPONSORING)
  .registerExtension(createErc20ApprovalGasSponsoringExtension({ ...signer, sendTransactions }));
registerExactEvmScheme(facilitator, { signer, networks: network });
facilitator.register(network, new UptoEvmScheme(signer));

serveJson({
  "GET /supported": () => facilitator.getSupported(),
  "POST /verify": ({ paymentPayload, paymentRequirements }) =>
    facilitator.verify(paymentPayload, paymentRequirements),
  "POST /settle": ({ paymentPayload, paymentRequirements }) =>
    facilitator.settle(paymentPayload, paymentRequirements),
});
