"""What the spend watch does, as a state machine in Amazon States Language with JSONata. Pure: no construct, no AWS.

Reads what callers have been booked on the running UTC day from the table in which the relay keeps it, page by page, so that
all that is booked counts: reservations that ran out, what an operator corrected, what is still open at its upper bound. The
names in the table are the relay's (`lambda_src/relay/ledger/items.py`); a test fills a table with the one and reads it with
the other.
docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PICO = 10**12
"""Of these the table has one US dollar."""

# Callers of which one call reads the accounts: BatchGetItem's most.
PAGE = 100

State = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Names and ARNs, which may be the CDK's tokens; `limit_usd` None: nothing is ever stopped."""

    partition: str
    table: str
    function: str
    namespace: str
    limit_usd: int | None
    # The function's concurrency when it is let go on; None: no reservation.
    concurrency: int | None


def definition(watched: Watched) -> State:
    """The whole machine. Its input is anything; {"resume": true} lets the relay go on, {"drill": true} stops it whatever was
    spent. Its output says what was found."""
    states = {**_reading(watched), **_judging(watched), **_telling(watched)}
    return {
        "Comment": "Adds up what was booked today (UTC) and stops the relay at the day's limit",
        "QueryLanguage": "JSONata",
        "StartAt": "Begin",
        "TimeoutSeconds": 240,
        "States": states,
    }


def _reading(watched: Watched) -> dict[str, State]:
    return {
        "Begin": {
            "Type": "Pass",
            "Assign": {
                "day": "{% $substring($states.context.Execution.StartTime, 0, 10) %}",
                "resume": "{% $states.input.resume = true %}",
                "drill": "{% $states.input.drill = true %}",
                "table": watched.table,
                "spent": 0,
                "allowed": 0,
                "stopped": False,
                "start": {},
            },
            "Next": "Callers",
        },
        "Callers": _page_of_callers(watched, {}),
        "MoreCallers": _page_of_callers(watched, {"ExclusiveStartKey": "{% $start %}"}),
        "Page": _choice(
            [("{% $count($page) > 0 %}", "Accounts"), ("{% $exists($start.sk) %}", "MoreCallers")], "Resumed"
        ),
        "Accounts": _task(
            watched,
            "dynamodb:batchGetItem",
            {
                "RequestItems": "{% {$table: {'Keys': $page, 'ProjectionExpression': '#spent', "
                "'ExpressionAttributeNames': {'#spent': 'd:' & $day & ':usd'}}} %}"
            },
            assign={
                "spent": "{% $spent + $sum([$lookup($states.result.Responses, $table).*.$number(N)]) %}",
                # What DynamoDB was too busy for is asked for again.
                "page": "{% [$lookup($states.result.UnprocessedKeys, $table).Keys] %}",
            },
            next="Page",
        ),
        # What had been booked when somebody let the relay go on, if that was today.
        "Resumed": _task(
            watched,
            "dynamodb:getItem",
            {"TableName": watched.table, "Key": _resumed_key(), "ConsistentRead": True},
            assign={
                "allowed": "{% $states.result.Item.day.S = $day ? $number($states.result.Item.usd.N) : 0 %}",
            },
            next="Judge",
        ),
    }


def _page_of_callers(watched: Watched, more: State) -> State:
    return _task(
        watched,
        "dynamodb:query",
        {
            "TableName": watched.table,
            "KeyConditionExpression": "pk = :callers",
            "ExpressionAttributeValues": {":callers": {"S": "callers"}},
            "ProjectionExpression": "sk",
            "Limit": PAGE,
            **more,
        },
        assign={
            "page": "{% [$states.result.Items.{'pk': {'S': 'caller#' & sk.S}, 'sk': {'S': 'state'}}] %}",
            "start": "{% $exists($states.result.LastEvaluatedKey) ? $states.result.LastEvaluatedKey : {} %}",
        },
        next="Page",
    )


def _judging(watched: Watched) -> dict[str, State]:
    """Stops at the limit, or at as much again as was booked when it was let go on."""
    if watched.limit_usd is None:
        return {"Judge": {"Type": "Pass", "Next": "Tell"}}
    is_over = f"{{% $drill or $spent - $allowed >= {watched.limit_usd * PICO} %}}"
    return {
        "Judge": _choice([("{% $resume %}", "Allow"), (is_over, "Stop")], "Tell"),
        "Stop": _set_concurrency(watched, 0, assign={"stopped": True}, next="Tell"),
        "Allow": _task(
            watched,
            "dynamodb:putItem",
            {
                "TableName": watched.table,
                "Item": {**_resumed_key(), "day": {"S": "{% $day %}"}, "usd": {"N": "{% $string($spent) %}"}},
            },
            next="Resume",
        ),
        "Resume": _set_concurrency(watched, watched.concurrency, next="Tell"),
    }


def _set_concurrency(watched: Watched, concurrency: int | None, *, next: str, assign: State | None = None) -> State:
    function = {"FunctionName": watched.function}
    if concurrency is None:
        return _task(watched, "lambda:deleteFunctionConcurrency", function, next=next, assign=assign)
    arguments = {**function, "ReservedConcurrentExecutions": concurrency}
    return _task(watched, "lambda:putFunctionConcurrency", arguments, next=next, assign=assign)


def _telling(watched: Watched) -> dict[str, State]:
    def metric(name: str, value: str) -> str:
        dimensions = f"[{{'Name': 'function', 'Value': '{watched.function}'}}]"
        when = "'Timestamp': $states.context.Execution.StartTime"
        return f"{{'MetricName': '{name}', 'Dimensions': {dimensions}, {when}, 'Value': {value}}}"

    spend, stops = metric("SpendToday", f"$spent / {PICO}"), metric("Stops", "1")
    data = f"{{% $stopped ? [{spend}, {stops}] : [{spend}] %}}"
    return {
        "Tell": _task(
            watched,
            "cloudwatch:putMetricData",
            {"Namespace": watched.namespace, "MetricData": data},
            output={"day": "{% $day %}", "usd": f"{{% $spent / {PICO} %}}", "stopped": "{% $stopped %}"},
        )
    }


def _resumed_key() -> State:
    return {"pk": {"S": "switch"}, "sk": {"S": "spend"}}


def _task(
    watched: Watched,
    action: str,
    arguments: State,
    *,
    assign: State | None = None,
    output: State | None = None,
    next: str | None = None,
) -> State:
    """One call of AWS's API, tried again for a minute: throttling and the like pass."""
    return {
        "Type": "Task",
        "Resource": f"arn:{watched.partition}:states:::aws-sdk:{action}",
        "Arguments": arguments,
        **({"Assign": assign} if assign else {}),
        **({"Output": output} if output else {}),
        "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "BackoffRate": 2, "MaxAttempts": 4}],
        **({"Next": next} if next else {"End": True}),
    }


def _choice(choices: list[tuple[str, str]], default: str) -> State:
    return {
        "Type": "Choice",
        "Choices": [{"Condition": condition, "Next": next} for condition, next in choices],
        "Default": default,
    }
