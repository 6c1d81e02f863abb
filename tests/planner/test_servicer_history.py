"""Lists, single calls, comparisons and restorations through real gRPC."""

from uuid import uuid4

from attune.planner.v1 import catalogue_pb2, planner_pb2
from attune.spec.v1 import spec_pb2

from services.common import peers as clients
from tests.planner.planner_service import PARENT, running_planner


async def test_conversations_are_listed_newest_first_without_their_turns(service):
    spec = await service.proposed()
    other = await service.conversation()
    listing = planner_pb2.ListConversationsRequest(parent=PARENT, page_size=1)
    page = await clients.call(service.planner.ListConversations, listing)
    assert [each.name for each in page.conversations] == [other]
    listing.page_token = page.next_page_token
    rest = await clients.call(service.planner.ListConversations, listing)
    (found,) = rest.conversations
    assert (found.name, found.spec, len(found.turns)) == (spec.conversation, spec.name, 0)
    assert rest.next_page_token == ""


async def test_a_conversation_goes_on_after_a_restart(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'planner.db'}"
    async with running_planner(tmp_path, url) as service:
        spec = await service.proposed()
    async with running_planner(tmp_path, url) as service:
        turn = await service.say(spec.conversation, "rank 8")
        assert (turn.spec, turn.spec_revision, turn.turn_index) == (spec.name, 2, 2)


async def test_one_call_makes_a_plan_that_can_be_approved(service):
    dataset = await service.two_datasets()
    request = planner_pb2.ProposeSpecRequest(
        parent=PARENT, datasets=[dataset], request_id=str(uuid4())
    )
    spec = await clients.call(service.planner.ProposeSpec, request)
    assert spec == await service.spec(spec.name)
    assert spec.objective.task
    assert (await service.approve(spec)).state == spec_pb2.Spec.STATE_APPROVED


async def test_revisions_are_listed_compared_and_restored(service):
    first = await service.proposed()
    await service.say(first.conversation, "rank 8")
    newest = await service.spec(first.name)
    listing = planner_pb2.ListSpecRevisionsRequest(name=first.name, page_size=1)
    page = await clients.call(service.planner.ListSpecRevisions, listing)
    assert list(page.specs) == [newest]
    listing.page_token = page.next_page_token
    rest = await clients.call(service.planner.ListSpecRevisions, listing)
    assert (list(rest.specs), rest.next_page_token) == ([first], "")
    compared = await clients.call(
        service.planner.DiffSpecs, planner_pb2.DiffSpecsRequest(name=first.name)
    )
    (change,) = compared.changes
    assert (change.field_path, change.after) == ("stages.0.hyperparameters.lora.rank", "8")
    request = planner_pb2.RestoreSpecRequest(
        name=first.name, revision=1, etag=newest.etag, request_id=str(uuid4())
    )
    back = await clients.call(service.planner.RestoreSpec, request)
    assert (back.revision, back.hash) == (3, first.hash)
    assert await clients.call(service.planner.RestoreSpec, request) == back


async def test_recipes_and_base_models_are_listed_with_their_sources(service):
    listed = await clients.call(service.planner.ListRecipes, catalogue_pb2.ListRecipesRequest())
    assert listed.recipes
    assert all(value.source for recipe in listed.recipes for value in recipe.values)
    request = catalogue_pb2.ListBaseModelsRequest()
    models = (await clients.call(service.planner.ListBaseModels, request)).models
    sizes = [model.parameter_count for model in models]
    assert sizes == sorted(sizes)
    assert [model.id for model in models if model.at_hand] == ["attune/starter"]
