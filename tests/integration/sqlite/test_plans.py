"""Each query goes by its index."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

from headwater.log.sqlite.statements import migrations, statements

STREAM = "tenant=? AND stream_type=? AND stream_id=?"
READY = "tenant=? AND queue=? AND key=?"
THEN = " AND (at,key)<(?,?))"
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
        "wake": ["SEARCH hw_fences USING PRIMARY KEY (tenant=? AND key=?)"],
        "trust": ["SEARCH hw_fences USING PRIMARY KEY (tenant=? AND key=?)"],
        "claim_of": [f"SEARCH hw_ready USING INDEX sqlite_autoindex_hw_ready_1 ({READY})"],
        "clear_ready": [f"SEARCH hw_ready USING INDEX sqlite_autoindex_hw_ready_1 ({READY})"],
        "withdraw_ready": [f"SEARCH hw_ready USING INDEX sqlite_autoindex_hw_ready_1 ({READY})"],
        "keys": ["SEARCH hw_keys USING PRIMARY KEY (tenant=? AND key>? AND key<?)"],
        "due": ["SEARCH hw_due USING INDEX hw_due_by_time (at<?)"],
        "ready": ["SEARCH hw_ready USING INDEX hw_ready_by_order (queue=?)"],
        "load_snapshot": [
            f"SEARCH s USING INDEX sqlite_autoindex_hw_snapshots_1 ({STREAM} AND name=? AND version<?)",
            f"SEARCH e USING INDEX hw_events_by_stream ({STREAM} AND version=?)",
        ],
    },
    "owners.sql": {
        "claim": ["SEARCH hw_fences USING PRIMARY KEY (tenant=? AND key=?)"],
        "release": ["SEARCH hw_fences USING PRIMARY KEY (tenant=? AND key=?)"],
        "beat": ["SEARCH hw_workers USING PRIMARY KEY (id=?)"],
        "worker": ["SEARCH hw_workers USING PRIMARY KEY (id=?)"],
        "free": ["SEARCH hw_fences USING INDEX hw_fences_free (label=?)"],
        "first_suspect": ["SEARCH hw_fences USING INDEX hw_fences_suspect (label=?)"],
        "suspects": ["SEARCH hw_fences USING INDEX hw_fences_suspect (label=?)"],
        "take": ["SEARCH hw_fences USING PRIMARY KEY (tenant=? AND key=?)"],
        "woken": ["SEARCH hw_fences USING INDEX hw_fences_woken (holder=?)"],
        "see": ["SEARCH hw_fences USING PRIMARY KEY (tenant=? AND key=?)"],
        "next_holder": ["SEARCH hw_fences USING COVERING INDEX hw_fences_held (holder>?)"],
        "next_ready_holder": ["SEARCH hw_ready USING COVERING INDEX hw_ready_held (holder>?)"],
        "held_ready": ["SEARCH hw_ready USING INDEX hw_ready_held (holder=?)"],
        "held": ["SEARCH hw_fences USING COVERING INDEX hw_fences_held (holder>?)"],
        "count_held": ["SEARCH hw_fences USING COVERING INDEX hw_fences_held (holder=?)"],
        "free_held": ["SEARCH hw_fences USING INDEX hw_fences_held (holder=?)"],
        "suspect_held": ["SEARCH hw_fences USING INDEX hw_fences_held (holder=?)"],
        "free_ready": ["SEARCH hw_ready USING COVERING INDEX hw_ready_held (holder=?)"],
        "next_priority": ["SEARCH hw_ready USING INDEX hw_ready_free (queue=? AND priority>?)"],
        "due_ready": ["SEARCH hw_ready USING INDEX hw_ready_free (queue=? AND priority=? AND at<?)"],
        "take_ready": [f"SEARCH hw_ready USING INDEX sqlite_autoindex_hw_ready_1 ({READY})"],
        "entries": [
            "SEARCH hw_entries USING INDEX hw_entries_by_time (tenant=? AND list=? AND (at,key)<(?,?))"
        ],
        "entries_of_label": [
            f"SEARCH hw_entries USING INDEX hw_entries_by_label (tenant=? AND list=? AND label=?{THEN}"
        ],
        "entries_of_status": [
            f"SEARCH hw_entries USING INDEX hw_entries_by_status (tenant=? AND list=? AND status=?{THEN}"
        ],
        "entry": [
            "SEARCH hw_entries USING INDEX sqlite_autoindex_hw_entries_1 (tenant=? AND list=? AND key=?)"
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
