"""`transformers serve` answers with what we write; skipped where its server's packages are not installed."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import torch

from moe_lessons.interop.exporting import export_model
from moe_lessons.model import generate
from moe_lessons.serving import load_fine32

NEEDED = ("transformers", "fastapi", "uvicorn", "openai", "opentelemetry")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
PROMPT, NEW, PATIENCE_S = "The function returns", 40, 180


def ask(port, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
        return json.loads(reply.read())


def wait_for(server, port):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return ask(port, "/health")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    return None


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"transformers serve needs {', '.join(MISSING)}")
def test_their_server_writes_what_we_write(tmp_path):
    model = load_fine32()
    folder = export_model(model, tmp_path / "exported")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    command += ["--device", "cpu", "--dtype", "float32", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        assert wait_for(server, port) is not None, (tmp_path / "log").read_text()
        body = {"model": str(folder), "prompt": PROMPT, "max_tokens": NEW, "temperature": 0}
        (choice,) = ask(port, "/v1/completions", body)["choices"]
    finally:
        server.terminate()
        server.wait(PATIENCE_S)
    ours = generate(model, torch.tensor(list(PROMPT.encode())), NEW, temperature=0)
    assert choice["text"] == bytes(ours[len(PROMPT) :].tolist()).decode()
