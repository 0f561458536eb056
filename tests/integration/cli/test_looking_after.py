"""`migrate`, `doctor`, `log verify`, `log export`, `log import`, `events`, and how trouble is told."""

import gzip
import json
import os
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from headwater import Log, RawEvent, Stream, Write
from tests.integration.cli.conftest import PROGRAM, Command, environment
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import Database

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["no-such-command"], 2),
        (["log", "tail", "-n", "many"], 2),
        (["log", "show"], 2),
        (["log", "verify", "--anchor", "none.jsonl"], 2),
        (["events", "check", "nowhere", "schemas"], 2),
        (["log", "import", "none.jsonl"], 4),
        (["log", "tail", "--url", "mysql://ada:secret@db/x"], 3),
        (["doctor", "--url", "mysql://ada:secret@db/x"], 3),
        (["migrate", "--url", "mysql://ada:secret@db/x"], 3),
    ],
)
def test_wrong_usage_is_one_line_and_never_a_traceback(
    tmp_path: Path, arguments: list[str], code: int
) -> None:
    command = Command(tmp_path, "sqlite:///shop.db")
    text = command(*arguments)
    assert (text.returncode, text.stdout) == (code, "")
    assert text.stderr.startswith("error: ")
    assert len(text.stderr.splitlines()) == 1
    assert "secret" not in text.stderr
    as_json = command(*arguments, "--json")
    assert (as_json.returncode, as_json.stdout) == (code, "")
    assert set(json.loads(as_json.stderr)) == {"error", "message"}
    assert not (tmp_path / "shop.db").exists() or "import" in arguments


def test_a_missing_file_is_not_made_by_looking_at_it(tmp_path: Path) -> None:
    command = Command(tmp_path, "sqlite:///typo.db")
    for arguments in (["log", "tail"], ["log", "verify"], ["log", "export"], ["doctor"]):
        assert command(*arguments).returncode in {1, 4}
    assert list(tmp_path.iterdir()) == []


def test_a_senseless_variable_is_wrong_usage(tmp_path: Path) -> None:
    done = Command(tmp_path, "memory:")("log", "tail", HEADWATER_LOG_PAGE="x")
    assert done.returncode == 2
    assert "HEADWATER_LOG_PAGE" in done.stderr


def test_help_and_version_need_no_log(tmp_path: Path) -> None:
    command = Command(tmp_path, "nonsense:")
    assert command("--help").returncode == 0
    assert command("log", "tail", "--help").returncode == 0
    assert command("--version").stdout.strip().count(".") == 2


def test_an_unreachable_server_is_storage_trouble(tmp_path: Path) -> None:
    command = Command(tmp_path, "postgresql://ada:secret@127.0.0.1:1/shop")
    done = command("log", "tail", "--json")
    assert (done.returncode, done.stdout) == (4, "")
    assert "secret" not in done.stderr
    doctor = command("doctor", "--json")
    assert doctor.returncode == 1
    assert "secret" not in doctor.stdout
    [finding] = json.loads(doctor.stdout)["findings"]
    assert (finding["check"], finding["level"]) == ("address", "problem")
    assert finding["fix"]


# migrate


def test_migrating_says_what_it_did_and_may_be_repeated_on_sqlite(tmp_path: Path) -> None:
    command = Command(tmp_path, "sqlite:///new.db")
    first = json.loads(command("migrate", "--json").stdout)
    assert first["applied"]
    assert json.loads(command("migrate", "--json").stdout)["applied"] == []
    assert command("migrate").stdout == "sqlite:///new.db is up to date\n"


def test_migrating_says_what_it_did_and_may_be_repeated_on_postgres(postgres_database: Database) -> None:
    server = postgres_database.server
    name = server.create_database(owner="hw_owner")
    try:
        command = Command(Path(), server.url(role="hw_owner", database=name))
        first = command("migrate", "--json")
        assert first.returncode == 0, first.stderr
        assert any("0001" in step for step in json.loads(first.stdout)["applied"])
        assert server.password("hw_owner") not in first.stdout
        assert json.loads(command("migrate", "--json").stdout)["applied"] == []
    finally:
        server.drop_database(name)


