import copy
import pickle

import pytest

from ringback import BridgeId, SessionId

KINDS = [SessionId, BridgeId]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_id_is_new(kind):
    assert len({kind() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("kind", KINDS)
def test_text_reads_back(kind):
    one = kind()
    assert kind(str(one)) == one and kind(str(one).upper()) == one
    assert hash(kind(str(one))) == hash(one) and repr(one) == f"{kind.__name__}('{one}')"
    assert eval(repr(one), {kind.__name__: kind}) == one


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", "x", "1" * 31, "1" * 33, "g" * 32, "+" + "1" * 31, " " + "1" * 32])
def test_other_text_is_refused(kind, text):
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        kind(text)


@pytest.mark.parametrize("kind", KINDS)
def test_only_text_is_taken(kind):
    with pytest.raises(TypeError):
        kind(7)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_ordered(kind):
    ids = [kind() for _ in range(50)]
    assert [str(each) for each in sorted(ids)] == sorted(map(str, ids))
    low, high = sorted(ids[:2])
    assert low < high and low <= high and high > low and high >= low and low != high


def test_kinds_are_different():
    text = str(SessionId())
    assert SessionId(text) != BridgeId(text) and SessionId(text) != text
    with pytest.raises(TypeError):
        SessionId(text) < BridgeId(text)  # noqa: B015


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_copied_and_pickled(kind):
    one = kind()
    assert copy.copy(one) == one and copy.deepcopy([one]) == [one]
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(one, protocol)) == one


def test_ids_cannot_be_changed():
    with pytest.raises(AttributeError):
        SessionId().value = 1
