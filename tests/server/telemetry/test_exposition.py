"""The two forms of ``sys/metrics``, and what the configuration changes in them."""

from __future__ import annotations

import pytest
from caveau.framework.metrics import Metrics, value
from caveau.server.config.model import TelemetryConfig
from caveau.server.telemetry.exposition import as_json, as_prometheus, collect
from caveau.server.telemetry.naming import Naming
from prometheus_client.parser import text_string_to_metric_families

QUIET = TelemetryConfig(disable_hostname=True)


@pytest.fixture
def metrics():
    found = Metrics()
    found.count("token.creation", 2, auth_method="userpass")
    found.timing("route.read.kv-v2-").observe(0.004)
    found.gauge("core.unsealed", lambda: 1.0, cluster="c")
    return found


def shown(metrics, config=QUIET, now=1_700_000_007.0):
    return as_json(collect(metrics, Naming(config, "box-1"), now, [value("runtime.sys_bytes", 5)]))


def families(metrics, config=QUIET):
    text = as_prometheus(collect(metrics, Naming(config, "box-1"), 0.0)).decode()
    return text, {each.name: each for each in text_string_to_metric_families(text)}


def test_json_has_gauges_counters_and_samples(metrics):
    found = shown(metrics)
    assert found["Timestamp"] == "2023-11-14 22:13:20 +0000 UTC"
    assert found["Gauges"] == [
        {"Name": "vault.core.unsealed", "Value": 1.0, "Labels": {"cluster": "c"}},
        {"Name": "vault.runtime.sys_bytes", "Value": 5, "Labels": {}},
    ]
    assert found["Points"] == []
    (counter,) = found["Counters"]
    assert counter == {
        "Name": "vault.token.creation", "Count": 2, "Rate": 0.2, "Sum": 2.0, "Min": 1.0, "Max": 1.0, "Mean": 1.0,
        "Stddev": 0.0, "Labels": {"auth_method": "userpass"},
    }  # fmt: skip
    (sample,) = found["Samples"]
    assert (sample["Name"], sample["Count"], sample["Max"]) == ("vault.route.read.kv-v2-", 1, 4.0)  # milliseconds


def test_json_is_about_the_last_whole_interval(metrics):
    metrics.turn(1_700_000_010.0)
    found = shown(metrics, now=1_700_000_013.0)
    assert found["Timestamp"] == "2023-11-14 22:13:20 +0000 UTC"
    assert len(found["Counters"]) == len(found["Samples"]) == 1
    metrics.turn(1_700_000_020.0)
    found = shown(metrics, now=1_700_000_023.0)
    assert (found["Counters"], found["Samples"]) == ([], [])
    assert len(found["Gauges"]) == 2


def test_prometheus_text_is_read_by_prometheus_own_parser(metrics):
    text, found = families(metrics)
    assert found["vault_core_unsealed"].samples[0].labels == {"cluster": "c"}
    assert '# TYPE vault_token_creation counter\nvault_token_creation{auth_method="userpass"} 2.0\n' in text
    timing = {(s.name, s.labels.get("quantile")): s.value for s in found["vault_route_read_kv_v2_"].samples}
    assert found["vault_route_read_kv_v2_"].type == "summary"
    assert timing == {
        ("vault_route_read_kv_v2_", "0.5"): 4.0,
        ("vault_route_read_kv_v2_", "0.9"): 4.0,
        ("vault_route_read_kv_v2_", "0.99"): 4.0,
        ("vault_route_read_kv_v2__sum", None): 4.0,
        ("vault_route_read_kv_v2__count", None): 1.0,
    }
    assert {"process_resident_memory_bytes", "process_open_fds", "python_info"} <= found.keys()


def test_what_was_never_observed_is_left_out(metrics):
    metrics.timing("core.handle_login_request")
    assert "vault_core_handle_login_request" not in families(metrics)[1]


def test_labels_cannot_break_out_of_their_line(metrics):
    metrics.count("x", path='a"} 1\nevil 1')
    text, found = families(metrics)
    assert "\nevil" not in text
    assert found["vault_x"].samples[0].labels == {"path": 'a"} 1\nevil 1'}


def test_gauges_carry_the_host_name_unless_told_otherwise(metrics):
    names = [each["Name"] for each in shown(metrics, TelemetryConfig())["Gauges"]]
    assert names == ["vault.box-1.core.unsealed", "vault.box-1.runtime.sys_bytes"]
    assert "vault_box_1_core_unsealed" in families(metrics, TelemetryConfig())[1]


def test_the_host_name_as_a_label(metrics):
    config = TelemetryConfig(disable_hostname=True, enable_hostname_label=True)
    assert shown(metrics, config)["Counters"][0]["Labels"] == {"auth_method": "userpass", "host": "box-1"}


def test_another_prefix(metrics):
    config = TelemetryConfig(disable_hostname=True, metrics_prefix="caveau")
    assert shown(metrics, config)["Counters"][0]["Name"] == "caveau.token.creation"


@pytest.mark.parametrize(
    ("default", "rules", "names"),
    [
        (True, ("-vault.token",), ["vault.route.read.kv-v2-"]),
        (False, ("+vault.token",), ["vault.token.creation"]),
        (True, ("-vault.token", "+vault.token.creation"), ["vault.token.creation", "vault.route.read.kv-v2-"]),
        (False, (), []),
    ],
)
def test_the_longest_prefix_decides_what_is_left_out(metrics, default, rules, names):
    config = TelemetryConfig(disable_hostname=True, filter_default=default, prefix_filter=rules)
    found = shown(metrics, config)
    assert [each["Name"] for each in (*found["Counters"], *found["Samples"])] == names