# doctor


def findings(command: Command) -> tuple[int, dict[str, tuple[str, str]]]:
    done = command("doctor", "--json")
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document["ok"] is (done.returncode == 0)
    assert all(finding["fix"] for finding in document["findings"] if finding["level"] != "ok")
    return done.returncode, {f["check"]: (f["level"], f["message"]) for f in document["findings"]}


def test_doctor_finds_nothing_wrong_with_a_good_file(tmp_path: Path) -> None:
    command = Command(tmp_path, "sqlite:///shop.db")
    command("migrate")
    code, found = findings(command)
    assert code == 0
    assert {level for level, _ in found.values()} <= {"ok", "warning"}
    assert {"file", "filesystem", "schema", "journal", "library", "disk space", "chain", "clock"} <= set(
        found
    )


def test_doctor_sees_a_damaged_event(tmp_path: Path) -> None:
    command = damaged(tmp_path)
    code, found = findings(command)
    assert code == 1
    assert found["chain"][0] == "problem"
    assert "position 2" in found["chain"][1]


def test_doctor_sees_what_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    code, found = findings(Command(tmp_path, "sqlite:///shop.db"))
    assert code == 1
    assert "problem" in {level for level, _ in found.values()}


def test_doctor_sees_a_file_that_others_may_write(tmp_path: Path) -> None:
    command = Command(tmp_path, "sqlite:///shop.db")
    command("migrate")
    (tmp_path / "shop.db").chmod(0o666)
    assert findings(command)[1]["secrecy"][0] == "warning"


def test_doctor_judges_the_roles_of_postgres(postgres_database: Database) -> None:
    command = Command(Path(), postgres_database.worker_url)
    command.fill(lambda log: log.append(Write(Stream("order", "o-1"), [RawEvent("order_placed", {})])))
    worker = findings(command)[1]
    assert worker["role"][0] == "ok"
    assert worker["groups"] == ("ok", "member of headwater_worker")
    assert worker["schema"][0] == worker["row-level security"][0] == worker["definer functions"][0] == "ok"
    assert worker["chain"][0] == "ok"
    server = findings(Command(Path(), postgres_database.server_url))[1]
    assert server["groups"] == ("ok", "member of headwater_server")
    assert server["chain"] == ("ok", "not looked at: this role does not see all tenants")
    owner = findings(Command(Path(), postgres_database.owner_url))[1]
    assert owner["role"][0] == "warning"
    assert "owner" in owner["role"][1]
    admin = findings(Command(Path(), postgres_database.admin_url))[1]
    assert "superuser" in admin["role"][1]


def test_doctor_sees_a_pool_in_between(pgbouncer: PgBouncer, postgres_database: Database) -> None:
    pooled = pgbouncer.url(postgres_database.worker_url)
    assert findings(Command(Path(), pooled))[1]["pool"][0] == "warning"
    direct = f"{pooled}?direct_url={quote(postgres_database.worker_url)}"
    done = Command(Path(), direct)("doctor")
    assert "through a pool" in done.stdout
    assert postgres_database.server.password("hw_test_worker") not in done.stdout


def test_doctor_sees_a_server_that_forgets_what_it_acknowledged(postgres_database: Database) -> None:
    [(setting,)] = postgres_database.server.fetch("SHOW fsync")
    code, found = findings(Command(Path(), postgres_database.worker_url))
    assert found["fsync"][0] == ("ok" if setting == "on" else "problem")
    assert code == (0 if setting == "on" else 1)


