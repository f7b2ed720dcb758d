"""`cuemill keys` and `cuemill audit`."""

import os
import pwd

from tests.integration.deployment import Deployment


def test_a_key_is_shown_once_listed_and_revoked(cuemill: Deployment) -> None:
    made = cuemill.run("keys", "create", "ci", "--scope", "submit", "--expires", "30")
    text = made.stdout.strip()
    assert text.startswith("cm_")
    assert "not shown again" in made.stderr

    (key,) = cuemill.json("keys", "list")
    assert (key["name"], key["scope"], key["state"]) == ("ci", "submit", "good")
    assert key["expires_at"]
    shown = cuemill.run("keys", "list").stdout
    assert key["id"] in shown
    assert text not in shown

    assert "Revoked the key ci" in cuemill.run("keys", "revoke", "ci").stderr
    assert "No key 'ci'" in cuemill.run("keys", "revoke", "ci", exit_code=2).stderr
    user = pwd.getpwuid(os.getuid()).pw_name
    assert [(row["actor"], row["act"], row["target"]) for row in cuemill.json("audit")] == [
        (f"cli:{user}", "key.revoke", key["id"]),
        (f"cli:{user}", "key.create", key["id"]),
    ]
    assert "key.revoke" in cuemill.run("audit").stdout


def test_a_bind_beyond_this_machine_without_a_key_is_bad_usage(cuemill: Deployment) -> None:
    for program in ("serve", "up"):
        refused = cuemill.run(program, "--host", "0.0.0.0", exit_code=2)
        assert "cuemill keys create NAME --scope admin" in refused.stderr
        assert refused.stderr.startswith("error: ")
