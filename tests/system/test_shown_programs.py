"""Every line of another program that the documents show is executed as it stands, or says here why it cannot be.

`tests/architecture/test_documents.py` looks after the lines of `meterbridge` and of `make`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.architecture.test_documents import Block, blocks
from tests.architecture.test_packaging import COMPOSE
from tests.faults import gas
from tests.system.fixtures import MakeBroker, MakeListener
from tests.system.polling import until
from tests.system.stage import HOST, PUSH_SECRET, Broker, Cloud, Gateway, Process, configuration

ROOT = Path(__file__).parents[2]
OUR_OWN = {"meterbridge", ".venv/bin/meterbridge", "make", "sudo make"}
EXECUTED = {
    "openssl", "printf", "mosquitto_sub", "mosquitto_pub", "cp", "touch", "docker compose", "curl", "sudo install",
}  # fmt: skip
ELSEWHERE = {
    "python3": "tests/system/test_installation.py makes a venv and installs into it, by the lines of the Dockerfile",
    ".venv/bin/pip": "the same",
    "docker build": "needs a Docker engine; its steps run in a chroot by `make image-steps`",
    "docker run": "needs a Docker engine; the options are read below, by the client itself where there is one",
    "sudo cp": "needs /etc",
    "sudo editor": "waits for a person",
    "sudo systemctl": "needs systemd as the first process; tests/architecture holds the unit against its rules",
    "journalctl": "the same",
}
WITH_A_VERB = {"docker", "sudo"}


def shown(block: Block) -> list[str]:
    """The command lines of a block, continued ones joined; of a console only what stands behind `$`."""
    lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
    told = [line.strip().removeprefix("$ ") for line in lines]
    if any(line.lstrip().startswith("$ ") for line in lines):
        told = [line.strip()[2:] for line in lines if line.lstrip().startswith("$ ")]
    return [line for line in told if line]


def program(line: str) -> str:
    """What a line starts: the first word, of some programs with the second."""
    words = line.split()
    return " ".join(words[: 2 if words[0] in WITH_A_VERB else 1])


def lines_of(*programs: str) -> Iterator[tuple[Block, str]]:
    for block in blocks("", "sh", "console"):
        for line in shown(block):
            if program(line) in programs:
                yield block, line


def the_block(*programs: str) -> Block:
    """The one block that shows these programs."""
    (found,) = {block for block, _ in lines_of(*programs)}
    return found


def run(text: str, folder: Path, told: str = "", **env: str) -> str:
    """Lines as a shell takes them, each of which must succeed; what they print."""
    done = subprocess.run(
        ["bash", "-euc", text],
        cwd=folder,
        input=told,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": str(folder), **env},
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_line_that_is_shown_has_somebody_who_executes_it_or_a_reason() -> None:
    known = OUR_OWN | EXECUTED | ELSEWHERE.keys()
    for block in blocks("sh", "console"):
        for line in shown(block):
            assert program(line) in known, f"{block}: {line}"
    everything = {program(line) for block in blocks("", "sh", "console") for line in shown(block)}
    assert EXECUTED | ELSEWHERE.keys() <= everything, "somebody executes what nobody shows any more"


def test_certificates_of_the_security_page_let_a_client_in_that_checks_the_name(
    make_broker: MakeBroker, tmp_path: Path
) -> None:
    run(the_block("openssl").text, tmp_path)
    keys = {"certfile": "server.pem", "keyfile": "server.key"}
    secure = "\n".join(f"{key} {tmp_path / name}" for key, name in keys.items())
    broker = make_broker(lines=[secure])
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with trusting.wrap_socket(_connected(broker), server_hostname="broker.example.com") as line:
        assert line.version()
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        trusting.wrap_socket(_connected(broker), server_hostname="other.example.com")


def _connected(broker: Broker) -> socket.socket:
    return socket.create_connection((HOST, broker.port), 20)


def test_secrets_as_they_are_made_in_the_text_are_good_secrets(tmp_path: Path) -> None:
    pages = {block.page for block in blocks("", "sh", "console", "yaml")}
    made = {line for page in pages for line in re.findall(r"`(openssl rand [^`]*)`", page.read_text())}
    assert made == {"openssl rand -hex 16"}
    assert re.fullmatch(r"[0-9a-f]{32}\n", run(made.pop(), tmp_path))


def test_mosquitto_lines_of_the_readme_switch_a_breaker_and_show_it(
    broker: Broker, tmp_path: Path, ending: ExitStack
) -> None:
    """As shown, but for the port: a test does not take the one that everybody uses."""
    (block,) = {block for block, _ in lines_of("mosquitto_pub")}
    listens, publishes = shown(block)
    cloud = Cloud(tmp_path, ["W71E0000001"])
    ending.callback(cloud.end)
    gateway = Gateway(tmp_path, configuration(broker, cloud.start(), tmp_path))
    ending.callback(gateway.end)
    gateway.start()
    listener = Process("mosquitto_sub", tmp_path)
    ending.callback(listener.end)
    listener.launch([*shlex.split(listens), "-p", str(broker.port)])
    topic = "meterbridge/shop/W71E0000001"
    until(lambda: f"{topic}/state " in listener.output.read_text(), 30, "it shows the state", listener.tail)
    run(f"{publishes} -p {broker.port}", tmp_path)

    def succeeded() -> bool:
        acks = re.findall(rf"^{topic}/ack (.*)$", listener.output.read_text(), re.MULTILINE)
        return any(json.loads(ack)["status"] == "succeeded" for ack in acks)

    until(succeeded, 30, "the listener shows the end of the command", listener.tail, gateway.tail)
    assert cloud.effects() == ["switched_off"]


def test_first_step_of_the_compose_example_makes_the_brokers_users(
    make_broker: MakeBroker, make_listener: MakeListener, tmp_path: Path
) -> None:
    """The block as it stands; `docker compose run` is a shell function that runs the inner command here."""
    folder = tmp_path / "compose"
    shutil.copytree(COMPOSE, folder)
    docker = r"""
        docker() {
            local before="compose run --rm --no-deps --entrypoint sh -v ./mosquitto:/conf mosquitto -c"
            [ "${*:1:$#-1}" = "$before" ] || { echo "not as expected: $*" >&2; return 1; }
            local inner="${@: -1}"
            printf 'FAKE-%s\n' "${inner##* }" "${inner##* }" | sh -c "${inner//\/conf/.\/mosquitto}"
        }
    """
    block = the_block("docker compose")
    users = re.findall(r"mosquitto_passwd \S+ (\w+)'", block.text)
    assert users == ["meterbridge", "operator", "viewer"]
    run(docker + block.text, folder)
    assert (folder / ".env").read_text() == (COMPOSE / ".env.example").read_text()
    words = folder / "mosquitto/passwords"
    assert words.stat().st_mode & 0o777 == 0o600
    broker = make_broker(lines=["allow_anonymous false", f"password_file {words}"])
    for user in users:
        make_listener(broker, username=user, password=f"FAKE-{user}")


def test_trial_of_the_reverse_proxy_page_is_answered_as_it_says(
    make_broker: MakeBroker, tmp_path: Path, ending: ExitStack
) -> None:
    """Without the proxy: the gateway's own address stands in the place of the proxy's."""
    gateway = Gateway(tmp_path, gas.configuration(make_broker(), tmp_path / "state.db"))
    ending.callback(gateway.end)
    gateway.start()
    ((block, line),) = [
        (block, line) for block, line in lines_of("curl") if block.page.name == "reverse-proxy.md"
    ]
    here = line.replace("https://gateway.example.com", gateway.web)
    assert here != line
    keys = {"GAS_PUSH_SECRET": PUSH_SECRET, "GAS_API_KEY": "FAKE-key"}
    told = run(here, tmp_path, **keys)
    assert told.startswith("HTTP/1.1 200 OK")
    answer = json.loads(told.splitlines()[-1])
    shows = json.loads(block.text.splitlines()[-1])
    assert (answer.keys(), answer["State"]) == (shows.keys(), shows["State"])
    refused = run(here, tmp_path, **{**keys, "GAS_API_KEY": "x"})
    assert refused.startswith("HTTP/1.1 401")
    unknown = run(here, tmp_path, **{**keys, "GAS_PUSH_SECRET": "x" * 32})
    assert unknown.startswith("HTTP/1.1 404")
    assert unknown.rstrip().endswith("content-length: 0")


def test_secret_of_the_installation_page_is_written_for_its_owner_only(tmp_path: Path) -> None:
    ((_, line),) = lines_of("sudo install")
    (tmp_path / "etc/meterbridge/secrets").mkdir(parents=True)
    run(line.removeprefix("sudo ").replace("/etc/", f"{tmp_path}/etc/"), tmp_path, "FAKE-secret\n")
    (made,) = (tmp_path / "etc/meterbridge/secrets").iterdir()
    assert (made.read_text(), made.stat().st_mode & 0o777) == ("FAKE-secret\n", 0o600)


def test_docker_lines_have_options_that_docker_has(tmp_path: Path) -> None:
    """No engine is asked for: whether the image runs is not shown here. The client, where there is one, reads the line
    and finds no engine; an option that it does not know would end it before."""
    options = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    options.add_argument("--read-only", action="store_true")
    for name in ("--tmpfs", "--cap-drop", "--security-opt", "-p", "-v", "-t"):
        options.add_argument(name, action="append")
    options.add_argument("last", nargs=1)
    lines = [line for _, line in lines_of("docker run", "docker build")]
    assert len(lines) == 2
    for line in lines:
        _, verb, *rest = shlex.split(line)
        assert options.parse_args(rest).last == ["meterbridge" if verb == "run" else "."]
        client = shutil.which("docker")
        if client is not None:
            nobody = {
                "PATH": os.environ["PATH"],
                "DOCKER_HOST": f"unix://{tmp_path}/nobody",
                "HOME": str(tmp_path),
            }
            done = subprocess.run(
                [client, verb, *rest],
                cwd=ROOT,
                env=nobody,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert done.returncode != 0
            assert "unknown" not in done.stderr
            assert "daemon" in done.stderr
