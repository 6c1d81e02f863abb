"""The words and phrases of the starter's text: everyday ones, and what kind of thing they are."""

import string
from typing import NamedTuple


class Form(NamedTuple):
    """One kind of JSON record that a dialogue fills from a message."""

    title: str
    """Opens the user's message."""
    fields: dict[str, dict[str, tuple[str, ...]]]
    """Field to value to the sentences that imply that value."""
    code_field: str
    """The field that holds a reference copied from the message, or null without one."""


def _split(text: str, separator: str = " ") -> tuple[str, ...]:
    return tuple(text.split(separator))


LETTERS = string.ascii_uppercase

INSTRUCTIONS = (
    "You are a helpful assistant.",
    "Answer in few words.",
    "Answer as briefly as you can.",
    "Read the message and answer with one line.",
    "Fill in the record. Reply with JSON only.",
    "Read the note and reply with one JSON object.",
)

PEOPLE = _split(
    "Anna Ben Carla David Ella Farid Grace Hugo Ines Jonas Kim Lena Marco Nora Omar Paula "
    "Rosa Sam Tara Umar Vera Will Yara Zoe"
)

THINGS = _split(
    "invoice parcel password router camera thermostat doorbell speaker plug letter email box "
    "label courier driver card payment bill refund discount receipt price charge bank account "
    "login code app phone screen button cable battery light window door kitchen house garden "
    "office shop street train ticket garage table chair lamp book paper pencil bag coat shoe "
    "cup plate bread soup coffee music radio picture map key clock address number name message "
    "network connection signal update firmware video sound volume voice motion night heating "
    "temperature room degree wall socket switch power adapter warranty repair replacement "
    "return exchange money subscription plan month website page form link profile setting "
    "user security question answer problem error noise smell smoke scratch delivery warehouse "
    "van neighbour porch depot tracking order item product device unit model manual support "
    "team customer manager family mother father baby child friend guest tenant business meeting "
    "holiday birthday weekend evening morning"
)

EVERYDAY = _split(
    "about above accepted across added advance after again ago alive all almost alone along "
    "already also although always am among amount another answered any anyone anything apart "
    "applied are arrive arrived asking at away back bad be because become before began behind "
    "being below best better between big both bring brought but buy call called came can cannot "
    "care carry caught cause change choose clear close come comes company cook cost could country "
    "course cross cut dance day days deadline dear declined deep delete depends did different do "
    "does done down draw drink drive drop dropped drops during each ear eat eight eleven else end "
    "enough even ever every everything exist eye face fall far feel feet fell felt few field fill "
    "find fine finish first five floor fly follow food foot for forget form four from front full "
    "gave get gets getting give glad go goes going gone good got great greetings ground grow "
    "guess had half hand hang happen happened happens happy hard has hasn have having he head "
    "hear heard heart help helps her here hey high higher him his hold hope hour hours how "
    "hundred hurry idea if inside instead into is it its join jump just keep keeps kept kind knew "
    "know known land language large last laugh lawyer learn least leave left less let life like "
    "likes line listen little live long look looking loses losing lot love low made make makes "
    "many mark marked may me mean men might mile mind mine minute minutes miss mix moment more "
    "most move much must near never next nine no none not note nothing now number of off often "
    "old on once one only or other our ours out outdoor outside over own page part past pay "
    "people pick piece plan play please point present put quite rain raise ran reach read ready "
    "real really reason regards rest ride right road run rush said same save saw say says school "
    "sea second see seem seems seen sell send sensitive serial seven shall she shipped short "
    "should show shows side sign signed since sing sir sister sit six sleep small smart so solve "
    "solved some somebody someone something sometimes soon speak spring stand standing stands "
    "start state stay stays step still stop stopped stops story such suits sure swim take talk "
    "tell ten than thank that the their them then there these they thing think third this those "
    "though thought thousand three through till time times to told tonight too took top toward "
    "transit travel tree true try turn turned twelve twenty twice two type typed under until up "
    "upon us use used usual very visit wait waiting walk want was wash watch water way we wear "
    "week weeks well went were what when where which while who whole why will wish with without "
    "woman word words work working works world would write wrote year years yes yet you young "
    "your yours zero"
)

