"""Credentials are known by their form."""

from __future__ import annotations

import pytest

from propeller.redaction import redact

SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2.ijkl-mnop",
        "authorization=Basic hunter2dXNlcg==",
        "{'Authorization': 'Bearer hunter2', 'x': 1}",
        "Authorization: AWS4-HMAC-SHA256 Credential=AK/hunter2, SignedHeaders=host, Signature=hunter2",
        "Proxy-Authorization: Negotiate hunter2hunter2",
        "Cookie: session=hunter2; other=hunter2",
        "sent Bearer hunter2hunter2",
        "redis://user:hunter2@host:6379/0",
        "redis://:hunter2@host:6379/0",
        "https://hunter2@github.com/x",
        "https://me:hun@hunter2@host/x",
        "redis://:hunter2/x@host",
        "https://me:h\"'hunter2@host",
        "{'password': 'hunter2'}",
        'password: "two hunter2"',
        r"{\"password\": \"hunter2\"}",
        "password=Basic_hunter2",
        "password == hunter2",
        "mypassword1=hunter2",
        "password =\n  hunter2",
        "password:\n  token: hunter2",
        "token: token: hunter2",
        "client-key-data: hunter2",
        "'client_key_data': b'hunter2'",
        "x-api-key: hunter2",
        "AWS_SECRET_ACCESS_KEY=hunter2",
        "passphrase=hunter2",
        '"auth": "hunter2"',
        "https://b.s3.amazonaws.com/k?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2&X-Amz-Security-Token=hunter2&a=1",
        "https://x.blob.core.windows.net/c?sv=2022&sig=hunter2&se=1",
        "https://storage.googleapis.com/b/o?X-Goog-Signature=hunter2",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
        "LS0tLS1CRUdJTiBSU0Ehunter2",
        "ghp_0123456789abcdefhunter2",
        "got eyJhbGciOiJSUzI1.eyJzdWIiOiJ4.hunter2",
    ],
)
def test_a_credential_is_masked_and_the_rest_stays(text: str) -> None:
    masked = redact(f"before {text}\nafter")
    assert SECRET not in masked
    assert masked.startswith("before ")
    assert masked.endswith("\nafter")


def test_a_private_key_without_an_end_is_masked_to_the_end() -> None:
    assert redact("-----BEGIN PRIVATE KEY-----\nhunter2\nmore") == "***"


def test_an_access_key_of_aws_is_masked() -> None:
    assert redact("key AKIAABCDEFGHIJKLMNOP, ASIAABCDEFGHIJKLMNOP") == "key ***, ***"


@pytest.mark.parametrize(
    "text",
    [
        "pod s3://bucket/key:1 created",
        "3 tokens left: waiting",
        "took 0.3 s: fine",
        "http://host:8080/path@x",
        "exceeded quota: q, requested: count/secrets=1, used: count/secrets=12",
        "author: me, authority=you",
        "cannot reach https://host:443/api: refused",
        "2026-01-02T03:04:05Z",
    ],
)
def test_harmless_text_is_left_alone(text: str) -> None:
    assert redact(text) == text
