"""Each query goes by its index."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

from headwater.log.sqlite.statements import migrations, statements

STREAM = "tenant=? AND stream_type=? AND stream_id=?"
PLANS = {
    "append.sql": {
        "tail": ["SCAN hw_events"],
        "known": ["SEARCH hw_events USING INDEX hw_events_by_id (tenant=? AND event_id=?)"],
    },
    "read.sql": {
        "log_page": ["SEARCH hw_events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
        "log_filtered": ["SEARCH hw_events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
        "log_of_run": [
            "SEARCH hw_events USING INDEX hw_events_by_run (run_id=? AND position>? AND position<?)"
        ],
        "log_of_correlation": [
            "SEARCH hw_events USING INDEX hw_events_by_correlation (correlation_id=? AND position>? AND position<?)",
            "SEARCH hw_events USING INDEX hw_events_by_id (tenant=? AND event_id=? AND rowid>? AND rowid<?)",
        ],
        "stream_forward": [
            f"SEARCH hw_events USING INDEX hw_events_by_stream ({STREAM} AND version>? AND version<?)"
        ],
        "stream_backward": [
            f"SEARCH hw_events USING INDEX hw_events_by_stream ({STREAM} AND version>? AND version<?)"
        ],
        "stream_version": [
            "SEARCH hw_events USING COVERING INDEX hw_events_by_stream (tenant=? AND stream_type=? AND stream_id=?)"
        ],
        "stream_recorded_at": [f"SEARCH hw_events USING INDEX hw_events_by_stream ({STREAM} AND version=?)"],
        "find": ["SEARCH hw_events USING INDEX hw_events_by_id (tenant=? AND event_id=?)"],
        "last_position": ["SEARCH hw_events"],
        "recorded_at": ["SEARCH hw_events USING INTEGER PRIMARY KEY (rowid=?)"],
        "chain": ["SEARCH hw_events USING INTEGER PRIMARY KEY (rowid=?)"],
        "blob": ["SEARCH hw_blobs USING INDEX sqlite_autoindex_hw_blobs_1 (tenant=? AND hash=?)"],
    },
    "side.sql": {
        "epoch": ["SEARCH hw_fences USING PRIMARY KEY (tenant=? AND key=?)"],
        "holder": ["SEARCH hw_keys USING PRIMARY KEY (tenant=? AND key=?)"],
        "claim": ["SEARCH hw_fences USING PRIMARY KEY (tenant=? AND key=?)"],
        "release": ["SEARCH hw_fences USING PRIMARY KEY (tenant=? AND key=?)"],
        "keys": ["SEARCH hw_keys USING PRIMARY KEY (tenant=? AND key>? AND key<?)"],
        "due": ["SEARCH hw_due USING INDEX hw_due_by_time (at<?)"],
        "ready": ["SEARCH hw_ready USING INDEX hw_ready_by_order (queue=?)"],
        "load_snapshot": [
            f"SEARCH s USING INDEX sqlite_autoindex_hw_snapshots_1 ({STREAM} AND name=? AND version<?)",
            f"SEARCH e USING INDEX hw_events_by_stream ({STREAM} AND version=?)",
        ],
    },
}


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, plans in PLANS.items() for name in plans])
def test_a_query_uses_its_index_and_sorts_nothing(path: Path, file: str, name: str) -> None:
    connection = apsw.Connection(str(path))
    for step in migrations():
        connection.execute(step.sql).fetchall()
    sql = statements(file)[name]
    count = max(map(int, re.findall(r"\?(\d+)", sql)), default=0)
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * count)]
    connection.close()
    tables = [step for step in steps if re.match("(SEARCH|SCAN) (hw_(?!tenants)|[se] )", step)]
    assert tables == PLANS[file][name], steps
    # an event's own id finds one event a tenant, which are sorted
    assert name == "log_of_correlation" or not [step for step in steps if "TEMP B-TREE" in step]
