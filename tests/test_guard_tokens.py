"""Bearer tokens, against a real issuer: which are taken, and that every other kind is refused."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from issuers import AUDIENCE, issuer
from modelyard.core.errors import ServingError
from modelyard.serving.guard import issuer as issuers
from modelyard.serving.guard.issuer import Issuer
from modelyard.serving.guard.limit import Limit
from modelyard.serving.guard.tokens import LEEWAY, Tokens
from modelyard.serving.problem import HttpProblem


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with issuer(tmp_path_factory.mktemp("issuer")) as started:
        yield started


@pytest.fixture
def tokens(running):
    return Tokens(Issuer(running.url), AUDIENCE, Limit.a_minute())


def find(tokens: Tokens, token: str):
    return asyncio.run(tokens.find(token.encode()))


def refused(tokens: Tokens, token: str) -> str:
    with pytest.raises(HttpProblem) as caught:
        find(tokens, token)
    assert caught.value.status == 401
    said = dict(caught.value.headers)[b"www-authenticate"].decode()
    assert 'error="invalid_token"' in said
    assert not tokens._known
    return caught.value.detail


def test_a_token_of_the_issuer_lets_its_subject_in(tokens, running):
    caller = find(tokens, running.token("predict labels"))
    assert (caller.id, caller.bucket, caller.permissions) == ("ward", "token:ward", {"predict", "labels"})
    assert caller.ends == pytest.approx(time.time() + 3_600 + LEEWAY, abs=60)


def test_expired(tokens, running):
    now = int(time.time())
    assert refused(tokens, running.signed(exp=now - 60)) == "The token has expired."
    assert find(tokens, running.signed(exp=now - 5)).id == "ward"  # clocks may differ


def test_not_good_yet(tokens, running):
    assert refused(tokens, running.signed(nbf=int(time.time()) + 300)) == "The token is not good yet."
    assert find(tokens, running.signed(nbf=int(time.time()) + 5)).id == "ward"


def test_another_audience(tokens, running):
    assert refused(tokens, running.token(resource="https://other.example")) == "The token is for another audience."
    assert find(tokens, running.signed(aud=["https://other.example", AUDIENCE])).id == "ward"


def test_another_issuer(tokens, running):
    assert refused(tokens, running.signed(iss="https://other.example")) == "The token is from another issuer."
    assert refused(tokens, running.signed(iss=running.url + "/")) == "The token is from another issuer."


@pytest.mark.parametrize("claim", ["exp", "iss", "aud"])
def test_a_claim_is_missing(tokens, running, claim):
    assert refused(tokens, running.signed(**{claim: None})) == "The token lacks one of exp, iss and aud."


def test_no_subject(tokens, running):
    assert refused(tokens, running.signed(sub=None, client_id=None)) == "The token names no subject."
    assert find(tokens, running.signed(sub=None)).id == "ward"  # by its client_id


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None])
@pytest.mark.parametrize("kid", [True, False])
def test_unsigned(tokens, running, alg, kid):
    head, claims, signature = running.token().split(".")
    known = jwt.get_unverified_header(running.token())
    header = part(({"kid": known["kid"]} if kid else {}) | {"alg": alg, "typ": "JWT"})
    way = "The token is not signed in a way that is accepted."
    assert refused(tokens, f"{header}.{claims}.") == way
    assert refused(tokens, f"{header}.{claims}.{signature}") == way
    assert refused(tokens, f"{head}.{claims}.") != ""  # said to be signed, but is not


def test_signed_with_the_public_key_as_a_shared_secret(tokens, running):
    _, claims, _ = running.token().split(".")
    header = part(jwt.get_unverified_header(running.token()) | {"alg": "HS256"})
    signature = hmac.digest(running.public_key, f"{header}.{claims}".encode(), hashlib.sha256)
    forged = f"{header}.{claims}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert refused(tokens, forged) == "The token is not signed in a way that is accepted."


def test_signed_by_somebody_else_under_a_known_or_unknown_key_id(tokens, running):
    mine = rsa.generate_private_key(65537, 2048)
    claims = jwt.decode(running.token(), options={"verify_signature": False})
    known = jwt.get_unverified_header(running.token())["kid"]
    assert refused(tokens, jwt.encode(claims, mine, "RS256", {"kid": known})) == "The token's signature is wrong."
    assert "does not have" in refused(tokens, jwt.encode(claims, mine, "RS256", {"kid": "mine"}))
    assert "does not have" in refused(tokens, jwt.encode(claims, mine, "RS256"))
    embedded = {
        "kid": "mine",
        "jku": f"{running.url}/mine",
        "jwk": json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(mine)),
    }
    assert "does not have" in refused(tokens, jwt.encode(claims, mine, "RS256", embedded))


def test_another_way_of_signing_than_the_key_is_for(tokens, running):
    assert "accepted" in refused(tokens, running.signed({"alg": "RS512"}))


def test_claims_changed_after_signing(tokens, running):
    head, claims, signature = running.token("predict").split(".")
    changed = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"scope": "admin"}
    assert refused(tokens, f"{head}.{part(changed)}.{signature}") == "The token's signature is wrong."


@pytest.mark.parametrize(
    ("claims", "permissions"),
    [
        ({"scope": "m:predict openid m:labels predict"}, {"predict", "labels"}),
        ({"scope": None, "scp": ["m:explain", 7]}, {"explain"}),
        ({"scope": None, "scp": "m:admin"}, {"admin"}),
        ({"scope": None}, set()),
        ({"scope": {"m:admin": 1}}, set()),
        ({"scope": None, "roles": ["m:admin"]}, set()),
    ],
)
def test_permissions_are_scopes_with_the_prefix(running, claims, permissions):
    tokens = Tokens(Issuer(running.url), AUDIENCE, Limit.a_minute(), prefix="m:")
    assert find(tokens, running.signed(**claims)).permissions == permissions


def test_a_token_is_verified_once_and_remembered_until_it_expires(tokens, running, monkeypatch):
    token = running.signed(exp=int(time.time()) + 60)
    caller = find(tokens, token)
    monkeypatch.setattr(tokens._jwt, "decode", lambda *_, **__: pytest.fail("verified again"))
    assert find(tokens, token) is caller
    assert token.encode() not in repr(tokens._known).encode()
    monkeypatch.setattr(time, "time", lambda: caller.ends)
    assert refused(tokens, token) == "The token has expired."


def test_not_more_tokens_are_remembered_than_fit(tokens, running, monkeypatch):
    monkeypatch.setattr("modelyard.serving.guard.tokens._MOST", 3)
    for i in range(6):
        assert find(tokens, running.signed(jti=f"{i}")).id == "ward"
    assert len(tokens._known) == 3


def test_a_key_the_issuer_begins_to_sign_with_is_fetched(tokens, running, monkeypatch):
    before = running.token()
    assert find(tokens, before)
    running.rotate()
    after = running.token()
    assert jwt.get_unverified_header(after)["kid"] != jwt.get_unverified_header(before)["kid"]
    assert "does not have" in _only_detail(tokens, after)  # fetched a moment ago: not asked again so soon
    monkeypatch.setattr(issuers, "_PAUSE", 0.0)
    assert find(tokens, after)
    assert find(tokens, running.signed(jti="x"))


def _only_detail(tokens: Tokens, token: str) -> str:
    with pytest.raises(HttpProblem) as caught:
        find(tokens, token)
    return caught.value.detail


def test_made_up_key_ids_are_not_requests_to_the_issuer(running, monkeypatch):
    source = Issuer(running.url)
    reads = []
    read = source._read
    monkeypatch.setattr(source, "_read", lambda: reads.append(1) or read())

    async def ask():
        return await asyncio.gather(*(source.key(f"made up {i}") for i in range(100)))

    assert set(asyncio.run(ask())) == {None}
    assert len(reads) == 1


def test_keys_are_fetched_again_beside_the_requests(running, monkeypatch):
    source = Issuer(running.url)
    known = jwt.get_unverified_header(running.token())["kid"]

    async def ask():
        assert await source.key(known)
        monkeypatch.setattr(issuers, "_FRESH", 0.0)
        monkeypatch.setattr(issuers, "_PAUSE", 0.0)
        fetched = source._fetched
        assert await source.key(known)
        assert source._fetched == fetched  # it did not wait for the fetch
        await source._behind
        assert source._fetched > fetched

    asyncio.run(ask())


def test_an_issuer_that_is_another_one_and_then_is_gone(tokens, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(issuers, "_PAUSE", 0.0)
    with issuer(tmp_path) as started:
        assert "a key that the issuer does not have" in refused(tokens, started.token())
        tokens = Tokens(Issuer(started.url), AUDIENCE, Limit.a_minute())
        known, later = started.signed(jti="1"), started.signed(jti="2")
        assert find(tokens, known)
        fresh = Tokens(Issuer(started.url), AUDIENCE, Limit.a_minute())
    assert find(tokens, known)
    assert find(tokens, later)  # its keys are kept for a while
    for gone, why in ((fresh, None), (tokens, "_STALE")):
        if why:
            monkeypatch.setattr(issuers, why, 0.0)
            gone._known.clear()
        with pytest.raises(HttpProblem) as caught:
            find(gone, later)
        assert caught.value.status == 503
        assert (b"retry-after", b"1") in caught.value.headers
    assert json.loads(caplog.records[0].getMessage())["event"] == "issuer_lost"
    assert later not in caplog.text


def test_an_issuer_that_calls_itself_otherwise_is_not_believed(running, caplog):
    tokens = Tokens(Issuer(running.url.replace("127.0.0.1", "localhost")), AUDIENCE, Limit.a_minute())
    with pytest.raises(HttpProblem) as caught:
        find(tokens, running.token())
    assert caught.value.status == 503
    assert "calls itself" in caplog.text


@pytest.mark.parametrize(
    "url", ["http://issuer.example", "ftp://localhost", "issuer.example", "file:///etc/passwd", ""]
)
def test_an_issuer_is_an_https_address(url):
    with pytest.raises(ServingError, match="not an https address"):
        Issuer(url)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
headers = st.fixed_dictionaries(
    {"alg": st.sampled_from(["RS256", "ES256", "EdDSA", "HS256", "none", 7]) | json_values},
    optional={"kid": json_values, "crit": json_values, "b64": json_values, "zip": json_values, "typ": json_values},
)


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(lambda *p: b".".join(p), st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60)),
        st.builds(lambda h, c, s: f"{part(h)}.{part(c)}.{part(s)}".encode(), headers, json_values, st.text(max_size=9)),
    )
)
def test_whatever_is_sent_as_a_token_is_refused_and_nothing_breaks(tokens, loop, sent):
    with pytest.raises(HttpProblem) as caught:
        loop.run(tokens.find(sent))
    assert caught.value.status == 401
