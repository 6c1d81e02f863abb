from attune.serving.v1 import engine_pb2


async def test_engines_are_shown_with_what_they_hold(parts, stubs):
    version = await parts.ready()
    (engine,) = (await stubs[3].ListEngines(engine_pb2.ListEnginesRequest())).engines
    assert engine.state == engine_pb2.Engine.STATE_READY
    assert (engine.base_model, engine.base_model_revision) == ("attune/starter", "r1")
    assert list(engine.model_versions) == [version.name]
    assert engine.ready_time.seconds > 0
    assert not engine.HasField("progress")
