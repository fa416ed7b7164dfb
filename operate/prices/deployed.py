"""The prices of a deployment: the list in the code of its function, with the environment's own models over it.

With --table there is no function to ask; then it is the list of this checkout.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path

import httpx
from botocore.exceptions import ClientError
from relay.pricing import prices
from relay.pricing.prices import PriceList, PriceListError

from operate.aws import Account, OperatorError, expected, region_of, told

MEMBER = "relay/pricing/prices.json"
MOST_BYTES = 64 * 1024 * 1024
"""Of the downloaded code: some thirty times what the bundle has."""


def of(options: argparse.Namespace) -> tuple[PriceList, str]:
    """The list that `options` name, and where it is from. Raises OperatorError."""
    if options.table:
        text = Path(prices.__file__).with_name("prices.json").read_text(encoding="utf-8")
        return prices.parse(text), "this checkout"
    account = Account(profile=options.profile, region=options.region or region_of(options.env))
    name = account.output_of(options.env, "FunctionName")
    client = account.client("lambda")
    try:
        function = expected(lambda: client.get_function(FunctionName=name))
        settings = function["Configuration"].get("Environment", {}).get("Variables", {})
        listed = prices.parse(_file_of(function["Code"]["Location"])).replaced_by(
            prices.parse(settings.get("PRICES", ""))
        )
        return listed.at_host(settings.get("OPENAI_BASE_URL", "")), name
    except (ClientError, httpx.HTTPError, zipfile.BadZipFile, KeyError, PriceListError) as error:
        reason = told(error) if isinstance(error, ClientError) else repr(error)
        raise OperatorError(
            f"the price list of the function {name} cannot be read ({reason}): it takes lambda:GetFunction; --table shows "
            "the list of this checkout"
        ) from None


def _file_of(url: str) -> str:
    with httpx.Client(timeout=30) as client, client.stream("GET", url) as response:
        response.raise_for_status()
        code = bytearray()
        for data in response.iter_bytes():
            code += data
            if len(code) > MOST_BYTES:
                raise OperatorError(
                    f"the function's code has more than {MOST_BYTES:,} bytes: it is not the relay's bundle"
                )
    with zipfile.ZipFile(io.BytesIO(code)) as archive:
        return archive.read(MEMBER).decode()
