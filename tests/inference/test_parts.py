"""Parts: several processes write one output, which is that of one process."""

import multiprocessing
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

import orbitlite
from orbitlite.cli import main
from orbitlite.errors import InputError
from orbitlite.inference import plan, publication, store
from orbitlite.inference.journal import Entry, Journal
from orbitlite.inference.options import PredictOptions
from orbitlite.inference.parts import Part
from orbitlite.inference.prediction import Prediction
from orbitlite.inference.proof import outputs, place_of
from orbitlite.model.downscaler import Downscaler

RAIN = "total_precipitation_24hr"
# 3 rows x 5 columns of tiles, two days, each a piece
CUT = {"tile": 16, "halo": 2, "batch_size": 1, "progress": False}
PIECES = 30


def chunks(path):
    return {file.relative_to(path): file.read_bytes() for file in (path / RAIN / "c").rglob("*")
            if file.is_file()}  # fmt: skip


def partial(folder, name="fine.zarr"):
    return folder / f".{name}.partial"


@pytest.fixture
def whole(globe, globe_bundle, tmp_path):
    """Return the chunks of the output of one process."""
    orbitlite.downscale(globe, tmp_path / "whole.zarr", globe_bundle, **CUT)
    found = chunks(tmp_path / "whole.zarr")
    assert len(found) == PIECES
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [0, 1, 3, 7, 100])
def test_parts_hold_each_item_once_in_runs_of_one_length(count, size):
    parts = [part.items(range(size)) for part in Part(1, count).all]
    assert [item for part in parts for item in part] == [*range(size)]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.slow
def test_any_number_of_parts_is_one_process(globe, globe_bundle, tmp_path, whole):
    for count in (2, 3):
        output = tmp_path / f"fine{count}.zarr"
        numbers = [*range(2, count + 1), 1]  # the first comes last
        for number in numbers:
            assert not output.exists()
            found = orbitlite.downscale(
                globe, output, globe_bundle, part=f"{number}/{count}", **CUT
            )
            done = numbers[: numbers.index(number) + 1]
            assert [one.number for one in found.lacking] == sorted({*numbers} - {*done})
        assert found.sizes == {"time": 2, "lat": 80, "lon": 160}
        assert chunks(output) == whole
        one, other = (xr.open_zarr(path) for path in (output, tmp_path / "whole.zarr"))
        for name in ("orbitlite_job", "orbitlite_input", "orbitlite_values"):
            assert one.attrs[name] == other.attrs[name]
        xr.testing.assert_identical(one.drop_attrs(), other.drop_attrs())
        assert not partial(tmp_path, output.name).exists()


def test_netcdf_is_put_together_by_the_last(globe, globe_bundle, tmp_path, whole):
    for part in ((2, 2), (1, 2)):
        orbitlite.downscale(globe, tmp_path / "fine.nc", globe_bundle, part=part, **CUT)
    found = xr.open_dataset(tmp_path / "fine.nc")[RAIN]
    np.testing.assert_array_equal(found, xr.open_zarr(tmp_path / "whole.zarr")[RAIN])
    assert not partial(tmp_path, "fine.nc").exists()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "options", [{"tile": 16, "halo": 2, "batch_size": 3}, {"tile": 6, "halo": 2}, {}]
)
def test_no_chunk_has_two_writers(globe, globe_bundle, tmp_path, turned, options):
    """Whatever the tiles and the order of rows: each chunk belongs to one piece."""
    ds = globe.isel(lat=slice(None, None, -1)) if turned else globe
    prediction = Prediction.of(orbitlite.open_source(ds), globe_bundle, PredictOptions(**options))
    store._lay_out(prediction.dataset(store._empty(prediction)), tmp_path / "store.zarr")
    [array] = outputs(zarr.open_group(tmp_path / "store.zarr"), prediction)
    assert array.turned == turned
    files = [
        file
        for piece in prediction.work_items
        for tile in piece.tiles
        for file in store._chunks(array, place_of(prediction, piece, tile), tmp_path)
    ]
    assert len(files) == len({*files}) == np.prod(array.array.cdata_shape)


