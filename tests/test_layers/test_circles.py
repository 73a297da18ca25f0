"""joyousrabbit's detectors of discs: what is drawn, and the two losses, against loops over boxes."""

import numpy as np
import pytest

from demitasse.proto.errors import NetError
from tests.test_layers.building import build, normal


@pytest.mark.independent("BestmatchLoss")
def test_best_match_is_the_nearest_of_the_objects_that_are_there():
    x, objects = normal(3, 6), np.abs(normal(3, 6, 4, seed=1)) + 0.1
    objects[1, 0, 2] = 0  # item 1 has two objects, item 2 none
    objects[2, 0, 0] = 0
    objects[1, :4, 3] = x[1, :4]  # nearer than all, but behind the last
    wanted = x.copy()
    for item, count in enumerate((4, 2, 0)):
        if count:
            apart = [((objects[item, :4, g] - x[item, :4]) ** 2).sum() for g in range(count)]
            wanted[item] = objects[item, :, int(np.argmin(apart))]
        else:
            wanted[item, 4:] = 0
    layer = build("type: 'BestmatchLoss' bottom: 'x' bottom: 'o'", x.shape, objects.shape)
    np.testing.assert_allclose(layer.forward([x, objects])[0], ((x - wanted) ** 2).sum() / 6)
    np.testing.assert_allclose(layer.backward([np.array(2.0)], [True, False])[0], 2 * (x - wanted) / 3)


def overlap(a, b):
    width, height = (max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.independent("MultiboxLoss")
def test_squared_multibox_loss_is_a_sum_over_priors():
    rng, places, each = np.random.default_rng(2), 4, 3
    corners = rng.uniform(0, 0.6, (places * each, 2))
    boxes = np.hstack([corners, corners + rng.uniform(0.2, 0.4, corners.shape)])
    objects = np.full((2, 5, 3), -1.0)
    for g in range(2):
        objects[0, :, g] = [*(boxes[5 + g] + 0.02), g + 1]
    x = normal(2, each * 6, places)
    loss, dx = 0, np.zeros_like(x)
    for item in range(2):
        for p, box in enumerate(boxes):
            found = [(overlap(box, row[:4]), row) for row in objects[item].T if row[4] >= 0]
            found = max(found, key=lambda pair: pair[0], default=(0, None))
            wanted = np.zeros(6)
            place, k = divmod(p, each)
            wanted[:4] = x[item, k * 6 : k * 6 + 4, place]
            if found[0] > 0.3:
                size, middle = box[2:] - box[:2], (box[2:] + box[:2]) / 2
                of_object = found[1][2:4] - found[1][:2]
                wanted[:2] = ((found[1][2:4] + found[1][:2]) / 2 - middle) / size
                wanted[2:4] = np.log(of_object / size)
                wanted[3 + int(found[1][4])] = 1
            difference = x[item, k * 6 : k * 6 + 6, place] - wanted
            loss += (difference**2).sum() / 4
            dx[item, k * 6 : k * 6 + 6, place] = difference / 2
    priors = np.stack([boxes, np.full_like(boxes, 0.1)])[None]
    layer = build("type: 'MultiboxLoss' bottom: 'x' bottom: 'o' bottom: 'p'", x.shape, objects.shape, priors.shape)
    np.testing.assert_allclose(layer.forward([x, objects, priors])[0], loss)
    np.testing.assert_allclose(layer.backward([np.array(1.0)], [True, False, False])[0], dx, atol=1e-15)
    objects[0, 4, 1] = 3
    with pytest.raises(NetError, match="outside of 1 to 2"):
        layer.forward([x, objects, priors])


@pytest.mark.independent("BlackpointData")
@pytest.mark.parametrize("corners", [False, True])
def test_discs_are_where_their_labels_say(corners):
    fields = f"blackpoint_data_param {{ circles: 1 corners: {str(corners).lower()} }}"
    images, labels = build(f"type: 'BlackpointData' data_param {{ batch_size: 8 }} {fields}").forward([])
    assert images.shape == (8, 1, 160, 160) and labels.shape == (8, 5, 1)
    for image, (a, b, c, d, one) in zip(images[:, 0], labels[:, :, 0], strict=True):
        x1, y1, x2, y2 = (a, b, c, d)
        if not corners:
            half = 160**c / 160 / 2
            x1, y1, x2, y2 = a - half, b - half, a + half, b + half
        rows, columns = np.nonzero(image != image[0, 0] if image[0, 0] == image[-1, -1] else image == image[80, 80])
        seen = np.array([columns.min(), rows.min(), columns.max(), rows.max()]) / 160
        assert one == 1 and np.abs(seen - [x1, y1, x2, y2]).max() < 2 / 160
