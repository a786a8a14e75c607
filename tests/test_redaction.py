"""What counts as a key or password, wherever it stands, and what does not."""

import json
from pathlib import Path

import pytest

from suexp.redaction import redacted, secret_in, secrets_in, without_secrets

HEX = "0123456789abcdef0123456789abcdef01234567"
# A text, the part of it that is secret, and what that is called.
SECRETS = [
    ("https://h/x?token=abcd1234", "abcd1234", "token"),
    ("https://h/x?a=1&X-Amz-Signature=abcd1234&b=2", "abcd1234", "token"),
    ("https://abcd1234@host/x", "abcd1234", "password"),
    ("https://user:pa@ss@host/x", "user:pa@ss", "password"),
    ("git+https://abcd1234@host/x", "abcd1234", "password"),
    ("mysql://me:hunter2@host/db", "me:hunter2", "password"),
    ("host=h password=hunter2 dbname=d", "hunter2", "password"),
    ("PGPASSWORD=hunter2 psql", "hunter2", "password"),
    ("Server=h;Uid=me;Pwd=hunter2;", "hunter2", "password"),
    ("MYSQL_PWD=hunter2", "hunter2", "password"),
    ('{"client_secret": "abcdefgh1234"}', "abcdefgh1234", "token"),
    ("Authorization: Bearer abcdefgh1234", "abcdefgh1234", "token"),
    (f"api_key: {HEX}", HEX, "token"),
    (f"machine api.wandb.ai login user password {HEX}", HEX, "token"),
    ("a hf_abcdefghijklmnopQRSTuvwxyz012345AB b", "hf_abcdefghijklmnopQRSTuvwxyz012345AB", "token"),
    (
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "token",
    ),
    ("github_pat_11AAAAAAA0123456789_abc", "github_pat_11AAAAAAA0123456789_abc", "token"),
    ("sk-abcdefghijklmnopqrst0123456789", "sk-abcdefghijklmnopqrst0123456789", "token"),
    ("sk-proj-abcdefghijkl-mnop_qrstuvwx", "sk-proj-abcdefghijkl-mnop_qrstuvwx", "token"),
    ("sk-ant-api03-abcdefghijklmnopqrstuv", "sk-ant-api03-abcdefghijklmnopqrstuv", "token"),
    ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE", "token"),
    ("xoxb-123456789012-abcdef", "xoxb-123456789012-abcdef", "token"),
    (
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM.SflKxwRJSMeKKF",
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM.SflKxwRJSMeKKF",
        "token",
    ),
]
ORDINARY = [
    "data.tokenizer=bytes data.max_tokens=100000 pad_token=[PAD] vocab=30522 model.key_size=64",
    "optimizer.lr=1e-3 tokens: [hf_transformers, task-classification, risk-averse-optimisation-20]",
    f"data.revision={HEX} commit: {HEX}",
    "postgresql://me@host/db git@github.com:me/it ssh://git@host/x s3://bucket/key",
    "https://kexue.fm/archives/9473?page=2&order=date https://host/a:b@c",
    "The secret: normalization. What the key says, the query hears; a token: one symbol.",
    "secret=null password=${x} hf_internaltestingmodels sk-learn-digits-classification",
    "val/loss[lion] < val/loss[adamw] + 0.03",
]


@pytest.mark.parametrize(("text", "secret", "kind"), SECRETS)
def test_a_secret_is_known_by_its_place_or_shape(text: str, secret: str, kind: str) -> None:
    assert secret_in(text) == f"a {kind}"
    assert redacted(text) == text.replace(secret, f"<{kind}>")
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_words_are_none(text: str) -> None:
    assert secret_in(text) is None
    assert redacted(text) == text


def test_the_project_s_own_files_hold_none() -> None:
    root = Path(__file__).parents[1]
    paths = [*root.glob("conf/**/*.yaml"), *root.glob("experiments/*/*.json"), root / "README.md"]
    assert len(paths) > 150
    assert {path: held for path in paths if (held := secret_in(path.read_text("utf-8")))} == {}


def test_the_environment_s_names(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        *("PGPASSWORD", "MYSQL_PWD", "GITHUB_PAT", "DB_PASS", "AWS_SECRET_ACCESS_KEY", "SSHPASS"),
        *("HF_TOKEN", "WANDB_API_KEY", "REDISCLI_AUTH", "SENTRY_DSN", "VAULT_PASSPHRASE"),
    )
    for name in names:
        monkeypatch.setenv(name, "hunter2.hunter2")
        assert secret_in("a hunter2.hunter2") == name
        assert redacted("x-hunter2.hunter2-y") == f"x-<{name}>-y"
        monkeypatch.delenv(name)
    others = ("PWD", "OLDPWD", "COMPASS", "BYPASS", "MONKEY", "SSH_AUTH_SOCK", "SECRET_FILE")
    for name in (*others, "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "hunter2.hunter2")
    assert secret_in("a hunter2.hunter2") is None
    monkeypatch.setenv("POSTGRES_PASSWORD", "postgres")  # a word, and a part of others
    assert secret_in("postgresql://host/db") is None
    assert secret_in("as postgres.") == "POSTGRES_PASSWORD"


def test_plain_containers() -> None:
    key = "hf_abcdefghijklmnopQRSTuvwxyz012345AB"
    node = {"a": {key: 0.5}, "password": 12345, "b": [f"x {key}", 1, None], "api_key": "abcd"}
    assert dict(secrets_in(node)) == {
        f"a.{key}": "a token",
        "password": "a password",
        "b.0": "a token",
        "api_key": "a password",
    }
    clean = without_secrets(node)
    assert clean["a"] == {"<token>": 0.5}
    assert clean["b"] == ["x <token>", 1, None]
    assert clean["api_key"] == "<password>"
    ordinary = {"lr": 1e-3, "tokenizer": "bytes", "secret": None, "password": True}
    assert without_secrets(ordinary) is ordinary
    text = json.dumps({"error": "password=hunter2", "next": [key]})
    assert json.loads(redacted(text)) == {"error": "password=<password>", "next": ["<token>"]}