def test_doctor_sees_row_level_security_that_was_switched_off(postgres_database: Database) -> None:
    name = postgres_database.name
    postgres_database.server.fetch("ALTER TABLE headwater.keys NO FORCE ROW LEVEL SECURITY", database=name)
    code, found = findings(Command(Path(), postgres_database.worker_url))
    assert code == 1
    assert found["row-level security"] == ("problem", "not forced on keys")


def test_doctor_sees_a_database_without_a_log(postgres_database: Database) -> None:
    server = postgres_database.server
    code, found = findings(Command(Path(), server.url(role="hw_test_worker", database="postgres")))
    assert code == 1
    assert found["schema"] == ("problem", "there is no log in this database")


# verify


def damaged(folder: Path) -> Command:
    """A log whose second event was changed behind its back."""
    command = Command(folder, f"sqlite:///{folder / 'shop.db'}")

    async def fill(log: Log) -> None:
        for cents in (700, 4200, 900):
            await log.append(
                Write(Stream("order", f"o-{cents}"), [RawEvent("order_placed", {"cents": cents})])
            )

    command.fill(fill)
    file = folder / "shop.db"
    content = file.read_bytes()
    assert content.count(b'{"cents":4200}') == 1
    file.write_bytes(content.replace(b'{"cents":4200}', b'{"cents":9200}'))
    return command


def test_verify_is_content_with_what_was_written(shop: Command) -> None:
    done = shop("log", "verify", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["ok"], document["events"], document["anchor"]["position"]) == (True, 5, 5)


def test_verify_finds_a_changed_event(tmp_path: Path) -> None:
    command = damaged(tmp_path)
    text = command("log", "verify")
    assert (text.returncode, text.stdout) == (1, "")
    assert "position 2" in text.stderr
    document = json.loads(command("log", "verify", "--json").stdout)
    assert (document["ok"], document["position"], document["error"]) == (False, 2, "chain_broken")


def test_anchors_add_up_in_a_file_and_are_checked(shop: Command) -> None:
    for _ in range(2):
        assert shop("log", "verify", "--write-anchor", "anchors").returncode == 0
    anchors = shop.folder / "anchors"
    assert len(anchors.read_text().splitlines()) == 2
    assert json.loads(shop("log", "verify", "--anchor", "anchors", "--json").stdout)["anchors"] == 2
    later = json.loads(anchors.read_text().splitlines()[0]) | {"position": 6}
    anchors.write_text(json.dumps(later) + "\n")
    cut = shop("log", "verify", "--anchor", "anchors")
    assert cut.returncode == 1
    assert "cut off" in cut.stderr
    anchors.write_text("nonsense\n")
    assert shop("log", "verify", "--anchor", "anchors").returncode == 3


# export and import


@pytest.mark.parametrize("name", ["shop.jsonl", "shop.jsonl.gz"])
def test_an_export_makes_the_same_log_elsewhere(shop: Command, name: str) -> None:
    done = shop("log", "export", name, "--json")
    assert json.loads(done.stdout) == {"file": name, "events": 5}
    assert sorted(os.listdir(shop.folder)) == sorted(
        {name, *(f for f in os.listdir(shop.folder) if "shop.db" in f)}
    )
    if name.endswith(".gz"):
        assert len(gzip.decompress((shop.folder / name).read_bytes()).splitlines()) == 7
    other = "sqlite:///other.db"
    done = shop("log", "import", name, "--json", url=other)
    assert json.loads(done.stdout)["events"] == 5
    first = json.loads(shop("log", "verify", "--json").stdout)
    assert json.loads(shop("log", "verify", "--json", url=other).stdout) == first
    again = shop("log", "import", name, "--json", url=other)
    assert (again.returncode, again.stdout) == (3, "")


def test_an_export_goes_through_a_pipe(shop: Command) -> None:
    exported = shop("log", "export", "-")
    assert len(exported.stdout.splitlines()) == 7
    assert shop("log", "export").stdout == exported.stdout
    done = shop("log", "import", "-", stdin=exported.stdout, url="sqlite:///other.db")
    assert done.returncode == 0, done.stderr


