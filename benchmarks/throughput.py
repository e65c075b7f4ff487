"""Tasks per second end to end, as a ratio to raw Celery no-ops run in turn with them.

Starts the whole system on free ports in a folder of its own (offline model, two workers), and
beside it a Celery worker (prefork 2, late acknowledgement) on the same Valkey. Rounds of the one
and of the other alternate, so that a machine whose speed drifts slows both; the ratio is taken
pair by pair. Then says how many store operations and Redis round trips a task took.

    python benchmarks/throughput.py [--tasks 400] [--rounds 5] [--workers 2] [--json]
"""

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from redis import Redis

from app.core.config import EMBEDDED_REDIS_URL_FILE

ROOT = Path(__file__).resolve().parent.parent
SUBMITTERS = 32
START_TIMEOUT_SECONDS = 60.0
ROUND_TIMEOUT_SECONDS = 120.0
TEXT = "Python ile bir dosyayı okuyup yazan kod yaz"


@dataclass(frozen=True)
class System:
    """The system under measurement."""

    api_url: str
    worker_metrics_urls: list[str]
    redis: Redis


@dataclass(frozen=True)
class Report:
    """What was measured. Rates are per second."""

    tasks_per_second: float
    raw_celery_per_second: float
    ratio: float
    ratios: list[float]
    store_operations_per_task: float
    redis_round_trips_per_task: float
    latency_ms_median: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=400, help="tasks a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of the system")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    arguments = parser.parse_args()
    report = measure(arguments.tasks, arguments.rounds, arguments.workers)
    if arguments.json:
        print(json.dumps(asdict(report)))
        return
    print(f"tasks per second, end to end   {report.tasks_per_second:8.0f}")
    print(f"raw Celery no-ops per second   {report.raw_celery_per_second:8.0f}")
    pairs = ", ".join(f"{ratio:.2f}" for ratio in report.ratios)
    print(f"ratio (median of pairs)        {report.ratio:8.2f}   ({pairs})")
    print(f"store operations a task        {report.store_operations_per_task:8.1f}")
    print(f"Redis round trips a task       {report.redis_round_trips_per_task:8.1f}")
    print(f"POST to completed, median      {report.latency_ms_median:8.0f} ms   (50, one by one)")


def measure(tasks: int, rounds: int, workers: int) -> Report:
    """Run everything."""
    with tempfile.TemporaryDirectory() as folder, running_system(Path(folder), workers) as system:
        broker_url = (Path(folder) / EMBEDDED_REDIS_URL_FILE).read_text().strip()
        with raw_worker(broker_url):
            raw_round(broker_url, system.redis, 100)
            asyncio.run(system_round(system, 100))
            latency = asyncio.run(median_latency_ms(system, 50))
            operations, trips = store_operations(system), round_trips(system)
            ours = asyncio.run(system_round(system, tasks))
            operations = (store_operations(system) - operations) / tasks
            trips = (round_trips(system) - trips) / tasks
            rates = [(ours, raw_round(broker_url, system.redis, tasks))]
            for _ in range(rounds - 1):
                ours = asyncio.run(system_round(system, tasks))
                rates.append((ours, raw_round(broker_url, system.redis, tasks)))
    ratios = [ours / raw for ours, raw in rates]
    return Report(
        tasks_per_second=statistics.median(ours for ours, _ in rates),
        raw_celery_per_second=statistics.median(raw for _, raw in rates),
        ratio=statistics.median(ratios),
        ratios=ratios,
        store_operations_per_task=operations,
        redis_round_trips_per_task=trips,
        latency_ms_median=latency,
    )


