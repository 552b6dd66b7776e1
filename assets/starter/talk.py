"""Dialogues with roles: small talk, questions about topics, and support with facts in the system message."""

from random import Random

import names
import prose
import topics

SMALL = (
    (
        ("Hello", "Hi", "Hey there", "Good morning", "Hi!", "hello", "Good evening", "hey"),
        ("Hello! How can I help you?", "Hi! What can I do for you?", "Hello! What would you like to know?"),
    ),
    (
        ("How are you?", "How is it going?", "How do you do?", "are you well?"),
        ("I am well, thank you. How can I help you?",),
    ),
    (
        ("Thank you!", "Thanks a lot", "thanks", "Thank you very much.", "That helped, thanks.", "Great, thanks!"),
        ("You are welcome!", "Glad to help!", "My pleasure!"),
    ),
    (("Bye", "Goodbye", "See you", "Good night", "That is all, bye."), ("Goodbye!", "Goodbye! Have a good day.")),
    (
        ("Who are you?", "What are you?", "What is your name?", "Are you a person?", "Are you human?"),
        ("I am a small language model, a starter that runs on any computer.",),
    ),
    (
        ("What can you do?", "How can you help me?", "What are you good at?"),
        ("I can answer questions about passages, call tools and explain a few words about data science.",),
    ),
    (
        ("That is wrong.", "You are wrong.", "No, that is not right.", "This answer is bad."),
        ("I am sorry about that. Please tell me what is wrong.", "Sorry! Please tell me more, and I will try again."),
    ),
    (("You are great!", "Good job!", "I like you.", "Well done!"), ("Thank you! That is kind of you.",)),
    (
        ("Tell me a joke.", "Do you know a joke?", "Make me laugh."),
        (
            "Why did the model cross the road? It followed the gradient.",
            "My favourite pet is a mouse. It always clicks.",
        ),
    ),
    (
        ("I am sad.", "I feel bad today.", "I had a hard day."),
        ("I am sorry to hear that. Do you want to talk about it?",),
    ),
    (("Yes", "ok", "Okay.", "Sure", "I see."), ("Good. What would you like to do next?",)),
    (("Tell me a story.", "Write a short story."), None),
    (("Write a list of things.", "Make a list.", "Give me a list."), None),
)
SHOP_FACTS = (
    (
        "The store opens at {hour}.",
        ("When do you open?", "What time does the store open?", "opening hours?"),
        "We open at {hour}.",
    ),
    (
        "The store closes at {hour}.",
        ("When do you close?", "Until when are you open?", "How late are you open?"),
        "We close at {hour}.",
    ),
    (
        "Refunds are possible within {n} days.",
        ("How long can I return an item?", "What is your refund policy?", "Can I get a refund?"),
        "You can get a refund within {n} days.",
    ),
    (
        "Shipping costs {price}.",
        ("How much is shipping?", "What does delivery cost?", "shipping cost?"),
        "Shipping costs {price}.",
    ),
    (
        "Delivery takes {n} days.",
        ("How long does delivery take?", "When will my parcel arrive?"),
        "Delivery takes {n} days.",
    ),
    (
        "The address is {n} {capital} Street in {place}.",
        ("Where are you?", "What is your address?", "Where is the store?"),
        "Our address is {n} {capital} Street in {place}.",
    ),
    (
        "The phone number is {phone}.",
        ("What is your phone number?", "How can I call you?"),
        "Our phone number is {phone}.",
    ),
    (
        "Write to {email} for help.",
        ("What is your e-mail address?", "Where can I write to?"),
        "You can write to {email}.",
    ),
    ("The manager is {person}.", ("Who is the manager?", "Can I speak to the manager?"), "The manager is {person}."),
    (
        "Order {code} was shipped on {date}.",
        ("When was order {code} shipped?", "Where is my order {code}?"),
        "Order {code} was shipped on {date}.",
    ),
    (
        "The {product} costs {price}.",
        ("How much is the {product}?", "What does the {product} cost?"),
        "The {product} costs {price}.",
    ),
    (
        "The {product} is out of stock.",
        ("Do you have the {product}?", "Is the {product} in stock?"),
        "The {product} is out of stock.",
    ),
    (
        "The code {code} gives {n} percent off.",
        ("Do you have a discount code?", "Is there a discount?"),
        "Yes, the code {code} gives {n} percent off.",
    ),
    (
        "Members pay {price} a month.",
        ("What does membership cost?", "How much do members pay?"),
        "Members pay {price} a month.",
    ),
    (
        "We are closed on {weekday}.",
        ("On which day are you closed?", "Are you open every day?"),
        "We are closed on {weekday}.",
    ),
)
NO_FACT = ("I am sorry, I do not know that.", "I am sorry, I do not have that information.")


