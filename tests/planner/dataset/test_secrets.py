import pytest

from services.planner.dataset import secrets
from tests.planner.dataset.views import found_in, views

# None of them opens anything: published examples, or made up here in two parts so that scanners
# of repositories do not take them for real ones.
KEYS = {
    "an AWS access key": "AKIA" + "IOSFODNN7EXAMPLE",
    "a GitHub token": "ghp_" + "0123456789abcdefABCDEF0123456789abcd",
    "a Slack token": "xoxb-" + "123456789012-abcdefghij",
    "a Stripe key": "sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc",
    "an API key": "sk-" + "proj-abcDEF1234567890abcdef",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0.abc-123_x",
    "a private key": "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    "a password in an address": "postgres://app:" + "hunter2@db.example.com/rides",
    "a password or key": "password: " + "Tr0ub4dor&3",
    "a bearer token": "Authorization: Bearer " + "abcdefghijklmnop1234567890",
}


@pytest.mark.parametrize(("kind", "value"), KEYS.items())
def test_each_kind_is_found_and_never_shown(kind, value):
    (finding,) = secrets.find(views(("Look", f"Use {value} for it")))
    assert (finding.line, finding.code) == (1, "secret_found")
    assert finding.field == "messages[1].content"
    assert kind in finding.message
    assert value.split()[-1][-8:] not in finding.message


@pytest.mark.parametrize(
    "text",
    [
        'password = os.environ["DB_PASSWORD"]  # never write it into the file',
        "How do I reset my password?",
        "The token is expired, the secret is practice.",
        "password: ********",
        "api_key=YOUR_API_KEY, PASSWORD=<your password>",
        "https://user:<password>@host/x and https://user:password@host/x",
        "max_tokens: 4096",
        "token: str = None",
        "sk-learn is a library for machine learning",
        "password is at least 12 characters",
    ],
)
def test_talk_of_secrets_is_none(text):
    assert secrets.spans(text) == []


def test_a_private_key_is_covered_to_its_end():
    text = f"x {KEYS['a private key']} y"
    (span,) = secrets.spans(text)
    assert text[: span.start] + text[span.end :] == "x  y"


def test_one_finding_for_a_text_with_several():
    rows = views((KEYS["a Slack token"], " ".join([KEYS["a GitHub token"]] * 2)))
    assert found_in(secrets.find(rows)) == [(1, "secret_found"), (1, "secret_found")]
