"""The reference facilitator: both versions, both schemes, over HTTP."""

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from x402 import x402Facilitator
from x402.mechanisms.evm import FacilitatorWeb3Signer
from x402.mechanisms.evm.exact import register_exact_evm_facilitator
from x402.mechanisms.evm.upto import UptoEvmFacilitatorScheme
from x402.schemas import parse_payment_payload, parse_payment_requirements

from ready import serve, setting

NETWORK = setting("NETWORK")
signer = FacilitatorWeb3Signer(private_key=setting("KEY"), rpc_url=setting("RPC"))
facilitator = register_exact_evm_facilitator(x402Facilitator(), signer, networks=NETWORK)
facilitator.register([NETWORK], UptoEvmFacilitatorScheme(signer))
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
