"""KeyService with canned answers."""

from attune.serving.v1 import key_pb2, key_pb2_grpc

from tests.cli.canned_datasets import PROJECT

KEY = f"{PROJECT}/apiKeys/k1"
SECRET = "sk-attune-" + "s" * 43
VERSION = f"{PROJECT}/models/tickets/versions/1"


class CannedKeys(key_pb2_grpc.KeyServiceServicer):
    """Has one key of each state, and a day's usage."""

    async def CreateApiKey(self, request, context):
        self._keep(request)
        made = request.api_key
        made.name, made.secret_prefix = KEY, SECRET[:16]
        return key_pb2.CreateApiKeyResponse(api_key=made, secret=SECRET)

    async def ListApiKeys(self, request, context):
        self._keep(request)
        found = key_pb2.ListApiKeysResponse()
        for number in (4, 3, 2, 1):
            found.api_keys.add(name=f"{PROJECT}/apiKeys/k{number}", secret_prefix=SECRET[:16])
        revoked, over, limited, plain = found.api_keys
        revoked.title = "Revoked"
        revoked.revoke_time.FromSeconds(1_700_000_000)
        over.title = "Over"
        over.expire_time.FromSeconds(1_700_000_000)
        limited.title = "Limited"
        limited.models.extend(["tickets", "base:attune/starter"])
        limited.limits.tokens_per_minute = 5000
        limited.expire_time.FromSeconds(4_000_000_000)
        plain.title = "Desk"
        plain.last_use_time.FromSeconds(1_700_000_040)
        return found

    async def RevokeApiKey(self, request, context):
        self._keep(request)
        return key_pb2.ApiKey(name=request.name, title="Desk", secret_prefix=SECRET[:16])

    async def GetUsage(self, request, context):
        self._keep(request)
        found = key_pb2.Usage()
        found.rows.add(
            api_key=KEY,
            model="tickets",
            model_version=VERSION,
            request_count=1200,
            error_count=3,
            prompt_token_count=345678,
            answer_token_count=9,
        )
        found.rows.add(model="base:attune/starter", request_count=1)
        return found