def test_a_file_moves_to_postgres(tmp_path: Path, postgres_database: Database) -> None:
    command = Command(tmp_path, f"sqlite:///{tmp_path / 'shop.db'}")

    async def fill(log: Log) -> None:
        await log.append(Write(Stream("order", "o-1"), [RawEvent("order_placed", {"cents": 1})]))

    command.fill(fill)
    command("log", "export", "x.gz")
    done = command("log", "import", "x.gz", url=postgres_database.worker_url)
    assert done.returncode == 0, done.stderr
    assert (
        command("log", "verify", url=postgres_database.worker_url).stdout == command("log", "verify").stdout
    )


@pytest.mark.parametrize("damage", ["cut", "cut in the middle of a line", "altered", "no gzip"])
def test_a_damaged_export_is_refused_and_nothing_is_imported(shop: Command, damage: str) -> None:
    text = shop("log", "export").stdout
    file = shop.folder / "x.jsonl"
    match damage:
        case "cut":
            file.write_text("\n".join(text.splitlines()[:-1]) + "\n")
        case "cut in the middle of a line":
            file.write_text(text[:-30])
        case "altered":
            file.write_text(text.replace('"position": 2', '"position": 3', 1))
        case _:
            file = shop.folder / "x.gz"
            file.write_bytes(gzip.compress(text.encode())[:-20])
    done = shop("log", "import", file.name, url="sqlite:///other.db")
    assert done.returncode in {1, 3}, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert shop("log", "tail", url="sqlite:///other.db").stdout == ""


def test_an_export_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    command = Command(tmp_path, "sqlite:///shop.db")
    command("migrate")
    (tmp_path / "old.jsonl").write_text("kept")
    before = sorted(os.listdir(tmp_path))
    assert command("log", "export", "none/x.jsonl").returncode == 4
    (tmp_path / "folder").mkdir()
    assert command("log", "export", "folder").returncode == 4
    (tmp_path / "folder").rmdir()
    assert sorted(os.listdir(tmp_path)) == before


def test_output_that_cannot_be_written_is_trouble(shop: Command) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [PROGRAM, "log", "tail"],
            env=environment(HEADWATER_URL=shop.url),
            cwd=shop.folder,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 4
    assert done.stderr.startswith(b"error: ")


# events


def test_the_examples_are_as_they_were_frozen(tmp_path: Path) -> None:
    command = Command(ROOT / "examples", "memory:")
    done = command("events", "check", "shop:registry", "schemas", "--json", PYTHONDONTWRITEBYTECODE="1")
    assert json.loads(done.stdout) == {"ok": True, "problems": []}


def test_a_changed_shape_is_a_problem_that_says_how_to_mend_it(tmp_path: Path) -> None:
    command = Command(tmp_path, "memory:")
    model = (
        "from typing import Literal\nfrom headwater import Event, Registry\n"
        "class Paid(Event):\n    type: Literal['paid'] = 'paid'\n    cents: int\n"
    )
    module = tmp_path / "shop_events.py"
    module.write_text(model + "events = Registry(Paid)\n")
    check = ("events", "check", "shop_events:events", "schemas")
    no_cache = {"PYTHONDONTWRITEBYTECODE": "1"}
    assert command(*check, **no_cache).returncode == 1
    assert command("events", "freeze", "shop_events:events", "schemas", **no_cache).returncode == 0
    assert command(*check, **no_cache).returncode == 0
    module.write_text(model + "    currency: str\nevents = Registry(Paid)\n")
    done = command(*check, "--json", **no_cache)
    assert done.returncode == 1
    assert "schema_version = 2" in json.loads(done.stdout)["problems"][0]
    frozen = (tmp_path / "schemas" / "paid.v1.json").read_text()
    assert command("events", "freeze", "shop_events:events", "schemas", **no_cache).returncode == 1
    assert (tmp_path / "schemas" / "paid.v1.json").read_text() == frozen