@pytest.mark.dist
@pytest.mark.slow
def test_killed_parts_go_on_beside_others(globe, globe_bundle_path, tmp_path, whole):
    """`kill -9` of one, at any moment, while another is at work; both finish in the end."""
    source, output = str(tmp_path / "globe.zarr"), tmp_path / "fine.zarr"
    globe.chunk(time=1, lat=10).to_zarr(source)
    context = multiprocessing.get_context("forkserver")

    def start(number, **more):
        child = context.Process(
            target=orbitlite.downscale, args=(source, str(output), globe_bundle_path),
            kwargs={**CUT, "part": (number, 3), **more},
        )  # fmt: skip
        child.start()
        return child

    others = [start(1), start(3)]
    for count, resume in ((3, False), (8, True)):
        journal = Journal(output, Part(2, 3))
        child = start(2, resume=resume)
        while child.is_alive() and len(Journal(output, journal.part).done) < count:
            time.sleep(0.002)
        child.kill()
        child.join()
    for other in others:
        other.join()
        assert other.exitcode == 0
    assert not output.exists()
    done = len(Journal(output, Part(2, 3)).done)
    assert 8 <= done <= 10
    child = start(2, resume=True)
    child.join()
    assert child.exitcode == 0
    assert chunks(output) == whole
    assert not partial(tmp_path).exists()


@pytest.mark.slow
def test_the_last_two_at_once(globe, globe_bundle, tmp_path, monkeypatch, whole):
    """All wait until each has written its pieces: one of them gives the name, once."""
    barrier, named, lacking = threading.Barrier(3), [], []
    real, put = store.publish, publication._put

    def publish(*arguments):
        barrier.wait(60)
        return real(*arguments)

    monkeypatch.setattr(store, "publish", publish)
    monkeypatch.setattr(publication, "_put", lambda *args: (named.append(args), put(*args)))

    def run(number):
        found = orbitlite.downscale(
            globe, tmp_path / "fine.zarr", globe_bundle, part=(number, 3), **CUT
        )
        lacking.append(len(found.lacking))

    threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(named) == 1
    assert sorted(lacking) == [0, 1, 2]
    assert chunks(tmp_path / "fine.zarr") == whole
    assert not partial(tmp_path).exists()


@pytest.mark.parametrize("place", ["_sign", "_put"])
def test_killed_while_the_name_is_given(globe, globe_bundle, tmp_path, monkeypatch, place):
    """Nothing is computed again, and nothing that is half named looks whole."""
    part = {"part": (1, 2), **CUT}
    orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, part=(2, 2), **CUT)
    step = getattr(publication, place)

    def stop(*arguments):
        if place == "_sign":
            step(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publication, place, stop)
        with pytest.raises(KeyboardInterrupt):
            orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, **part)
    assert not (tmp_path / "fine.zarr").exists()
    monkeypatch.setattr(store, "_write", None)
    orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, resume=True, **part)
    assert (tmp_path / "fine.zarr").exists()


def test_a_part_that_is_gone_on_with_is_not_finished(tmp_path):
    parts = Part(1, 2).all
    with Journal.held(tmp_path / "fine.zarr", parts[0]) as journal:
        journal.begin({"tile": 3})
        journal.enter(Entry(0, "in", "out"))
        with journal.turn():
            journal.finish()
    assert journal.finished(parts[0])
    with Journal.held(tmp_path / "fine.zarr", parts[1]) as other:
        with Journal.held(tmp_path / "fine.zarr", parts[0]) as again:
            assert not other.finished(parts[0])
            assert again.done == other.entries(parts[0]) == {0: Entry(0, "in", "out")}
        with (
            pytest.raises(InputError, match=r"another process is writing part 2/2 of .*fine\.zarr"),
            Journal.held(tmp_path / "fine.zarr", parts[1]),
        ):
            pass


