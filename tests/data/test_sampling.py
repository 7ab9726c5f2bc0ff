"""Every sample once per epoch, over any number of processes."""

from hypothesis import given
from hypothesis import strategies as st

from orbitlite.data.sampling import PADDING, EpochBatches

COUNTS = st.integers(1, 60)
SIZES = st.integers(1, 6)


@given(count=COUNTS, batch_size=SIZES, size=SIZES, epoch=st.integers(0, 3))
def test_each_sample_once_over_ranks(count, batch_size, size, epoch):
    parts = [EpochBatches(count, batch_size, 3, rank, size) for rank in range(size)]
    for part in parts:
        part.set_epoch(epoch)
    epochs = [list(part) for part in parts]
    assert {len(part) for part in epochs} == {len(parts[0])}
    one = EpochBatches(count, batch_size * size, 3)
    one.set_epoch(epoch)
    for number, whole in enumerate(one):
        shares = [part[number] for part in epochs]
        taken = [index for share in shares for index in share if index != PADDING]
        assert taken == whole
        sizes = [len(share) - share.count(PADDING) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert all(share == [PADDING] or PADDING not in share for share in shares)
    assert sorted(i for part in epochs for b in part for i in b if i != PADDING) == [*range(count)]


@given(count=COUNTS, batch_size=SIZES, size=SIZES, done=st.integers(0, 10))
def test_goes_on_from_within_an_epoch(count, batch_size, size, done):
    whole, rest = (EpochBatches(count, batch_size, 5, 0, size) for _ in range(2))
    whole.set_epoch(2)
    rest.set_epoch(2)
    rest.go_on(rest.place(rest.epoch, done))
    assert list(rest) == list(whole)[done:]
    assert len(list(rest)) == len(rest)  # the pass after it is whole


def test_orders():
    plain = EpochBatches(5, 2)
    assert list(plain) == [[0, 1], [2, 3], [4]] == list(plain)
    first, second = list(shuffled := EpochBatches(50, 50, 1)), list(shuffled)
    assert first != second
    shuffled.set_epoch(0)
    assert list(shuffled) == first
