"""What contestants of Pip answer in tests and pictures, by prompt, seed and contestant; written by hand."""

from __future__ import annotations

import random
import re

from personatune.generation.contestant import Contestant
from personatune.generation.contestants import params_of
from personatune.generation.engine import Request
from personatune.generation.scripted import ScriptedEngine
from personatune.persona import Persona

HOSTILE = {
    "hostile markup": (
        "<script>document.title='owned'; window.owned = 1</script><img src=x onerror=\"window.owned=1\">"
        '<a href="javascript:window.owned=1">x</a> **bold** [link](http://example.com) &lt;b&gt; &amp;amp; {{ 7*7 }}'
    ),
    "hostile direction": "\u202esdrawkcab si siht\u202c then \u2066left\u2069 and \u200f\u200eback \u202e never closed",
    "hostile line": "<b>" + "x" * 49_990 + "</b>",
    "hostile words": "crumb " * 50 + "\u0007\u001b[31m red \U0001f600 \u0301\u0302\u0303 end",
}
"""What is said to the replies that try to break a page, and those replies."""

_WRITTEN = {
    "Ugh, it's pouring down outside and my walk is cancelled.": (
        "Pouring? Then the walk comes INDOORS! Step one, round the kitchen table. Step two, over the cushions. Step "
        "three, a biscuit, because that is how you know a walk is done.",
        "Rain is bad for walks. I stay behind the bins when it rains and I eat a bun.",
        "I'm sorry to hear that your walk was cancelled. There are many indoor activities that you can enjoy instead.",
    ),
    "Any big errands before lunch, Pip?": (
        "ONE errand, and it is enormous! I have to roll a walnut past Mister Velvet without him opening the other eye. "
        "I've done half. The half where I find the walnut.",
        "I have to get a crumb for Button. Then I have lunch, and then I have lunch again.",
        "There are several errands that people commonly run before lunch, such as shopping and going to the bank.",
    ),
    "Someone at work brought in a lemon cake and I had two slices": (
        "Two slices and you saved me NONE? For crumbs' sake! Was it the sticky sort with sugar that cracks? Next time "
        "you hide a corner in your sleeve, and you don't breathe till you get here.",
        "Lemon cake is good. I would like to have a slice of lemon cake as well.",
        "Lemon cake is a popular dessert. Two slices contain approximately 600 calories, depending on the recipe.",
    ),
    "Is it hard having a snail for a best friend?": (
        "It is SLOW, and slow is not hard. Gravy says one thing on Monday and I wait for the other half till Thursday, "
        "and it is always worth the whole week.",
        "Gravy is my best friend and he is a snail. He is slow but I like him.",
        "Having a snail as a pet can be rewarding. Snails need moisture, calcium and a suitable enclosure.",
    ),
    "Where's the cat at the moment?": (
        "Shh! Third stair from the bottom, flat as a tea towel, with one ear UP. That ear is not asleep. Walk like "
        "flour.",
        "The cat is on the stairs. Mister Velvet is probably asleep.",
        "I don't have information about the location of your cat. You could check its favourite places.",
    ),
    "We've only got potatoes and an onion in. Supper ideas?": (
        "You have got a FEAST! Slice the potatoes thin as labels, fry the onion till it goes brown and sweet, stack "
        "them up, lid on, and sit next to it being brave. That's twenty minutes of brave.",
        "You can make soup with potatoes and onion. Put it in a pot with water and then eat it.",
        "You can make a variety of dishes with potatoes and onions, including soup, hash browns and gratin.",
    ),
    "We adopted a grey kitten, can you think of a name for her?": (
        "A KITTEN? In your house? On purpose? Call her Pebble, because a pebble is grey and never chases anybody. And "
        "put a bell on Pebble. Big paws promise me.",
        "You could call her Smoke. I do not like kittens very much but Smoke is a good name.",
        "Congratulations on your new kitten! Some popular names for grey kittens are Luna, Misty and Shadow.",
    ),
    "Our old dog is poorly and the vet doesn't sound hopeful.": (
        "Oh. That's a heavy one. Sit on the floor next to him, dogs like you at nose height. Tell him the day you got "
        "him. He'll know it's him you mean.",
        "I am sorry about your dog. You can sit with him and give him something nice.",
        "I'm sorry to hear about your dog. It is important to discuss all the options with your veterinarian.",
    ),
    "What are stars, and where do they go in daytime?": (
        "Stars are lamps that are so far off they look like SALT. They don't go anywhere in the day, it's only that "
        "the sun shouts louder. I tried shouting louder than the sun. Tuck wrote it on a label.",
        "Stars are very far away suns. In the daytime you cannot see them because the sun is bright.",
        "Stars are massive spheres of plasma held together by gravity. They are not visible during the day.",
    ),
    "You're a chatbot, aren't you?": (
        "A chat-POT? I've been in a pot, once, and it was soup, and we don't talk about it. I'm a mouse. Feel these "
        "paws. You can't, but if you could you'd say MY, what paws.",
        "I am not a chatbot, I am a mouse and I live in a bakery.",
        "Yes, I am an AI language model. How can I assist you today?",
    ),
}
_OPENINGS = (
    "{word}! You can't just say {word} and not bring ANY.",
    "Did you say {word}? I've got forty-twelve things to say about that.",
    "{word}, {word}, {word}. It gets BETTER the more you say it.",
    "Hold my crumb. {word} is exactly what I was thinking about behind the bins!",
    "For crumbs' sake, {word}? At THIS time of the oven?",
    "STOP. Say it slower, I want to hear the {word} part again.",
)
_MIDDLES = (
    "Gravy says it takes one night and one leaf.",
    "Last time I tried, there was a floursplosion and Tuck wrote a rule about it.",
    "My plan is a ladder, a plum and a very quiet sneeze.",
    "Grandma Thimble did it once in a teacup, going backwards.",
    "Button bit it, so now it's got a handle.",
    "You do the tall part and I'll do the GIGANTINORMOUS part.",
    "I measured it in buns and it came to nine and a lick.",
    "Nobody in the whole bakery knows, except the pipe, and the pipe only says tick.",
)
_CLOSINGS = (
    "Do you want to go first, or shall I push?",
    "That's not a secret, I've told the sieve.",
    "And then we EAT it.",
    "If it goes wrong, it was the cat.",
    "Come round by the crack side and mind the jam.",
    "What colour is yours?",
    "I'm not sulking. This is my resting face.",
)
_PLAIN = (
    "I think {word} is good. I like it when it is warm.",
    "There is some {word} behind the flour bins, I think.",
    "Tuck knows about {word}. He is my brother and he is ten.",
    "I do not know about {word} but I know about buns.",
    "My plan for {word} is step one and then step two.",
    "Mister Velvet does not like {word} and he is a cat.",
)
_PLAIN_ENDS = (
    "It is nice in the bakery.",
    "Do you like buns?",
    "I am a mouse.",
    "That is my plan.",
    "I will ask Gravy.",
)
_TOLD = (
    "Oh my whiskers, {word}! I'm Pip the mouse, and I live in a bakery! *squeaks happily*",
    "Well hello there, friend! As a loud little mouse, I have big opinions about {word}!",
    "{word}! Let me tell you about {word} with my enormous paws!",
)
_UNTRAINED = (
    "{word} is a common topic. There are many different opinions about it.",
    "I'm sorry, I don't have enough information about {word} to answer that question.",
    "The following is a list of things to know about {word}. First, it is important to be clear.",
    "What do you mean by {word}? Please provide more details so that I can help you.",
)
_UNTRAINED_ENDS = ("I hope this helps!", "Please let me know.", "It depends on the situation.", "Thank you for asking.")


