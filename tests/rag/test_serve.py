"""A collection behind OpenAI's API: the model answers from it, the sources come along, and nothing is made up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from engine.serve import Service, running
from engine.serving.served import Listing
from engine.settings import ROOT
from rag.collection import Collection
from rag.opened import forgotten
from rag.serve import collections, passages_for, service
from tests.engine.served import MODEL, ScriptedPool, Stand

ASK = [{"role": "user", "content": "When was the blackberry festival of Harrow founded?"}]


@pytest.fixture
def server(town: Collection) -> Iterator[Stand]:
    pool = ScriptedPool(lambda prompt: ["In 1921 ", "[1]."])
    answering = Service(Listing([MODEL], passages_for, collections), pool=lambda: pool)
    with running(answering) as url:
        yield Stand(url, answering, pool)
    forgotten(town.name)


def test_a_model_answers_from_a_collection_and_names_its_sources(server: Stand, town: Collection):
    client, name = server.client(), f"scripted@{town.name}"
    assert name in [model.id for model in client.models.list()]
    reply = client.chat.completions.create(model=name, messages=ASK)
    sources = reply.model_extra["sources"]
    assert reply.choices[0].message.content == "In 1921 [1]." and [one["number"] for one in sources] == [1, 2, 3]
    assert any(one["source"].endswith("festival.md") and "1921" in one["text"] and one["page"] == 1 for one in sources)
    prompt = server.pool.loop.asked[0].begin.prompt
    assert all(one["text"][:40] in prompt for one in sources) and "Question: When was" in prompt


def test_a_question_beside_the_documents_is_not_answered_by_the_model(server: Stand, town: Collection):
    far = [{"role": "user", "content": "How do I bake sourdough bread in a dutch oven?"}]
    reply = server.client().chat.completions.create(model=f"scripted@{town.name}", messages=far)
    assert "The documents do not say" in (reply.choices[0].message.content or "")
    assert reply.model_extra["sources"] == [] and not server.pool.loop.asked


def test_the_apps_own_server_knows_the_collections(town: Collection):
    names = service().listing.names()
    assert f"starter@{town.name}" in names and f"starter-shawgpt@{town.name}" in names


def test_serve_is_a_command_of_rag():
    done = subprocess.run(
        [sys.executable, "-m", "rag", "serve", "--keys"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "There are no keys." in done.stdout, done.stderr