@contextmanager
def running_system(folder: Path, workers: int) -> Iterator[System]:
    """``orchestrator up`` on free ports."""
    api_port, metrics_port = free_port(), free_port()
    environment = {
        **os.environ,
        "PORT": str(api_port),
        "DATA_DIR": str(folder),
        "WORKERS": str(workers),
        "WORKER_METRICS_PORT": str(metrics_port),
        "LOG_LEVEL": "WARNING",
        "ENVIRONMENT": "test",
    }
    for name in ("MONGO_URI", "REDIS_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "API_KEYS"):
        environment[name] = ""
    command = [sys.executable, "-m", "app.cli", "up"]
    with running(command, environment):
        url = f"http://127.0.0.1:{api_port}"
        wait_for(lambda: answers(f"{url}/health/ready"))
        metrics_urls = [f"http://127.0.0.1:{metrics_port + n}/metrics" for n in range(workers)]
        wait_for(lambda: all(answers(metrics_url) for metrics_url in metrics_urls))
        redis_url = (folder / EMBEDDED_REDIS_URL_FILE).read_text().strip()
        with Redis.from_url(redis_url, decode_responses=True) as redis:
            yield System(url, metrics_urls, redis)


@contextmanager
def raw_worker(broker_url: str) -> Iterator[None]:
    """A Celery worker of two processes."""
    environment = {**os.environ, "RAW_CELERY_BROKER_URL": broker_url}
    options = ["--pool=prefork", "--concurrency=2", "--queues=raw", "--loglevel=ERROR"]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "benchmarks.raw_celery", "worker"]
    with running([*command, *options], environment):
        yield


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    """A process of ours, ended afterwards."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def raw_round(broker_url: str, redis: Redis, tasks: int) -> float:
    """No-ops a second, from the first publication to the last acknowledgement."""
    os.environ["RAW_CELERY_BROKER_URL"] = broker_url
    from benchmarks.raw_celery import no_op

    started = time.perf_counter()
    for number in range(tasks):
        no_op.delay(number)
    wait_for(lambda: is_drained(redis, "raw"))
    return tasks / (time.perf_counter() - started)


def is_drained(redis: Redis, queue: str) -> bool:
    """Whether every message of ``queue`` was taken and acknowledged."""
    return not redis.llen(queue) and not any(
        f'"routing_key": "{queue}"' in message for message in redis.hvals("unacked")
    )


async def system_round(system: System, tasks: int) -> float:
    """Tasks a second, from the first POST to the last task's completion."""
    async with httpx2.AsyncClient(base_url=system.api_url, timeout=30) as client:
        done_before = await completed(client)
        numbers = iter(range(tasks))
        started = time.perf_counter()
        await asyncio.gather(*(submit_some(system, numbers) for _ in range(SUBMITTERS)))
        # Asking the API all the time would slow down what is measured; the broker knows roughly.
        await asyncio.to_thread(wait_for, lambda: is_drained(system.redis, "agent_tasks"))
        async with asyncio.timeout(ROUND_TIMEOUT_SECONDS):
            while await completed(client) - done_before < tasks:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.01)
        return tasks / (time.perf_counter() - started)


async def submit_some(system: System, numbers: Iterator[int]) -> None:
    """POST one after the other over one connection, with next to no work of the client's own."""
    address = urlsplit(system.api_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    body = json.dumps({"task": TEXT}).encode()
    head = (
        f"POST /v1/agent/execute HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for _ in numbers:
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"a task was not accepted: {answer.decode()}")
        length = re.search(rb"content-length: (\d+)", answer)
        await reader.readexactly(int(length[1]) if length else 0)
    writer.close()
    await writer.wait_closed()


async def completed(client: httpx2.AsyncClient) -> int:
    """How many tasks are completed."""
    parameters: dict[str, str | int] = {"status": "completed", "page_size": 1}
    response = await client.get("/v1/tasks", params=parameters)
    response.raise_for_status()
    return int(response.headers["X-Total-Count"])


async def median_latency_ms(system: System, tasks: int) -> float:
    """From POST to the stream's end, one task after the other."""
    latencies = []
    async with httpx2.AsyncClient(base_url=system.api_url, timeout=30) as client:
        for _ in range(tasks):
            started = time.perf_counter()
            accepted = (await client.post("/v1/agent/execute", json={"task": TEXT})).json()
            events = await client.get(f"/v1/tasks/{accepted['task_id']}/events")
            latencies.append((time.perf_counter() - started) * 1000)
            if '"status":"completed"' not in events.text:
                raise RuntimeError(f"a task did not complete: {events.text}")
    return statistics.median(latencies)


def store_operations(system: System) -> float:
    """Store operations so far, of API and worker together, the measuring's own left out."""
    total = 0.0
    for url in (f"{system.api_url}/metrics", *system.worker_metrics_urls):
        text = httpx2.get(url).text
        for labels, value in re.findall(
            r"^store_operation_seconds_count\{(.*)\} (\S+)$", text, re.MULTILINE
        ):
            # What `completed` asks for is the measuring's own; leases are no task's.
            if not re.search(r'operation="(count|find)"|collection="leases"', labels):
                total += float(value)
    return total


def round_trips(system: System) -> float:
    """Requests Valkey has read so far; a pipeline or script counts once."""
    info = system.redis.info("stats")
    return float(info["total_reads_processed"])


def answers(url: str) -> bool:
    """Whether a GET succeeds."""
    try:
        return httpx2.get(url, timeout=2).is_success
    except httpx2.TransportError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once it holds."""
    give_up = time.monotonic() + START_TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError("the system did not get there in a minute")
        time.sleep(0.005)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