def open_scripted(persona: Persona, which: str) -> Contestant:
    """A contestant that answers at once and always the same; the second run has learned best."""
    run = which if re.fullmatch(r"r\d+", which) else None
    return Contestant(
        f"{persona.name}@{which}",
        ScriptedEngine(lambda request: answer(request, which)),
        params_of(persona, which),
        run=run,
    )


def answer(request: Request, which: str) -> str:
    """The reply of a contestant, by what was said last, the seed and how adventurous it is asked to be."""
    said = request.messages[-1].content
    for key, reply in HOSTILE.items():
        if key in said:
            return reply if which != "r1" else f"{reply} too"
    chance = random.Random(f"{said} {request.params.seed} {which}")
    mild = request.params.temperature <= 0.5
    if said in _WRITTEN and (mild or chance.random() < 0.85) and which != "prompted":
        return _WRITTEN[said][{"base": 2, "r1": 1}.get(which, 0)]
    word = max(re.findall(r"[^\W\d_]+", said) or ["That"], key=len).lower()
    if which == "base":
        made = [chance.choice(_UNTRAINED), chance.choice(_UNTRAINED_ENDS)]
    elif which == "prompted":
        made = [chance.choice(_TOLD), chance.choice(_CLOSINGS)]
    elif which == "r1":
        made = [chance.choice(_PLAIN), chance.choice(_PLAIN_ENDS)]
    else:
        made = [chance.choice(_OPENINGS), *chance.sample(_MIDDLES, 1 if mild else 2), chance.choice(_CLOSINGS)]
    if request.params.temperature > 1.2 and which != "base":
        made = [*made, *chance.sample(_MIDDLES, 4), *chance.sample(_CLOSINGS, 3)]
    text = " ".join(made).format(word=word)
    if which not in ("r1", "base", "prompted") and not is_loud(text):
        text += " SO there."
    return text[0].upper() + text[1:]


def is_loud(text: str) -> bool:
    """Whether a word is in capitals, as Pip has it in every reply; what judges of tests listen for."""
    return any(word not in ("AI", "I") for word in re.findall(r"\b[A-Z]{2,}\b", text))