def small(rng: Random) -> list[dict]:
    """Return one exchange of small talk."""
    asks, replies = rng.choice(SMALL)
    ask = rng.choice(asks)
    reply = rng.choice(replies) if replies else prose.story(rng) if "story" in ask else prose.plain_list(rng)
    return turn(ask, reply)


def turn(ask: str, reply: str) -> list[dict]:
    """Return a user's message and the assistant's."""
    return [{"role": "user", "content": ask}, {"role": "assistant", "content": reply}]


def support(rng: Random) -> list[dict]:
    """Return a support dialogue whose facts stand in the system message; some are missing."""
    rows = rng.sample(SHOP_FACTS, rng.randint(3, 7))
    fills = {
        key: getattr(names, key)
        for key in ("hour", "price", "place", "capital", "phone", "email", "person", "code", "date", "product")
    }
    made = []
    for says, asks, answer in rows:
        fill = {key: make(rng) for key, make in fills.items()}
        fill |= {"n": str(rng.randint(2, 90)), "weekday": names.common(rng, "weekdays")}
        made.append((says.format(**fill), [a.format(**fill) for a in asks], answer.format(**fill)))
    shown = made[:-1]
    shop = names.company(rng)
    system = (
        rng.choice((f"You answer for {shop}.", f"You are the assistant of {shop}.", f"Support desk of {shop}."))
        + " "
        + " ".join(says for says, _, _ in shown)
    )
    messages = [{"role": "system", "content": system}]
    if rng.random() < 0.2:
        messages += turn(rng.choice(SMALL[0][0]), "Hello! How can I help you?")
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.25:
            messages += turn(rng.choice(made[-1][1]), NO_FACT[0] if rng.random() < 0.8 else NO_FACT[1])
        else:
            _, asks, answer = rng.choice(shown)
            messages += turn(rng.choice(asks), answer)
    return messages + (turn("Thanks!", "You are welcome!") if rng.random() < 0.15 else [])


def remembered(rng: Random) -> list[dict]:
    """Return a talk in which something the user said is asked back."""
    name, place, job, pet = names.person(rng), names.place(rng), names.common(rng, "jobs"), names.common(rng, "animals")
    facts = [
        (f"My name is {name}.", "What is my name?", f"Your name is {name}."),
        (f"I live in {place}.", "Where do I live?", f"You live in {place}."),
        (f"I work as a {job}.", "What is my job?", f"You work as a {job}."),
        (f"I have a {pet}.", "Which pet do I have?", f"You have a {pet}."),
    ]
    chosen = rng.sample(facts, rng.randint(1, 3))
    messages = []
    for says, _, _ in chosen:
        messages += turn(says, rng.choice(("Nice to know.", "Thank you for telling me.")))
    rng.shuffle(chosen)
    for _, ask, answer in chosen:
        messages += turn(ask, answer)
    return messages


def document(rng: Random) -> list[dict]:
    """Return one dialogue as messages."""
    way = rng.random()
    if way < 0.35:
        return support(rng)
    if way < 0.45:
        return remembered(rng)
    messages = (
        [
            {
                "role": "system",
                "content": rng.choice(
                    (
                        "You are a helpful assistant.",
                        "You are a friendly tutor.",
                        "Answer briefly.",
                        f"You are {names.person(rng)}, a helpful {names.common(rng, 'jobs')}.",
                    )
                ),
            }
        ]
        if rng.random() < 0.4
        else []
    )
    for _ in range(rng.randint(1, 4)):
        way = rng.random()
        if way < 0.35:
            messages += small(rng)
        elif way < 0.9:
            messages += turn(*topics.question(rng))
        else:
            messages += turn(*topics.exchange(rng))
    return messages
