"""The sentences from which `make.py` writes customer messages, all written for this example."""

from typing import NamedTuple


class Phrases(NamedTuple):
    """Ways to say one thing."""

    seen: tuple[str, ...]
    """Used in both files."""
    unseen: tuple[str, ...] = ()
    """Used in the hold-out only."""


PRODUCTS = {
    "router": ("router", "router", "Wi-Fi router", "new router", "travel router"),
    "camera": ("camera", "camera", "garden camera", "new camera", "outdoor camera"),
    "thermostat": ("thermostat", "thermostat", "hall thermostat", "smart thermostat"),
    "doorbell": ("doorbell", "doorbell", "video doorbell", "new doorbell"),
    "speaker": ("speaker", "speaker", "kitchen speaker", "smart speaker"),
    "plug": ("plug", "plug", "smart plug", "outdoor plug"),
}
"""The product of a record to the words customers use for it."""

HELD_OUT_PAIRS = (
    ("billing", "doorbell"),
    ("delivery", "thermostat"),
    ("technical", "speaker"),
    ("returns", "router"),
    ("accounts", "plug"),
)
"""Team and product that meet in the hold-out only."""

PROBLEMS = {
    "billing": Phrases(
        (
            "I was charged twice for the {p}.",
            "The invoice for my {p} shows the wrong amount.",
            "You took the money for the {p} two times.",
            "My bank statement shows two payments for one {p}.",
            "The discount code was not applied to the {p}.",
            "I paid for the {p} and a week later my card was charged again.",
            "Why is the price of the {p} on the bill higher than on your page?",
            "I need a receipt with VAT for the {p}.",
            "The invoice for the {p} has our old company name on it.",
            "There is a charge on my card for a {p} that I never bought.",
            "Please explain why the bill for the {p} went up.",
            "The {p} was on sale, yet I paid the full price.",
            "My payment for the {p} was declined, but the money is gone.",
            "I would like to pay for the {p} by invoice instead of by card.",
        ),
        (
            "My card was charged a second time for one {p}.",
            "The amount on the invoice for the {p} can't be right.",
            "I never got a receipt after I paid for the {p}.",
            "The bill says full price, but the discount on the {p} was 20 percent.",
            "Two payments left my bank for the same {p}.",
        ),
    ),
    "delivery": Phrases(
        (
            "The {p} hasn't arrived yet.",
            "It seems that my parcel with the {p} is lost.",
            "Tracking for the {p} has said 'in transit' for nine days.",
            "The courier left the {p} with a neighbour I don't know.",
            "The driver marked the {p} as delivered, but there is nothing at my door.",
            "When will the {p} be shipped?",
            "I typed the wrong street, can the parcel with the {p} still be redirected?",
            "The {p} was delivered to the wrong house.",
            "Only half of the delivery came, the {p} is missing from the parcel.",
            "The tracking link for the {p} does not open.",
            "I'm still waiting for the courier with the {p}.",
            "The parcel came open and there was no {p} in it.",
            "The {p} was due last week and has not arrived.",
            "Can the courier drop the {p} at a pick-up point?",
        ),
        (
            "No courier has come with the {p} so far.",
            "The parcel that should hold the {p} is stuck in a depot.",
            "The driver says delivered, yet I have never seen the {p}.",
            "Tracking has not moved since the {p} was shipped.",
            "Has the {p} been delivered to somebody else? It hasn't arrived here.",
        ),
    ),
    "technical": Phrases(
        (
            "The {p} keeps losing the connection every few minutes.",
            "The {p} won't turn on any more.",
            "The light on the {p} blinks red and nothing helps.",
            "Since the last update the {p} has been freezing.",
            "The {p} can't find my Wi-Fi.",
            "I restarted the {p} three times and it still does not work.",
            "The app does not see the {p}.",
            "The {p} makes a loud buzzing noise.",
            "How do I connect the {p} to a second phone?",
            "The {p} shows error 37 and stops.",
            "The firmware update of the {p} hangs at 80 percent.",
            "The {p} gets very slow in the evening.",
            "The {p} drops off the Wi-Fi and has to be restarted.",
            "Which setting makes the {p} less sensitive?",
        ),
        (
            "After the update the {p} won't connect.",
            "My {p} lost its connection and a restart did not help.",
            "A red light blinks on the {p} day and night.",
            "The {p} is freezing whenever I open the app.",
            "The {p} shows an error and won't restart.",
        ),
    ),
    "returns": Phrases(
        (
            "I'd like to send the {p} back.",
            "The {p} has a crack in it, I want another one.",
            "How do I return the {p}?",
            "Please send me a return label for the {p}.",
            "I changed my mind about the {p} and want a refund.",
            "The {p} is the wrong colour, can I exchange it?",
            "I got the wrong model of the {p}, please exchange it.",
            "I returned the {p} last month and heard nothing about the refund.",
            "The {p} is scratched. I want a replacement.",
            "Can I still return the {p} after 30 days?",
            "The {p} doesn't fit on my wall, I want to give it back.",
            "I sent the {p} back to you, when do I get the refund?",
            "My {p} came broken, what about a replacement?",
            "We don't need the {p} and would like to return it.",
        ),
        (
            "The {p} is too big for us and we want to send it back.",
            "Is it possible to exchange the {p} for a white one?",
            "Where is the refund for the {p} I returned?",
            "I need a label to return this {p}.",
            "There is a crack in the {p}, so I expect a replacement.",
        ),
    ),
    "accounts": Phrases(
        (
            "I can't log in to see my {p}.",
            "I forgot the password for the {p}.",
            "The password reset email for my {p} never comes.",
            "My account has been locked since I added the {p}.",
            "How do I add my wife as a user of the {p}?",
            "I have a new email address, please change it on the account with the {p}.",
            "Somebody else seems to have signed in to my {p} account.",
            "Please delete my account, I sold the {p}.",
            "I bought the {p} used and it is still tied to the old owner's account.",
            "The login page says that the profile for my {p} does not exist.",
            "I want to move the {p} to another account.",
            "The login code for the {p} comes too late.",
            "My password for the {p} is not accepted.",
            "Which email did I use for the account of the {p}?",
        ),
        (
            "The account is locked and I can't reach the {p}.",
            "I want to change the password of my {p}, but the login fails.",
            "Please remove the old owner from the account of this {p}.",
            "I can't log in since my email changed, the {p} is on that account.",
            "Could you delete the profile of my old {p} from the account?",
        ),
    ),
}
"""What customers write about, by the team that solves it."""

