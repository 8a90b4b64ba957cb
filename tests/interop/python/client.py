"""The reference client for httpx, in both versions. It takes jobs `{key, url}` from the runner."""

from eth_account import Account
from fastapi import FastAPI
from x402 import x402Client
from x402.http import decode_payment_required_header, decode_payment_response_header
from x402.http.clients import wrapHttpxWithPayment
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSignerWithRPC
from x402.mechanisms.evm.upto import UptoEvmClientScheme

from ready import serve, setting

NETWORK = setting("NETWORK")
app = FastAPI()


@app.post("/")
async def pay(job: dict) -> dict:
    account = EthAccountSignerWithRPC(Account.from_key(job["key"]), setting("RPC"))
    client = register_exact_evm_client(x402Client(), account, networks=NETWORK)
    client.register(NETWORK, UptoEvmClientScheme(account)).set_spend_controls(False)
    try:
        async with wrapHttpxWithPayment(client, timeout=60) as http:
            response = await http.get(job["url"])
    except Exception as error:
        return {"error": str(error)}
    answer = {"status": response.status_code, "body": response.text}
    if terms := response.headers.get("PAYMENT-REQUIRED"):
        answer["reason"] = decode_payment_required_header(terms).error
    elif response.status_code == 402:
        answer["reason"] = response.json().get("error")
    for header in ("PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE"):
        if value := response.headers.get(header):
            settlement = decode_payment_response_header(value)
            answer |= {"header": header, "settlement": settlement.model_dump(by_alias=True, exclude_none=True)}
            break
    return answer


serve(app)
