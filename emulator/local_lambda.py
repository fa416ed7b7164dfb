"""A local Lambda with a Function URL, as one object for tests, tools and the commands.

    function = Function.of_bundle(pathlib.Path("build/lambda"), python=..., environment={...}, timeout=5)
    with LocalLambda(function) as local:
        path, kind = "/v1/chat/completions", {"content-type": "application/json"}
        httpx.post(local.url + path, content=body, headers=local.sign("POST", path, body=body, headers=kind))

`LocalLambda(function)` runs any `Function`: another command, other limits, `idle=Idle.AWAKE`. Inside the block:
  url, port           where the Function URL listens
  api_url             where the REST API listens, when LocalLambda got an Api; api_counters() what it counted
  edge_url            where the distribution listens, when LocalLambda got an Edge; requests are signed for `url`
  identities, sign()  who may call; an IAM user and a role session unless others are given; the first one signs
  invoke_url          Lambda's Invoke and InvokeWithResponseStream, for the identities in `direct_invokers=`
  logs                LogSink: lines(), text(), wait_for(...): the processes' output and the platform's lines
  pids(), calls()     the processes that live now, and what each called on its Runtime API, in order
  counters()          what the door and the pool of environments counted; init_seconds(): process start to first `/next`
  warm(n)             have n processes waiting, as provisioned concurrency would
  refuse_next_response(...)   a fault of the Runtime API, for every process that lives now
`disconnects=Disconnects.TOLD` makes a leaving caller visible to the function, which Lambda never does.
`runtime.standalone.RuntimeApiOnly` is the Runtime API alone.

Everything runs in one thread with its own event loop; all methods here are for other threads.
"""

from __future__ import annotations

import datetime
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

from emulator.front.cloudfront import Edge, EdgeDoor
from emulator.front.delivery import Disconnects
from emulator.front.function_url import FunctionUrl
from emulator.front.invoke_api import InvokeApi
from emulator.front.rest_api import Api, RestApi
from emulator.processes.log import LogSink
from emulator.processes.loop_thread import LoopThread
from emulator.runtime.environment_pool import EnvironmentPool
from emulator.runtime.function import Function
from emulator.runtime.response_body import EarlyRefusal
from emulator.signing.identities import Identity, local_role_session, local_user
from emulator.signing.signature import Verifier

T = TypeVar("T")


class LocalLambda:
    def __init__(
        self,
        function: Function,
        *,
        port: int = 0,
        identities: Sequence[Identity] = (),
        direct_invokers: Sequence[Identity] = (),
        disconnects: Disconnects = Disconnects.HIDDEN,
        edge: Edge | None = None,
        api: Api | None = None,
        logs: LogSink | None = None,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self.function = function
        self.identities = tuple(identities) or (local_user(), local_role_session())
        self.logs = logs or LogSink()
        self._wanted_port = port
        self._direct_invokers = tuple(direct_invokers)
        self._disconnects = disconnects
        self._edge = edge
        self._api = api
        self._rest_api: RestApi | None = None
        self._keys_pool: EnvironmentPool | None = None
        self._edge_door: EdgeDoor | None = None
        self._invoke_api: InvokeApi | None = None
        self._clock = clock

    def __enter__(self) -> Self:
        self._home = tempfile.TemporaryDirectory(prefix="local-lambda-home-")
        self._loop = LoopThread()
        try:
            self._loop.run(self._start())
        except BaseException:  # Ctrl-C, too: neither thread nor processes may stay
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._stop())
        self._end()

    @property
    def port(self) -> int:
        return self._door.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def invoke_url(self) -> str:
        """Lambda's own API (Invoke, InvokeWithResponseStream), for `direct_invokers`: boto3's endpoint_url."""
        if self._invoke_api is None:
            raise LookupError("there is no Invoke API without direct_invokers")
        return f"http://127.0.0.1:{self._invoke_api.port}"

    @property
    def edge_url(self) -> str:
        """Empty without an edge."""
        return f"http://127.0.0.1:{self._edge_door.port}" if self._edge_door else ""

    @property
    def api_url(self) -> str:
        """Where the REST API listens, "" without one: OPENAI_BASE_URL is this and /v1 for keys, /sso/v1 for tokens."""
        return f"http://127.0.0.1:{self._rest_api.port}" if self._rest_api else ""

    @property
    def region(self) -> str:
        return self.function.region

    def sign(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        identity: Identity | None = None,
    ) -> dict[str, str]:
        signer = identity or self.identities[0]
        return signer.sign(method, self.url + path, region=self.region, body=body, headers=headers)

    def pids(self) -> list[int]:
        return self._loop.call(lambda: [one.pid for one in self._pool.environments])

    def calls(self) -> dict[int, list[str]]:
        return self._loop.call(lambda: {one.pid: list(one.api.calls) for one in self._pool.environments})

    def counters(self) -> dict[str, int]:
        return self._loop.call(lambda: {**self._door.counters, "cold starts": self._pool.cold_starts})

    def api_counters(self) -> dict[str, int]:
        """What the REST API counted: invocations, refusals by type, what the authorizer was asked."""
        api = self._rest_api
        return self._loop.call(lambda: dict(api.counters)) if api else {}

    def init_seconds(self) -> list[float]:
        """Process start to first `/next`, for each process that got there."""
        return self._loop.call(lambda: list(self._pool.init_seconds))

    def warm(self, count: int) -> None:
        self._loop.run(self._pool.warm(count))

    def refuse_next_response(self, refusal: EarlyRefusal) -> None:
        """Every process that lives now refuses its next response."""

        def tell() -> None:
            for environment in self._pool.environments:
                environment.api.refuse_next_response(refusal)

        self._loop.call(tell)

    async def _start(self) -> None:
        self._pool = EnvironmentPool(self.function, self.logs, pathlib.Path(self._home.name))
        verifier = Verifier(self.identities, self.function.region)
        self._door = FunctionUrl(self._pool, verifier, self.logs, disconnects=self._disconnects, clock=self._clock)
        await self._door.start(self._wanted_port)
        if self._direct_invokers:
            self._invoke_api = InvokeApi(self._pool, verifier, invokers=self._direct_invokers, clock=self._clock)
            await self._invoke_api.start()
        if self._api is not None:
            await self._start_api(self._api)
        if self._edge is not None:
            self._edge_door = EdgeDoor(self._edge, self.url)
            await self._edge_door.start(0)

    async def _start_api(self, api: Api) -> None:
        if api.key_function is not None:
            self._keys_pool = EnvironmentPool(api.key_function, self.logs, pathlib.Path(self._home.name))
        self._rest_api = RestApi(
            api, self._pool, self._keys_pool, self.logs, disconnects=self._disconnects, clock=self._clock
        )
        await self._rest_api.start()

    async def _stop(self) -> None:
        if self._edge_door is not None:
            await self._edge_door.close()
        await self._pool.close()
        await self._door.close()
        if self._rest_api is not None:
            await self._rest_api.close()
        if self._keys_pool is not None:
            await self._keys_pool.close()
        if self._invoke_api is not None:
            await self._invoke_api.close()

    def _end(self) -> None:
        self._loop.close()
        self._home.cleanup()