STARTS = _split(
    "After All And Any As At Because Before But Can Could Dear Did Do Does Each For From Good He "
    "Hello Her Hey Hi His How I If In Is It Kind Last Look Madam May Most My Next No Not Now Of On "
    "One Only Or Our Please Regards She Since Sir So Some Thank Thanks That The Their Then There "
    "These They This Those To Under Until Was We Were What When Where Which While Who Why Will "
    "With You Your"
)

QUALITIES = _split(
    "new old broken empty full heavy light late early quiet loud clean dirty wrong right cheap "
    "expensive slow fast warm cold dead dark bright missing locked open closed damaged cracked "
    "dry wet busy free lost blocked strange urgent simple important safe offline online"
)

ACTIONS = _split(
    "found lost opened closed paid sent received ordered returned repaired cleaned moved bought "
    "sold forgot noticed checked charged cancelled changed installed removed tried restarted "
    "connected disconnected replaced delivered wanted needed asked"
)

PLACES = _split(
    "at home|in the kitchen|at the office|in the garden|by the door|near the station|on the "
    "table|in the box|at the bank|in the shop|next door|upstairs|in the living room|on the "
    "website|in the app|at the front desk|on the porch|in the hall",
    "|",
)

TIMES = _split(
    "today|yesterday|tomorrow|last week|this morning|on Monday|on Tuesday|on Wednesday|on "
    "Thursday|on Friday|on Saturday|on Sunday|in March|in June|in October|two days ago|three "
    "weeks ago|every night|at noon|an hour ago|since the weekend|for a month|right now|soon|"
    "again and again|by the end of the week|whenever there is time|before the holiday",
    "|",
)

OPENINGS = _split(
    "hello|hi there|good morning|please|thanks|sorry|by the way|to be honest|I think|we hope|"
    "as you know|it is true that|perhaps|of course|well|dear all|just a note",
    "|",
)

SENTENCES = (
    "{word1} {word2} {word3} the {thing}.",
    "the {thing} {word1} {word2} {word3}, {word4}.",
    "{word1}, {word2}!",
    "{word1} {word2} {word3} {word4}?",
    "{person} {action} the {thing} {place}.",
    "{person} {action} the {quality} {thing} {time}.",
    "the {thing} is {quality} and the {other} is not.",
    "{opening}, the {thing} was {quality} {time}.",
    "I {action} a {quality} {thing} {place} {time}.",
    "we could not see the {thing} {place}.",
    "is there a {quality} {thing} {place}?",
    "my {thing} does not look {quality} at all.",
    "could you please ask {person} about the {thing}?",
    "{time} {person} and I {action} the {thing} and the {other}.",
    "they have been talking about the {thing} {time}, but not about the {other}.",
    "there is no {thing} here, only a {quality} {other}.",
    "how do I get from the {thing} to the {other}?",
    "{opening}, I would like to know whether the {thing} is still {quality}.",
    "it says that the {thing} can't be {quality} when the {other} is {quality}.",
    "no one {action} anything {time}, which is fine with me.",
    "the {thing} which {person} {action} {time} has a {quality} {other}.",
    "don't worry, the {thing} isn't {quality} any more.",
)

CODE_NOUNS = ("booking", "shelf", "seat", "locker", "flight", "room", "permit", "badge")

VALUE_MENTIONS = (
    "The {noun} is {value}.",
    "({noun} {value})",
    "It is about {noun} {value}.",
    "{noun}: {value}",
    "My {noun} number is {value}.",
    "See {value} for the {noun}.",
    "Number: {value}",
    "Look it up as {value}.",
    "{value} is what the {noun} says.",
)

