"""An account of AWS over HTTP, as far as a deployment asks it: Lambda's settings, CloudFormation's stacks."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

STACK = """<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult><Stacks>
<member><StackName>{}</StackName><StackStatus>{}</StackStatus><CreationTime>2026-11-27T00:00:00Z</CreationTime>
<Outputs><member><OutputKey>FunctionName</OutputKey><OutputValue>relay</OutputValue></member></Outputs></member>
</Stacks></DescribeStacksResult></DescribeStacksResponse>"""
ABSENT = "<ErrorResponse><Error><Code>ValidationError</Code><Message>does not exist</Message></Error></ErrorResponse>"


class Aws:
    """`limits` is the answer of GetAccountSettings, or an error; `stacks` are names and states."""

    def __init__(self) -> None:
        self.limits: dict[str, int] | tuple[int, str] = {}
        self.reserved: int | None = None
        self.stacks: dict[str, str] = {}
        self.asked: list[str] = []
        aws = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                aws.asked.append(self.path)
                if "account-settings" in self.path:
                    self.answer(*aws.settings())
                else:
                    self.answer(200, json.dumps({"ReservedConcurrentExecutions": aws.reserved}))

            def do_POST(self) -> None:
                body = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                self.answer(*aws.cloudformation(body["Action"][0], body["StackName"][0]))

            def answer(self, status: int, text: str) -> None:
                self.send_response(status)
                if status == 403:
                    self.send_header("x-amzn-ErrorType", text)
                    text = json.dumps({"Message": "no"})
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Nothing on the tests' output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def cloudformation(self, action: str, name: str) -> tuple[int, str]:
        if action == "DeleteStack":
            self.stacks.pop(name, None)
            return 200, "<DeleteStackResponse/>"
        return (200, STACK.format(name, self.stacks[name])) if name in self.stacks else (400, ABSENT)

    def settings(self) -> tuple[int, str]:
        if isinstance(self.limits, tuple):
            return self.limits
        return 200, json.dumps({"AccountLimit": self.limits, "AccountUsage": {}})
