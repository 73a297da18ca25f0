"""Who takes part in the backward pass."""

from demitasse.netdef.plan import Plan
from tests.test_netdef.texts import blob, conv, layer

FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"
LOSS = layer("SoftmaxWithLoss", "loss", "c2 label")


def going_back(text):
    """{layer: which bottoms get a gradient} of the layers that run backward."""
    plan = Plan(blob() + blob("label", (1, 1, 6, 6)) + text, "TRAIN")
    return {step.name: step.need for step in plan.steps if step.backward}


def test_gradients_flow_from_the_loss_to_the_lowest_learning_layer():
    text = conv("c1", "data") + layer("ReLU", "r", "c1", "c1") + conv("c2", "c1", kernel=1) + LOSS
    assert going_back(text) == {"c1": [False], "r": [True], "c2": [True], "loss": [True, False]}


def test_layers_of_mycaffe_that_are_frozen():
    c1 = conv("c1", "data", more="freeze_learning: True param { lr_mult: 2 decay_mult: 3 }")
    text = c1 + conv("c2", "c1", kernel=1, more="freeze_learning: False") + LOSS
    assert going_back(text) == {"c2": [False], "loss": [True, False]}
    plan = Plan(blob() + blob("label", (1, 1, 6, 6)) + text, "TRAIN")
    assert [param.lr_mult for step in plan.steps for param in step.layer.params] == [0, 0, 1, 1]


def test_below_frozen_layers_nothing_is_computed():
    text = conv("c1", "data", more=FROZEN) + layer("ReLU", "r", "c1", "c1") + conv("c2", "c1", kernel=1) + LOSS
    assert going_back(text) == {"c2": [False], "loss": [True, False]}


def test_frozen_layers_pass_gradients_on():
    text = conv("c1", "data") + conv("c2", "c1", kernel=1, more=FROZEN) + LOSS
    assert going_back(text) == {"c1": [False], "c2": [True], "loss": [True, False]}


def test_without_a_loss_nobody():
    assert going_back(conv("c1", "data")) == {}


def test_what_is_not_under_a_loss_is_pruned():
    text = (
        conv("c1", "data")
        + conv("aside", "c1")
        + layer("Silence", "s", "aside", "")
        + conv("c2", "c1", kernel=1)
        + layer("Accuracy", "acc", "c2 label")
        + LOSS
    )
    assert set(going_back(text)) == {"c1", "c2", "loss"}


def test_any_top_can_carry_a_loss():
    text = conv("c1", "data", more="loss_weight: 2") + conv("c2", "c1", kernel=1)
    assert going_back(text) == {"c1": [False]}


def test_propagate_down_false_cuts_the_flow():
    text = conv("c1", "data") + conv("c2", "c1", kernel=1, more="propagate_down: false") + LOSS
    assert going_back(text) == {"c2": [False], "loss": [True, False]}


def test_propagate_down_true_asks_for_a_gradient_of_the_data():
    text = conv("c1", "data", more="propagate_down: true " + FROZEN) + conv("c2", "c1", kernel=1) + LOSS
    assert going_back(text) == {"c1": [True], "c2": [True], "loss": [True, False]}


def test_force_backward_means_everything():
    text = "force_backward: true\n" + conv("c1", "data", more=FROZEN) + conv("c2", "c1", kernel=1) + LOSS
    assert going_back(text) == {"c1": [True], "c2": [True], "loss": [True, False]}
    assert going_back("force_backward: true\n" + conv("c1", "data")) == {"c1": [True]}


def test_labels_get_none_even_from_learning_layers():
    text = (
        conv("c1", "data")
        + conv("c2", "c1", kernel=1)
        + layer("ArgMax", "best", "c1", more="argmax_param { axis: 1 }")
        + layer("SoftmaxWithLoss", "loss", "c2 best")
    )
    assert going_back(text) == {"c1": [False], "c2": [True], "loss": [True, False]}


def test_two_losses_meet():
    text = (
        conv("c1", "data")
        + conv("c2", "c1", kernel=1)
        + LOSS
        + conv("c3", "c1", kernel=1, more=FROZEN)
        + layer("SoftmaxWithLoss", "loss2", "c3 label")
    )
    assert going_back(text) == {
        "c1": [False],
        "c2": [True],
        "loss": [True, False],
        "c3": [True],
        "loss2": [True, False],
    }