SCENE_MENTIONS = (
    "Look at the {word}.",
    "There was a {word} somewhere.",
    "I know about the {word} now.",
    "The word {word} came up twice.",
    "They spoke of a {word}.",
    "What a {word}!",
    "Did you notice the {word}?",
    "Nothing but {word} in the picture.",
    "My sister drew a {word} for us.",
    "It began with {word} and went on.",
)

KINDS = {
    "animal": _split("cat dog horse cow sheep goat duck mouse lion tiger bear wolf fox"),
    "food": _split("apple bread rice soup cheese tomato cake butter carrot pasta egg"),
    "colour": _split("red blue green yellow purple orange black white brown grey"),
    "tool": _split("hammer saw drill ladder wrench screwdriver axe shovel brush"),
    "weather": _split("rain snow wind fog storm hail thunder sunshine frost"),
    "device": _split(
        "router camera thermostat doorbell speaker plug lamp radio phone printer screen tablet "
        "clock heater"
    ),
    "money": _split(
        "invoice bill charge charged paid price bank card payment receipt discount amount pay "
        "money euros subscription"
    ),
    "post": _split(
        "parcel courier driver delivered delivery tracking street arrived shipped depot "
        "neighbour transit warehouse van"
    ),
    "fault": _split(
        "error noise blinks freezing slow update firmware restart restarted connection connect "
        "setting app"
    ),
    "entry": _split("password login log account email user sign locked code name security profile"),
    "return": _split(
        "return returned refund exchange replacement label back crack scratched broken wrong "
        "another"
    ),
    "hurry": _split(
        "today now urgent immediately deadline waiting tonight lawyer quickly once alone guests"
    ),
    "calm": _split("whenever later rush hurry month fine someday time reply idea"),
}

FORMS = (
    Form(
        "Weather report",
        {
            "sky": {
                "rain": ("It is pouring.", "Bring an umbrella today.", "Drizzle all day."),
                "snow": ("Everything is white.", "Flakes are falling.", "The slopes got powder."),
                "sun": ("Not a cloud to be seen.", "It is bright and clear.", "Sunshine all over."),
            },
            "wind": {
                "calm": ("No leaf moves.", "The air is still."),
                "storm": ("Trees came down.", "Gusts took the roof off the shed."),
            },
        },
        "station",
    ),
    Form(
        "Library note",
        {
            "kind": {
                "novel": ("A long story about a family.", "It is a piece of fiction."),
                "cookbook": ("It is full of recipes.", "How to make soup and bread."),
                "atlas": ("There are maps on every page.", "It shows all countries."),
            },
            "state": {
                "lent": ("A reader took it home.", "It is out until next week."),
                "here": ("It stands in its place.", "You can have it at once."),
                "lost": ("Nobody can find it.", "It has been gone for years."),
            },
        },
        "shelf",
    ),
    Form(
        "Travel booking",
        {
            "by": {
                "train": ("They go by rail.", "The carriage has a quiet zone."),
                "plane": ("They fly.", "The airport is close to the hotel."),
                "ship": ("They cross the sea.", "The ferry has cabins."),
            },
            "stay": {
                "short": ("One night only.", "They leave the next morning."),
                "long": ("They stay for weeks.", "A whole month away."),
            },
        },
        "booking",
    ),
    Form(
        "Recipe",
        {
            "meal": {
                "breakfast": ("Eat it in the early morning.", "Good with the first coffee."),
                "lunch": ("Serve it at noon.", "For the midday break."),
                "dinner": ("Best in the evening.", "For a late table with guests."),
            },
            "taste": {
                "sweet": ("Add sugar and honey.", "Children will love the syrup."),
                "salty": ("Use a good pinch of salt.", "Olives and bacon go in."),
                "hot": ("The chilli burns.", "Mind the pepper."),
            },
        },
        "page",
    ),
)
