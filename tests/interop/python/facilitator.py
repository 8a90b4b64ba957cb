"""The reference facilitator: both versions, both schemes, over HTTP."""

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from web3 import Web3
from x402 import x402Facilitator
from x402.extensions.eip2612_gas_sponsoring import EIP2612_GAS_SPONSORING
from x402.extensions.erc20_approval_gas_sponsoring import Erc20ApprovalFacilitatorExtension
from x402.mechanisms.evm import FacilitatorWeb3Signer
from x402.mechanisms.evm.exact import register_exact_evm_facilitator
from x402.mechanisms.evm.upto import UptoEvmFacilitatorScheme
from x402.schemas import parse_payment_payload, parse_payment_requirements

from ready import serve, setting

NETWORK = setting("NETWORK")


class Signer(FacilitatorWeb3Signer):
    """Sends a client's own approval as it is, and the facilitator's call after it."""

    def send_transactions(self, requests: list) -> list:
        chain = Web3(Web3.HTTPProvider(setting("RPC")))
        hashes = []
        for request in requests:
            if isinstance(request, str):
                sent = chain.eth.send_raw_transaction(request).to_0x_hex()
            else:
                sent = self.write_contract(
                    request.address, request.abi, request.function, *request.args, data_suffix=request.data_suffix
                )
            self.wait_for_transaction_receipt(sent)
            hashes.append(sent)
        return hashes


signer = Signer(private_key=setting("KEY"), rpc_url=setting("RPC"))
facilitator = register_exact_evm_facilitator(x402Facilitator(), signer, networks=NETWORK)
facilitator.register([NETWORK], UptoEvmFacilitatorScheme(signer))
facilitator.register_extension(EIP2612_GAS_SPONSORING)
facilitator.register_extension(Erc20ApprovalFacilitatorExtension(signer))
app = FastAPI()


def read(body: dict) -> tuple:
    payment = parse_payment_payload(body["paymentPayload"])
    return payment, parse_payment_requirements(payment.x402_version, body["paymentRequirements"])


def written(answer) -> JSONResponse:
    return JSONResponse(answer.model_dump(mode="json", by_alias=True, exclude_none=True))


@app.get("/supported")
async def supported() -> JSONResponse:
    return written(facilitator.get_supported())


@app.post("/verify")
async def verify(body: dict) -> JSONResponse:
    return written(await facilitator.verify(*read(body)))


@app.post("/settle")
async def settle(body: dict) -> JSONResponse:
    return written(await facilitator.settle(*read(body)))


serve(app)
