"""PlannerService: decodes, calls, encodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from attune.planner.v1 import catalogue_pb2, planner_pb2, planner_pb2_grpc
from attune.spec.v1 import spec_pb2

from services.common.clock import Clock, new_id
from services.common.names import last_part, parse
from services.common.paging import read_page
from services.common.wire_time import timestamp
from services.planner import narration, wire
from services.planner.brief import Brief
from services.planner.conversation_store import ConversationStore
from services.planner.dialogue import Dialogue
from services.planner.plan.catalogue import models_to_proto
from services.planner.plan.recipe import recipes_to_proto
from services.planner.proposals import Proposals
from services.planner.review import Review
from services.planner.revision import Revisions
from services.planner.source_reader import SourceReader
from services.planner.spec_store import SpecStore
from services.planner.store import Store


class PlannerServicer(planner_pb2_grpc.PlannerServiceServicer):
    """Conversations that end in a spec, and the specs themselves."""

    def __init__(
        self,
        store: Store,
        dialogue: Dialogue,
        proposals: Proposals,
        revisions: Revisions,
        review: Review,
        sources: SourceReader,
        clock: Clock,
    ) -> None:
        """Keep what the methods call."""
        self._conversations = ConversationStore(store)
        self._specs = SpecStore(store)
        self._dialogue = dialogue
        self._proposals = proposals
        self._revisions = revisions
        self._review = review
        self._sources = sources
        self._clock = clock

    async def CreateConversation(
        self, request: planner_pb2.CreateConversationRequest, context: Any
    ) -> planner_pb2.Conversation:
        parse(request.parent, wire.PROJECT, field="parent")
        now = self._clock.now()
        stamp = timestamp(now)
        conversation = planner_pb2.Conversation(
            name=f"{request.parent}/conversations/{new_id(now)}",
            create_time=stamp,
            update_time=stamp,
        )
        return await self._conversations.create(request, conversation, Brief().to_json(), now)

    async def GetConversation(
        self, request: planner_pb2.GetConversationRequest, context: Any
    ) -> planner_pb2.Conversation:
        parse(request.name, wire.CONVERSATION)
        row, turns = await self._conversations.get_with_turns(request.name)
        return wire.conversation_to_proto(row, turns)

    async def ListConversations(
        self, request: planner_pb2.ListConversationsRequest, context: Any
    ) -> planner_pb2.ListConversationsResponse:
        project = parse(request.parent, wire.PROJECT, field="parent")["project"]

        async def fetch(after: str, limit: int) -> list[tuple[str, planner_pb2.Conversation]]:
            rows = await self._conversations.list_newest(project, after, limit)
            return [(row.name, wire.conversation_to_proto(row, ())) for row in rows]

        kept, token = await read_page(request, f"conversations {project}", fetch)
        return planner_pb2.ListConversationsResponse(conversations=kept, next_page_token=token)

    async def SendMessage(
        self, request: planner_pb2.SendMessageRequest, context: Any
    ) -> AsyncIterator[planner_pb2.SendMessageResponse]:
        turn = await self._dialogue.answer(request)
        for piece in narration.pieces(turn.reply):
            yield planner_pb2.SendMessageResponse(reply_delta=piece)
        yield planner_pb2.SendMessageResponse(turn=turn)

    async def ProposeSpec(
        self, request: planner_pb2.ProposeSpecRequest, context: Any
    ) -> spec_pb2.Spec:
        return await self._proposals.propose(request)

    async def GetSpec(self, request: planner_pb2.GetSpecRequest, context: Any) -> spec_pb2.Spec:
        parse(request.name, wire.SPEC)
        revision = wire.check_revision("revision", request.revision)
        return await self._specs.get(request.name, revision)

    async def ListSpecs(
        self, request: planner_pb2.ListSpecsRequest, context: Any
    ) -> planner_pb2.ListSpecsResponse:
        project = parse(request.parent, wire.PROJECT, field="parent", wildcard="project")["project"]

        async def fetch(after: str, limit: int) -> list[tuple[str, spec_pb2.Spec]]:
            found = await self._specs.list_newest(project, request.state, after, limit)
            return [(last_part(spec.name), spec) for spec in found]

        specs, token = await read_page(request, f"specs {project} {request.state}", fetch)
        return planner_pb2.ListSpecsResponse(specs=specs, next_page_token=token)

    async def UpdateSpec(
        self, request: planner_pb2.UpdateSpecRequest, context: Any
    ) -> spec_pb2.Spec:
        parse(request.spec.name, wire.SPEC, field="spec.name")
        return await self._revisions.update(request)

    async def ListSpecRevisions(
        self, request: planner_pb2.ListSpecRevisionsRequest, context: Any
    ) -> planner_pb2.ListSpecRevisionsResponse:
        parse(request.name, wire.SPEC)

        async def fetch(below: str, limit: int) -> list[tuple[str, spec_pb2.Spec]]:
            if not below:
                await self._specs.get(request.name)  # A spec that is not there has no empty list.
            found = await self._specs.list_revisions(request.name, int(below or 0), limit)
            return [(str(spec.revision), spec) for spec in found]

        kept, token = await read_page(request, f"revisions {request.name}", fetch)
        return planner_pb2.ListSpecRevisionsResponse(specs=kept, next_page_token=token)

    async def DiffSpecs(
        self, request: planner_pb2.DiffSpecsRequest, context: Any
    ) -> planner_pb2.DiffSpecsResponse:
        parse(request.name, wire.SPEC)
        return await self._revisions.compare(request)

    async def RestoreSpec(
        self, request: planner_pb2.RestoreSpecRequest, context: Any
    ) -> spec_pb2.Spec:
        parse(request.name, wire.SPEC)
        return await self._revisions.restore(request)

    async def SuggestRevisions(
        self, request: planner_pb2.SuggestRevisionsRequest, context: Any
    ) -> planner_pb2.SuggestRevisionsResponse:
        return await self._review.suggest(request)

    async def ListRecipes(
        self, request: catalogue_pb2.ListRecipesRequest, context: Any
    ) -> catalogue_pb2.ListRecipesResponse:
        return catalogue_pb2.ListRecipesResponse(recipes=recipes_to_proto(self._sources.recipes))

    async def ListBaseModels(
        self, request: catalogue_pb2.ListBaseModelsRequest, context: Any
    ) -> catalogue_pb2.ListBaseModelsResponse:
        models = await self._sources.models()
        return catalogue_pb2.ListBaseModelsResponse(models=models_to_proto(models))

    async def ApproveSpec(
        self, request: planner_pb2.ApproveSpecRequest, context: Any
    ) -> spec_pb2.Spec:
        parse(request.name, wire.SPEC)
        return await self._revisions.approve(request)