@pytest.mark.filterwarnings("ignore::orbitlite.notice.OrbitliteWarning")
def test_other_jobs_and_numbers_of_parts_are_refused(globe, globe_bundle, tmp_path):
    output = tmp_path / "fine.zarr"

    def run(part, ds=globe, **more):
        return orbitlite.downscale(ds, output, globe_bundle, **{**CUT, "part": part, **more})

    run("1/3")
    with pytest.raises(InputError, match="another job: parts was 3, is 2;"):
        run("2/2")
    with pytest.raises(InputError, match="another job: parts was 3, is 1;"):
        run(None, resume=True)
    with pytest.raises(InputError, match=r"an unfinished .*fine\.zarr is there: add --resume"):
        run(None)
    with pytest.raises(InputError, match=r"an unfinished part 1/3 of .*fine\.zarr is there"):
        run("1/3")
    with pytest.raises(InputError, match="another job: tile was 16, is 4"):
        run("2/3", tile=4)
    assert len(Journal(output, Part(1, 3)).done) == 10
    with Journal.held(output, Part(1, 3)) as journal:
        journal.join(journal.done.values())
        with pytest.raises(InputError, match="other processes are writing parts of"):
            run(None, overwrite=True)
    run("1/3", resume=True)
    # An input that has changed between two parts is found by the last one.
    other = globe.copy(deep=True)
    other[RAIN][0, 0, 0] += 1
    run("2/3")
    with pytest.raises(InputError, match=r"part 1/3 of .*fine\.zarr was made of another input"):
        run("3/3", other)
    assert not output.exists()
    for part in ("1/3", "2/3", "3/3"):  # a new output, of which nothing is there yet
        assert not output.exists()
        run(part, other, overwrite=True)
    assert output.exists()
    with pytest.raises(InputError, match="exists; choose another name"):
        run("1/3", other)
    run(None, overwrite=True)
    assert not partial(tmp_path).exists()


def test_overwriting_parts_begin_a_new_output(globe, globe_bundle, tmp_path, whole, caplog):
    """What an earlier run has left decides nothing: not its tiles, nor what it has written."""
    output = tmp_path / "fine.zarr"

    def run(part, **more):
        return orbitlite.downscale(globe, output, globe_bundle, **{**CUT, "part": part, **more})

    run("1/3", tile=32, halo=3)
    tile = {"tile": None, "halo": None}  # as the package chooses: the whole grid
    with caplog.at_level("INFO", logger="orbitlite"):
        found = run("2/3", overwrite=True, **tile)
    assert "fine.zarr of an earlier run is replaced." in caplog.text
    assert [str(part) for part in found.lacking] == ["1/3", "3/3"]
    header = Journal(output).header
    assert (header["tile"], header["halo"]) != (32, 3)
    # The others of the run find what it has begun, and go on with that.
    with caplog.at_level("INFO", logger="orbitlite"):
        caplog.clear()
        run("1/3", overwrite=True, **tile)
        assert "of an earlier run" not in caplog.text
        # One that comes once more starts over alone; so does one of the same job of another run.
        run("1/3", overwrite=True, **tile)
        assert "is the same job: what its other parts have written stays" in caplog.text
    assert Journal(output).header == header
    run("3/3", overwrite=True, **tile)
    assert output.exists()
    # An overwriting run of another plan, all of whose parts were there before.
    for number in (1, 2):
        run(f"{number}/3", overwrite=True, tile=32, halo=3)
    for number in (1, 2, 3):
        run(f"{number}/3", overwrite=True)
    assert chunks(output) == whole
    assert not partial(tmp_path).exists()


