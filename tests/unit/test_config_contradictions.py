"""Keys that are each allowed and contradict one another: refused with both named, and the last that still agree.

Everything not named has its default: windows of 48 hours, 25 lambdas.
"""

import pytest

from ehr_attack.config import validated_config
from ehr_attack.errors import UserError

NOT_SEARCHED = {"lr": None, "weight_decay": None, "batch_size": None}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"attack": {"lambdas": {"low": 0.01, "high": 0.01}}},
            r"attack\.lambdas\.count: several lambdas need attack\.lambdas\.low below attack\.lambdas\.high",
        ),
        (
            {"training": {"tuning": {"lr": [0.1, 0.01]}}},
            r"training\.tuning\.lr: 0\.1 is larger than 0\.01; expected the smaller bound first",
        ),
        (
            {"training": {"tuning": {"weight_decay": [0.2, 0.1]}}},
            r"training\.tuning\.weight_decay: 0\.2 is larger than 0\.1",
        ),
        (
            {"training": {"tune": True, "tuning": NOT_SEARCHED}},
            r"training\.tune: true, but every key of training\.tuning is null; name one to be searched",
        ),
        ({"attack": {"mutable_hours": [5, 4]}}, r"attack\.mutable_hours: \[5, 4\]; .* out of 0 to 47"),
        ({"attack": {"mutable_hours": [0, 48]}}, r"attack\.mutable_hours: \[0, 48\]; .* out of 0 to 47"),
    ],
)
def test_what_cannot_be_meant_is_refused(config, message):
    with pytest.raises(UserError, match=message):
        validated_config(config)


@pytest.mark.parametrize(
    "config",
    [
        {"attack": {"lambdas": {"count": 1, "low": 0.01, "high": 0.01}}},
        {"training": {"tuning": {"lr": [0.01, 0.01]}}},
        {"training": {"tune": True, "tuning": NOT_SEARCHED | {"batch_size": [32]}}},
        {"training": {"tune": False, "tuning": NOT_SEARCHED}},
        {"attack": {"mutable_hours": [47, 47]}},
        {"attack": {"mutable_hours": [0, 47]}},
    ],
)
def test_what_just_agrees_is_taken(config):
    validated_config(config)