CUES = {
    "high": Phrases(
        (
            "We need this solved today.",
            "Our shop stays closed until this is solved.",
            "The whole office is standing still.",
            "I leave on Friday and need it before that.",
            "This is urgent!",
            "My mother is alone at home and depends on it.",
            "If nothing happens by tomorrow I will cancel everything.",
            "Guests arrive tomorrow morning.",
            "We are losing customers every hour.",
            "This is the third time I write, next time it's my lawyer.",
            "Please hurry, the deadline is tonight.",
            "I need an answer today, not next week.",
        ),
        (
            "It has to be solved before our guests arrive.",
            "We can't open the shop like this, please help today.",
            "Please answer by tomorrow, this is urgent.",
            "Every hour costs us customers.",
            "My lawyer will write to you if nothing happens tonight.",
        ),
    ),
    "normal": Phrases(
        (
            "",
            "",
            "What should I do?",
            "Please let me know what happens next.",
            "Can you have a look?",
            "I'd be glad about some help.",
            "How do we go on from here?",
            "Your colleague on the phone couldn't help.",
        ),
        ("", "Could you have a look and let me know?", "What happens next?"),
    ),
    "low": Phrases(
        (
            "No rush.",
            "There is no hurry at all.",
            "Whenever you have time.",
            "I was just curious.",
            "I can wait.",
            "Next month is fine.",
            "Just asking for later.",
            "Nothing urgent.",
            "It can wait until after the holidays.",
            "Take your time.",
            "It is not important.",
            "Answer when it suits you, no hurry.",
        ),
        (
            "Take all the time you need, I can wait.",
            "It's not urgent, I was only curious.",
            "An answer next month is fine.",
            "This can wait, it is really not important.",
            "No rush at all, whenever it suits you.",
        ),
    ),
}
"""What tells how soon somebody has to act; normal messages say nothing about it."""

DISTRACTORS = Phrases(
    (
        "The {p} I bought with it works fine.",
        "My {p} is great, by the way.",
        "I also own a {p} and never had a problem with that.",
        "This is not about the {p}, that one is fine.",
        "Please don't mix it up with my {p}.",
        "I was always happy with your {p}.",
        "A friend of mine has the {p} and likes it.",
        "Last year I bought a {p} from you, no problem at all.",
    ),
    (
        "The {p} is fine, this is not about that one.",
        "I never had a problem with the {p} I bought last year.",
        "By the way, we are happy with the {p}.",
    ),
)
"""Remarks about a product that is not the problem."""

ORDER_MENTIONS = Phrases(
    (
        "Order {order}.",
        "My order number is {order}.",
        "(order {order})",
        "It's about order {order}.",
        "Order no. {order}",
        "The confirmation says {order}.",
        "{order} is the order.",
        "Ref: {order}",
    ),
    ("The order in question is {order}.", "You will find it under {order}.", "Number: {order}"),
)
