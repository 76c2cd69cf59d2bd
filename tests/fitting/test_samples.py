import pytest
import torch
from scipy import stats

from coinr.engine.native import Permutation
from coinr.fitting.samples import Sampler, block_steps, random_order

CPU = torch.device("cpu")


def _order(count, seed=0, begin=0, end=None):
    out = torch.empty((count if end is None else end) - begin, dtype=torch.int64)
    random_order(count, torch.Generator().manual_seed(seed)).numbers(begin, out.numpy(), 1)
    return out


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 17, 63, 64, 65, 1000, 4096, 4097, 16383, 200_003])
def test_an_order_holds_each_number_once(count):
    assert torch.equal(_order(count).sort().values, torch.arange(count))


def test_orders_are_as_random_as_they_should_be():
    # of 2000 orders: where a number goes, and how far its neighbors of the grid and of a picture go from it
    orders = torch.stack([_order(5000, seed, 2501, 2501 + 65)[[0, 1, 64, 37]] for seed in range(2000)])
    for found in (orders[:, 0], *((orders[:, k] - orders[:, 0]) % 5000 for k in (1, 2, 3))):
        assert stats.chisquare(torch.bincount(found // 100, minlength=50).numpy()).pvalue > 1e-3


def test_a_part_of_an_order_is_spread_over_the_picture():
    # 4096 of 512 x 768 pixels: their number in each of 12 x 8 tiles is as of independent draws, or more even
    chosen = _order(512 * 768, 3, 0, 4096)
    tiles = (chosen // 768 // 64) * 12 + chosen % 768 // 64
    counts = torch.bincount(tiles, minlength=96).double()
    assert float(((counts - 4096 / 96).square() / (4096 / 96)).sum()) < stats.chi2.ppf(1 - 1e-6, 95)


def test_twelve_megapixels_take_little_memory():
    rows, columns = Permutation.grid(12_000_000)
    assert 2 * (rows + columns) < 5 * 12_000_000**0.5, "an order holds two rotations of each"
    some = _order(12_000_000, 0, 11_900_000)
    assert len(some.unique()) == len(some)
    assert 0 <= int(some.min()) <= int(some.max()) < 12_000_000


@pytest.mark.parametrize(("count", "batch"), [(1000, 7), (50_000, 4096), (5000, 4999), (300, 300)])
def test_each_sample_is_taken_once_before_any_is_taken_again(count, batch):
    sampler = Sampler(count, count, batch, 5, CPU, 1)
    drawn = torch.cat([sampler.draw().reshape(-1) for _ in range(-(-3 * count // (batch * block_steps(batch))))])
    orders = drawn[: 3 * count].reshape(3, count)
    assert all(torch.equal(order.sort().values, torch.arange(count)) for order in orders)
    if count > batch:
        assert not torch.equal(orders[0], orders[1])
        assert not torch.equal(orders[1], orders[2])


def test_batches_depend_on_the_seed_alone():
    def draw(seed, threads):
        sampler = Sampler(50_000, 100, 4096, seed, CPU, threads)
        return torch.cat([sampler.draw() for _ in range(2)])

    blocks = [draw(1, 1), draw(1, 3), draw(2, 1)]
    assert torch.equal(blocks[0], blocks[1])
    assert not torch.equal(blocks[0], blocks[2])


def test_a_sampler_goes_on_where_another_was():
    # blocks of 2048 of 5000 samples: most begin within an order, some reach into the next
    first = Sampler(5000, 100, 64, 1, CPU, 1)
    blocks, states = [], []
    for _ in range(7):
        blocks.append(first.draw())
        states.append(first.before)
    for k, state in enumerate(states):
        other = Sampler(5000, 100, 64, 1, CPU, 1)
        other.rewind(state)
        for block in blocks[k:]:
            assert torch.equal(other.draw(), block)


@pytest.mark.parametrize("place", [-1, 5001, 0.5, "0"])
def test_a_place_that_is_none_is_refused(place):
    sampler = Sampler(5000, 100, 64, 1, CPU, 1)
    with pytest.raises(ValueError, match=r"is not in 0 \.\. 5000"):
        sampler.rewind(sampler.before | {"place": place})


@pytest.mark.parametrize("count", [1, 100, 16384, 40_000])
def test_progress_is_evaluated_on_different_samples(count):
    chosen = Sampler(10, count, 4, 0, CPU, 1).eval_indices
    assert len(chosen) == len(chosen.unique()) == min(count, 16384)
    assert int(chosen.max()) < count
