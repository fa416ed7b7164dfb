"""OpenAI's official JavaScript SDK through the whole local chain, with the signing `fetch` of clients/."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from cdk_app.bundle import target_python
from emulator.fakes.raw_upstream import RawUpstream
from emulator.local_lambda import LocalLambda
from emulator.runtime.function import Function
from tests.support.doubles import openai_api
from tests.support.doubles.secrets_manager import SecretsManager

SCRIPT = Path(__file__).parent.parent / "support" / "doubles" / "sdk.mjs"


def test_every_endpoint(bundle: Path) -> None:
    with RawUpstream() as upstream, SecretsManager() as secrets:
        upstream.answer_with(openai_api.answer)
        environment = {
            "OPENAI_BASE_URL": upstream.url,
            "OPENAI_SECRET_ARN": "openai",
            "AWS_ENDPOINT_URL": secrets.url,
            "REQUEST_POLICY": json.dumps({"models": ["gpt-5", "tts-1", "omni-moderation-latest"]}),
        }
        function = Function.of_bundle(bundle, python=target_python.find(), environment=environment, timeout=20)
        with LocalLambda(function) as local:
            assert _run(local) == {
                "chat": "Héllo ✓",
                "chatStream": "Héllo ✓",
                "response": "Héllo ✓",
                "responseStream": ["Héllo ✓", "response.completed"],
                "embedding": [0.25, -0.5],
                "moderation": False,
                "image": "AAAA",
                "imageStream": 2_000_000,
                "counted": 9,
                "compacted": ["compaction"],
                "edit": "CCCC",
                "editStream": ["image_edit.partial_image", "image_edit.completed"],
                "speech": len(openai_api.AUDIO),
                "transcription": "Héllo",
                "models": ["gpt-5", "tts-1"],
                "unknownModel": "404 model_not_found",
                "unknownPath": "404 unknown_url",
            }


def _run(local: LocalLambda) -> object:
    me = local.identities[0]
    credentials = {"AWS_ACCESS_KEY_ID": me.access_key, "AWS_SECRET_ACCESS_KEY": me.secret_key}
    command = ["node", str(SCRIPT), local.url, local.region]
    done = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], **credentials},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