def test_overwriting_parts_at_once(globe, globe_bundle, tmp_path, monkeypatch):
    """All find the earlier run; one alone replaces it, and the others join that one.

    None of them states a tile, and each has another amount of free memory.
    """
    output, options = tmp_path / "fine.zarr", {"halo": 2, "progress": False}
    orbitlite.downscale(globe, output, globe_bundle, tile=32, part=(2, 3), **options)
    begun, begin = [], store._begin
    monkeypatch.setattr(store, "_begin", lambda *args: (begun.append(args), begin(*args)))
    monkeypatch.setattr(
        plan, "available", lambda device: 2**22 * int(threading.current_thread().name)
    )

    def run(number):
        orbitlite.downscale(
            globe, output, globe_bundle, part=(number, 3), overwrite=True, **options
        )

    threads = [threading.Thread(target=run, args=(n,), name=f"{n}") for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 1
    assert output.exists()
    assert not partial(tmp_path).exists()


def test_a_failed_call_that_overwrites_leaves_what_is_there(globe, globe_bundle, tmp_path):
    output, part = tmp_path / "fine.zarr", Part(1, 2)
    orbitlite.downscale(globe, output, globe_bundle, part=(1, 2), **CUT)
    with pytest.raises(InputError):
        orbitlite.downscale(globe, output, tmp_path / "absent", part=(1, 2), overwrite=True, **CUT)
    assert len(Journal(output, part).done) == PIECES // 2
    orbitlite.downscale(globe, output, globe_bundle, part=(1, 2), resume=True, **CUT)
    orbitlite.downscale(globe, output, globe_bundle, part=(2, 2), **CUT)
    assert output.exists()


def test_more_parts_than_pieces(globe, globe_bundle, tmp_path):
    """A part that has nothing to do is waited for too: it would find the output there."""
    for number in (1, 2, 3):
        assert not (tmp_path / "fine.zarr").exists()
        orbitlite.downscale(
            globe, tmp_path / "fine.zarr", globe_bundle, part=(number, 3), batch_size=2
        )
    assert (tmp_path / "fine.zarr").exists()


@pytest.mark.parametrize(
    "part", ["0/4", "5/4", "a/b", "4", "1/0", "-1/4", "", "1/2/3", (0, 2), (3, 2), (1.0, 2), 3]
)
def test_what_is_no_part(globe, globe_bundle, tmp_path, part):
    with pytest.raises(InputError, match=r"^part: expected one of several such as 1/4, .*; found"):
        orbitlite.downscale(globe, tmp_path / "fine.zarr", globe_bundle, part=part)
    assert not list(tmp_path.glob("*fine*"))


def test_in_memory_there_are_no_parts(globe, globe_bundle):
    with pytest.raises(TypeError, match="no option 'part' of a prediction in memory; downscale"):
        orbitlite.predict(globe, globe_bundle, part="1/2")


@pytest.mark.parametrize(
    "environment",
    [
        {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"},
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "1", "SLURM_LOCALID": "1",
         "SLURM_STEP_ID": "0", "SLURM_NODEID": "0"},
    ],
)  # fmt: skip
def test_launchers_number_the_parts(environment, monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    with pytest.raises(InputError, match="neither torchrun nor srun has started this process"):
        Part.of("auto")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    part = Part.of("auto")
    assert (part.number, part.count, f"{part}") == (2, 4, "2/4")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert part.device(None) == "cuda:1"
    assert part.device("cpu") == "cpu"
    assert Part(3, 4).device(None) is None


def test_the_command_says_what_is_lacking(globe, globe_bundle_path, tmp_path, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    globe.to_netcdf("globe.nc")
    words = ["downscale", "globe.nc", "fine.zarr", "--model", globe_bundle_path, "--part"]
    with caplog.at_level("INFO", logger="orbitlite"):
        assert main([*words, "2/2"]) == 0
        assert "Wrote part 2/2 of fine.zarr; it gets its name when 1/2 are" in caplog.text
        assert main([*words, "1/2"]) == 0
        assert "Wrote fine.zarr (2 time x 80 lat x 160 lon)" in caplog.text


@pytest.mark.parametrize(
    "options", [{"members": 5}, {"members": 4, "statistics": "mean,std"}], ids=str
)
def test_parts_of_an_ensemble(globe, globe_bundle, tmp_path, options):
    """Members that are drawn apart have chunks of their own."""
    config = replace(globe_bundle.model.config, noise=2)
    torch.manual_seed(2)
    drawing = replace(globe_bundle, model=Downscaler(config).eval())
    options = {"tile": 20, "batch_size": 2, "progress": False, **options}
    orbitlite.downscale(globe, tmp_path / "whole.zarr", drawing, **options)
    for part in ("3/3", "1/3", "2/3"):
        orbitlite.downscale(globe, tmp_path / "fine.zarr", drawing, part=part, **options)
    one, other = (xr.open_zarr(tmp_path / name) for name in ("fine.zarr", "whole.zarr"))
    assert len(one.data_vars) >= 1
    for name in other.data_vars:
        assert one[name].values.tobytes() == other[name].values.tobytes()
    assert one.attrs["orbitlite_values"] == other.attrs["orbitlite_values"]
