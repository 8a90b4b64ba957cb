// The reference facilitator: both versions, both schemes, over HTTP.
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { registerExactEvmScheme } from "@x402/evm/exact/facilitator";
import { UptoEvmScheme } from "@x402/evm/upto/facilitator";
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
const facilitator = new x402Facilitator();
registerExactEvmScheme(facilitator, { signer, networks: network });
facilitator.register(network, new UptoEvmScheme(signer));

serveJson({
  "GET /supported": () => facilitator.getSupported(),
  "POST /verify": ({ paymentPayload, paymentRequirements }) =>
    facilitator.verify(paymentPayload, paymentRequirements),
  "POST /settle": ({ paymentPayload, paymentRequirements }) =>
    facilitator.settle(paymentPayload, paymentRequirements),
});
