"""A reference server of version 2 on FastAPI: the same routes and prices as the others, paid in each way there is."""

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from x402 import x402ResourceServer
from x402.extensions.eip2612_gas_sponsoring import declare_eip2612_gas_sponsoring_extension
from x402.extensions.erc20_approval_gas_sponsoring import declare_erc20_approval_gas_sponsoring_extension
from x402.http import HTTPFacilitatorClient
from x402.http.middleware.fastapi import payment_middleware, set_settlement_overrides
from x402.mechanisms.evm.exact import ExactEvmServerScheme
from x402.mechanisms.evm.upto import UptoEvmServerScheme

from ready import serve, setting

NETWORK = setting("NETWORK")


def usdc(**extra: str) -> dict:
    token = {"name": setting("TOKEN_NAME"), "version": setting("TOKEN_VERSION")}
    return {"amount": setting("PRICE"), "asset": setting("TOKEN"), "extra": {**token, **extra}}


def route(scheme: str, price: dict, extensions: dict | None = None) -> dict:
    option = {"scheme": scheme, "network": NETWORK, "payTo": setting("PAY_TO"), "price": price}
    return {"accepts": option, "description": "interop", "extensions": extensions}


PERMIT2 = {"assetTransferMethod": "permit2"}
PLAIN = {"amount": setting("PRICE"), "asset": setting("PLAIN"), "extra": PERMIT2}
ROUTES = {
    "/eip3009": route("exact", usdc()),
    "/eip3009/other": route("exact", usdc()),
    "/permit2": route("exact", usdc(**PERMIT2)),
    "/permit2/other": route("exact", usdc(**PERMIT2)),
    "/eip2612": route("exact", usdc(**PERMIT2), declare_eip2612_gas_sponsoring_extension()),
    "/erc20": route("exact", PLAIN, declare_erc20_approval_gas_sponsoring_extension()),
    "/upto": route("upto", usdc()),
    "/upto/other": route("upto", usdc()),
}


def sold(path: str):
    async def handler() -> PlainTextResponse:
        response = PlainTextResponse(f"sold: {path}")
        if path.startswith("/upto"):
            set_settlement_overrides(response, {"amount": setting("USED")})
        return response

    return handler


server = x402ResourceServer(HTTPFacilitatorClient({"url": setting("FACILITATOR")}))
server.register(NETWORK, ExactEvmServerScheme())
server.register(NETWORK, UptoEvmServerScheme())
app = FastAPI()
app.middleware("http")(payment_middleware({f"GET {path}": config for path, config in ROUTES.items()}, server))
for path in ROUTES:
    app.get(path)(sold(path))
serve(app)
