"""A task in, payloads to try it with out. Data; knows no model and no page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emberank.contract.inference import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A payload: `items` are passages or inputs, `options` what else of the form it sets. `query` is a reranker's."""

    id: str
    title: str
    note: str
    items: tuple[str, ...]
    query: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


_LIGHTHOUSE = (
    "The lighthouse stands on the outer of three rocks, and from the shore it looks as if it grew out of the water. It was built in four summers, because in winter "
    "no boat could land. Every stone was cut on the mainland, numbered, and fitted to its neighbours before it was shipped. The first keeper came from the village and "
    "brought his family, two goats and a piano, of which only the goats proved to be suited to the place. Supplies came once a fortnight in good weather. In bad weather "
    "they did not come, and the family lived on dried fish, potatoes and what the goats gave. Rain from the roof was led into a tank under the stairs; in the third year "
    "the tank cracked, and water had to be brought as well. The lamp burned rape oil at first and paraffin later, and its clockwork had to be wound every four hours, day "
    "and night. In fog a bell was rung by hand. The keeper wrote down the weather six times a day in a book that is now in the museum. Since 1988 the light has been "
    "electric and nobody lives there. A cable from the shore feeds it, and if the cable fails a battery keeps the lamp burning for nine days. Once a year two engineers "
    "land by helicopter to clean the lens. The keeper's house is let to ornithologists in spring, when some four thousand pairs of puffins nest on the rocks."
)
_BREAD = (
    "A sourdough begins with flour and water and patience. For the first three days little seems to happen; on the fourth it smells of apples, then of vinegar, and it "
    "rises. From then on it is fed once a day with as much flour as it weighs. Strong flour makes a better crumb, rye flour a livelier culture. On the evening before "
    "baking, a spoonful is stirred into a bowl of flour and water and left on the table. By morning it floats in water, which says that it is ready. Salt is added late, "
    "because it slows the culture down. The dough is folded every half hour for three hours, shaped, and put into a basket. A hot iron pot keeps the steam in, and with it "
    "the crust stays soft long enough for the loaf to open. The bread is done when it sounds hollow; it must cool before it is cut, or the crumb turns to glue. If the "
    "kitchen is cold everything takes longer, and nothing is lost by it: a slow dough tastes better. What is left of the culture keeps for two weeks in the refrigerator."
)

_RANKING = (
    Sample(
        id="first",
        title="Three passages",
        note="The catalogue's own example: which passage answers the question?",
        query="what is retrieval augmented generation?",
        items=(
            "Retrieval augmented generation combines search over external documents with language model generation.",
            "A graphics processing unit accelerates parallel numerical workloads.",
            "Embeddings map text into vectors for semantic search.",
        ),
    ),
    Sample(
        id="support",
        title="Support search",
        note="A customer's words, and articles that share few of them.",
        query="I was charged twice for one order, how do I get my money back?",
        items=(
            "Duplicate payments: if your statement shows the same amount two times, the second one is usually a reservation that lapses within five days. If it was "
            "booked, send us both transaction numbers and we return it to the card that was used.",
            "To change the address of an order that has not been shipped yet, open it under My orders and choose Edit delivery.",
            "Vouchers cannot be combined. Each order takes one code; enter it before you choose how to pay.",
            "Returns are free for thirty days. Print the label, hand the parcel in, and the price is refunded within a week of its arrival.",
            "We accept cards, bank transfer and payment on invoice. For an invoice we ask a credit agency.",
            "If a parcel is shown as delivered and you do not have it, ask your neighbours first, then report it to us within ten days.",
        ),
    ),
    Sample(
        id="languages",
        title="Many languages",
        note="One question, passages in seven languages: for models that read several. One that reads English alone goes by the English ones.",
        query="how do I reset my password?",
        items=(
            "Ein neues Kennwort können Sie auf der Anmeldeseite unter „Kennwort vergessen“ anfordern.",
            "Nos bureaux sont ouverts du lundi au vendredi, de neuf heures à dix-sept heures.",
            "Para restablecer su contraseña, pulse el enlace que le enviamos por correo electrónico.",
            "パスワードを忘れた場合は、ログイン画面から再設定できます。",
            "Zmiana adresu dostawy jest możliwa do chwili wysłania paczki.",
            "您可以在登录页面点击“忘记密码”来重设密码。",
            "You can choose a new password from the link on the sign-in page.",
            "Our newsletter comes out on the first Monday of the month.",
        ),
    ),
    Sample(
        id="long",
        title="Long documents",
        note="Each document is read in pieces of 64 tokens; the best piece counts, and is marked in the answer.",
        query="what happens to the light when the power cable breaks?",
        items=(_BREAD, _LIGHTHOUSE, "A power cable under the sea is laid by a ship that ploughs a trench for it."),
        options={"chunks": "20", "cut": "64"},
    ),
)
_EMBEDDING = (
    Sample(
        id="topics",
        title="Three topics",
        note="Cooking, astronomy and football: sentences of one topic should lie together.",
        items=(
            "Simmer the tomatoes with garlic until the sauce is thick.",
            "Knead the dough for ten minutes and let it rise.",
            "Roast the vegetables in a hot oven with a little oil.",
            "The telescope saw light from a galaxy thirteen billion years away.",
            "Jupiter's largest moons can be seen with binoculars.",
            "A comet's tail always points away from the sun.",
            "The goalkeeper saved the penalty in the last minute.",
            "Both teams were level at half time.",
            "The striker was sent off after a second yellow card.",
        ),
    ),
    Sample(
        id="meaning",
        title="Same words, other meaning",
        note="What a sentence means should count for more than which words it has.",
        items=(
            "The bank raised its interest rates again.",
            "Savers earn more since the lender's decision.",
            "We had a picnic on the bank of the river.",
            "The stream was lined with willows, and we ate beneath them.",
            "The match was lit in the dark cellar.",
            "She struck a light to see the stairs.",
            "The match ended without a goal.",
            "Neither side scored all afternoon.",
        ),
    ),
    Sample(
        id="languages",
        title="Many languages",
        note="Two sentences in four languages: for models that read several.",
        items=(
            "The train to the coast leaves at seven.",
            "Der Zug an die Küste fährt um sieben Uhr ab.",
            "Le train pour la côte part à sept heures.",
            "El tren a la costa sale a las siete.",
            "Our cat sleeps on the warm radiator.",
            "Unsere Katze schläft auf der warmen Heizung.",
            "Notre chat dort sur le radiateur chaud.",
            "Nuestro gato duerme sobre el radiador caliente.",
        ),
    ),
)


def samples_of(task: Task) -> tuple[Sample, ...]:
    """The payloads for a task; the first is what the form begins with."""
    return _RANKING if task == "rank" else _EMBEDDING
