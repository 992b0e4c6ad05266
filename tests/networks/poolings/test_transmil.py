"""TransMIL: attention by landmarks against the softmax it stands for, and the square of tiles."""

import pytest
import torch

from pathoprog.networks.config import NetworkSettings
from pathoprog.networks.poolings.transmil import TransMil, inverse, nystrom


def exact(query, key, value):
    return torch.softmax(query @ key.transpose(2, 3) / query.shape[-1] ** 0.5, -1) @ value


def test_with_as_few_tokens_as_landmarks_attention_is_the_softmax_itself():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 9, 4)
    assert torch.allclose(nystrom(q, k, v, 9), exact(q, k, v), atol=1e-6)


def test_landmarks_give_the_softmax_where_tokens_come_in_equal_stretches():
    """Tokens of a stretch are one another's copies: the means of stretches then lose nothing."""
    torch.manual_seed(0)
    q, v = torch.randn(2, 2, 2, 6, 8)
    k = 2 * q  # each token looks at its like: a matrix that six steps invert
    longer = [part.repeat_interleave(5, 2) for part in (q, k, v)]
    assert torch.allclose(nystrom(*longer, 6), exact(*longer), atol=1e-3)
    assert not torch.allclose(nystrom(*longer, 3), exact(*longer), atol=0.1)


def test_landmarks_meet_the_formula_with_numpys_pseudo_inverse():
    torch.manual_seed(0)
    q, v = torch.randn(2, 1, 1, 12, 8)
    k = 3 * q
    means, marks = (part.view(1, 1, 4, 3, 8).mean(3) for part in (q, k))

    def softmax(a, b):
        return torch.softmax(a @ b.transpose(2, 3) / 8**0.5, -1)

    between = softmax(means, marks)
    assert torch.allclose(inverse(between, 12), torch.linalg.pinv(between), atol=1e-3)
    by_formula = softmax(q, marks) @ torch.linalg.pinv(between) @ softmax(means, k) @ v
    assert torch.allclose(nystrom(q, k, v, 4), by_formula, atol=1e-3)


def test_an_inverse_does_not_depend_on_the_matrices_beside_it():
    torch.manual_seed(0)
    several = torch.softmax(torch.randn(3, 5, 5), -1)
    assert torch.allclose(inverse(several)[1], inverse(several[1]), atol=1e-6)


@pytest.mark.parametrize(("n", "side"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4), (16, 4), (17, 5)])
def test_the_square_holds_the_tiles_in_their_order_and_the_first_again(n, side):
    pool = TransMil(NetworkSettings(instance_dim=8))
    seen = []
    pool.places[0].register_forward_hook(lambda _, given, got: seen.append(given[0]))
    with torch.no_grad():
        for parameter in (*pool.first.parameters(), *pool.token[None]):
            parameter.zero_()  # the first layer adds nothing: tokens are the tiles' values
        values = torch.arange(1.0, n + 1)[:, None].expand(n, 8)
        pool.pool(values, [n])
    assert seen[0].shape == (1, 8, side, side)
    order = [*range(1, n + 1), *range(1, side * side - n + 1)]
    assert seen[0][0, 0].flatten().tolist() == order


def test_bf16_autocast_changes_little():
    torch.manual_seed(0)
    pool = TransMil(NetworkSettings(instance_dim=16)).eval()
    values = torch.rand(50, 16)
    with torch.no_grad():
        plain = pool.pool(values, [50])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = pool.pool(values, [50])
    assert torch.isfinite(rough).all() and (plain - rough).abs().max() < 0.1
