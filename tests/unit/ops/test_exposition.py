"""Counters as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from bridge.ops.metrics import Metrics, Sample


def shown(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels."""
    body, content_type = metrics.exposition()
    assert content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_counters_are_shown_with_their_labels():
    metrics = Metrics()
    metrics.vendor_requests.labels("home", "read", "ok").inc()
    metrics.vendor_requests.labels("home", "read", "ok").inc()
    metrics.rejected.labels("expired").inc()
    metrics.command_seconds.labels("home").observe(3)
    found = shown(metrics)
    labels = (("account", "home"), ("endpoint", "read"), ("outcome", "ok"))
    assert found["meterbridge_vendor_requests_total", labels] == 2
    assert found["meterbridge_commands_rejected_total", (("code", "expired"),)] == 1
    assert found["meterbridge_command_seconds_bucket", (("account", "home"), ("le", "1.0"))] == 0
    assert found["meterbridge_command_seconds_bucket", (("account", "home"), ("le", "5.0"))] == 1


def test_samples_are_read_at_every_scrape():
    metrics = Metrics()
    rows: list[Sample] = []
    metrics.read_from(lambda: rows)
    before = shown(metrics)
    rows += [
        Sample("meterbridge_outbox_rows", "waiting", 3, (("class", "alarm"),)),
        Sample("meterbridge_outbox_rows", "waiting", 5, (("class", "telemetry"),)),
        Sample("meterbridge_published_total", "published", 7, counter=True),
    ]
    after = shown(metrics)
    assert after.keys() - before.keys() == {
        ("meterbridge_outbox_rows", (("class", "alarm"),)),
        ("meterbridge_outbox_rows", (("class", "telemetry"),)),
        ("meterbridge_published_total", ()),
    }
    assert after["meterbridge_outbox_rows", (("class", "telemetry"),)] == 5
    assert after["meterbridge_published_total", ()] == 7
    rows.clear()
    # what the process used goes on meanwhile
    assert shown(metrics).keys() == before.keys()


def test_two_gateways_in_one_process_do_not_share_counters():
    one, two = Metrics(), Metrics()
    one.rejected.labels("expired").inc()
    assert ("meterbridge_commands_rejected_total", (("code", "expired"),)) not in shown(two)
