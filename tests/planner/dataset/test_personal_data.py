import pytest

from services.planner.dataset import personal_data
from tests.planner.dataset.views import found_in, views

# Reserved for examples: RFC 2606, 555-01xx, Ofcom's drama numbers, test cards, textbook accounts.
FOUND = [
    ("pii_email", "anna.lindqvist@example.com"),
    ("pii_phone", "+1 202-555-0147"),
    ("pii_phone", "(202) 555-0147"),
    ("pii_phone", "202.555.0147"),
    ("pii_phone", "+44 20 7946 0958"),
    ("pii_phone", "020 7946 0958"),
    ("pii_phone", "+49 (0)30 123456"),
    ("pii_phone", "06 12 34 56 78"),
    ("pii_phone", "call 555-0147"),
    ("pii_phone", "tel:+44 20 7946 0958"),
    ("pii_phone", "+44 20 7946 0958 2026"),
    ("pii_card", "4111 1111 1111 1111"),
    ("pii_card", "5500-0000-0000-0004"),
    ("pii_card", "378282246310005"),
    ("pii_iban", "DE89 3704 0044 0532 0130 00"),
    ("pii_iban", "GB29NWBK60161331926819"),
    ("pii_iban", "FR14 2004 1010 0505 0001 3M02 606"),
]


@pytest.mark.parametrize(("code", "value"), FOUND)
def test_each_kind_is_found_once_and_never_shown(code, value):
    (finding,) = personal_data.find(views((f"It is {value}, thanks.", "Fine.")))
    assert (finding.line, finding.code, finding.field) == (1, code, "messages[0].content")
    assert value[-6:] not in finding.message


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21 12:30, 01.02.2024, 2024/01/02",
        "order 12345678, train 4712 at 08:30",
        "10.0.0.1 and 192.168.100.200, version 1.2.3.4",
        "3,000,000 people, 0.12345678",
        "git@github.com:a/b and @app.route and a @ b",
        "1 2 3 4 5 6 7 8 9 10 11 12",
        "4111 1111 1111 1112",
        "DE89 3704 0044 0532 0130 01",
        "ISBN 978-0-306-40615-7",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_other_numbers_are_none(text):
    assert personal_data.spans(text) == []


def test_the_login_of_an_address_is_no_e_mail():
    address = "postgres://app:" + "hunter2@db.example.com/rides"
    assert personal_data.spans(f"Use {address}") == []


def test_kinds_are_counted_by_text():
    rows = views(("a@example.com, b@example.org", "+1 202-555-0147"))
    findings = personal_data.find(rows)
    assert found_in(findings) == [(1, "pii_email"), (1, "pii_phone")]
    assert findings[0].message == "Holds 2 e-mail addresses."


def test_masking_leaves_kinds():
    text = "Mail a@example.com or call +1 202-555-0147, password: " + "Tr0ub4dor&3 x"
    masked = "Mail [e-mail address] or call [phone number], password: [secret] x"
    assert personal_data.mask(text) == masked
