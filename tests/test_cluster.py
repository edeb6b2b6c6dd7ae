"""fastsoftres/cluster: the answers of rows in memory, from partitions. The fit in memory is the truth.

The default tests use Dask's threads; those marked slow start worker processes, count bytes and kill one.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from reference import run_python

import fastsoftres as fs

da = pytest.importorskip("dask.array")
delayed = pytest.importorskip("dask.delayed").delayed


@pytest.fixture(autouse=True)
def python_loop(monkeypatch):
    """Small problems, but not by the compiled loop for them, whose count of iterations may differ."""
    monkeypatch.setattr("fastsoftres.solvers.small.ENTRIES", 0)


N, D = 3_000, 4


def softmax(z, ptr, skip):
    return np.concatenate([fs.softres(z[i:j], skip=skip) for i, j in itertools.pairwise(ptr)])


def data(rng, ptr=(0, N), skip=1.0):
    A = rng.standard_normal((N, D))
    b = np.abs(softmax(A @ rng.standard_normal(D), ptr, skip)) * rng.uniform(0.7, 1.3, N)
    for i, j in itertools.pairwise(ptr):
        b[i:j] /= b[i:j].sum()
    return A, b


PTR = np.array([0, 3, 700, 1000, 1001, 1300, *range(1307, N, 7), N])
CASES = {
    "skip 1": {},
    "skip 0, penalties": {"skip": 0.0, "ridge": 1e-6, "row_ridge": 1e-8},
    "likelihood of groups": {"skip": 0.0, "loss": "kl", "group_ptr": PTR},
    "groups": {"group_ptr": PTR, "offset": np.linspace(-0.5, 0.5, N), "row_ridge": np.linspace(0, 1e-4, N)},
}


@pytest.mark.parametrize("case", CASES)
def test_every_answer_is_that_of_the_rows_in_memory(case, rng):
    options = dict(CASES[case])
    ptr = options.get("group_ptr", [0, N])
    if len(ptr) > 2:
        options["group_weights"] = rng.uniform(0.5, 2.0, len(ptr) - 1)
    A, b = data(rng, ptr, options.get("skip", 1.0))
    x, T = rng.standard_normal(D) / 3, rng.standard_normal((D, 3))
    here = fs.SoftResProblem(A, b, **options)
    for name in ("offset", "row_ridge"):
        if np.ndim(options.get(name, 0.0)):
            options[name] = da.from_array(options[name], chunks=1100)
    there = fs.SoftResProblem(da.from_array(A, chunks=(800, 3)), da.from_array(b, chunks=500), **options)
    assert (there.shape, there.n_groups, there.dtype) == (here.shape, here.n_groups, here.dtype)
    assert there._bb == pytest.approx(here._bb, rel=1e-12)
    assert there._floor == pytest.approx(here._floor, rel=1e-12)
    ours, wanted = there.at(x), here.at(x)
    assert ours.value == pytest.approx(wanted.value, rel=1e-12)
    np.testing.assert_allclose(ours.z.gather(), wanted.z, atol=1e-14)
    for got, expected in [
        (ours.grad, wanted.grad),
        (ours.hessp(T), wanted.hessp(T)),
        (ours.hessian().to_dense(), wanted.hessian().to_dense()),
        (there.predict(x).gather(), here.predict(x)),
    ]:
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    result, reference = fs.solve(there, np.zeros(D)), fs.solve(here, np.zeros(D))
    assert result.success
    assert result.nit == reference.nit
    np.testing.assert_allclose(result.x, reference.x, atol=1e-10)
    assert result.fit.relative == pytest.approx(reference.fit.relative, rel=1e-9)


def test_newton_cg_and_the_closed_form(rng):
    A, b = data(rng)
    problem = fs.SoftResProblem(da.from_array(A, chunks=(800, D)), b)
    wanted = fs.solve(fs.SoftResProblem(A, b))
    for method in ("newton", "newton-cg"):
        result = fs.solve(problem, method=method)
        assert result.success
        np.testing.assert_allclose(result.x, wanted.x, atol=1e-9)


def test_row_state_does_not_come_here_unasked(rng):
    A, b = data(rng)
    point = fs.SoftResProblem(da.from_array(A, chunks=(800, D)), b).at(np.zeros(D))
    with pytest.raises(TypeError, match="lies with the partitions"):
        np.asarray(point.z)


def test_parts_of_row_vectors_have_the_shapes_of_numpy(rng):
    A, b = data(rng)
    z = fs.SoftResProblem(da.from_array(A, chunks=(800, D)), b).at(np.ones(D)).z
    for handle, shape in [
        (z, (N,)),
        (z[None, :], (1, N)),
        (z[None, :][0], (N,)),
        (z[None, :][0].empty(), (N,)),
    ]:
        assert handle.shape == shape
        assert handle.local_shape(0) == (*shape[:-1], 800)


def test_samples_come_in_proportion(rng):
    """Rows of a heavy partition and a heavy row, against their shares."""
    A, b = data(rng)
    problem = fs.SoftResProblem(da.from_array(A, chunks=(800, D)), b)
    weight = np.ones(N)
    weight[900:1000] = 50.0
    handle = fs.SoftResProblem(da.from_array(A, chunks=(800, D)), b, offset=weight)._rows.offset
    rows, shares = handle.drawn(rng.random(4000))
    np.testing.assert_array_equal(shares, weight[rows])
    assert (np.diff(rows) >= 0).all()
    expected = weight[900:1000].sum() / weight.sum()
    assert np.mean((rows >= 900) & (rows < 1000)) == pytest.approx(expected, abs=0.03)
    np.testing.assert_array_equal(problem.rows(rows).A, A[rows])


@pytest.mark.filterwarnings("ignore:b (of|sums)")  # what the mask leaves of it
@pytest.mark.parametrize("case", ["skip 1", "groups"])
@pytest.mark.parametrize("lazy", [False, True])
def test_masked_rows_take_no_part(case, lazy, rng):
    """Rows in every partition, a whole one and the border of two; those out hold nan."""
    options = dict(CASES[case])
    A, b = data(rng, options.get("group_ptr", [0, N]))
    mask = rng.random(N) > 0.3
    mask[[0, 700, 1000, *options.get("group_ptr", [0, N])[:-1]]] = True
    mask[1305:1307] = False
    if case == "skip 1":
        mask[800:1600] = False
    A[~mask] = np.nan
    here = fs.SoftResProblem(A, b, mask=mask, **options)
    if lazy:
        mask, b = da.from_array(mask, chunks=700), da.from_array(b, chunks=500)
    there = fs.SoftResProblem(da.from_array(A, chunks=(800, D)), b, mask=mask, **options)
    assert (there.shape, there.n_groups) == (here.shape, here.n_groups)
    x = rng.standard_normal(D) / 3
    assert there.value(x) == pytest.approx(here.value(x), rel=1e-12)
    np.testing.assert_allclose(there.hessian(x).to_dense(), here.hessian(x).to_dense(), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(there.predict(x).gather(), here.predict(x), rtol=1e-12)
    result, reference = fs.solve(there, np.zeros(D)), fs.solve(here, np.zeros(D))
    assert result.success
    assert result.nit == reference.nit
    np.testing.assert_allclose(result.x, reference.x, atol=1e-9)


def test_a_row_that_is_bad_is_named_as_it_was_given(rng):
    A, b = data(rng)
    mask = np.arange(N) % 2 == 0
    A[1734, 2] = np.nan
    with pytest.raises(ValueError, match=r"got nan at row 1734, column 2 \(row 134 of partition 2\)"):
        fs.SoftResProblem(da.from_array(A, chunks=(800, D)), b, mask=mask)


def test_a_solve_goes_on_from_its_checkpoint(rng, tmp_path):
    """Stopped after two iterations, it takes those that were left; another problem is refused."""
    A, b = data(rng)
    problem = fs.SoftResProblem(da.from_array(A, chunks=(800, D)), da.from_array(b, chunks=800))
    options = {"method": "newton", "checkpoint": tmp_path / "c.npz", "checkpoint_seconds": 0}
    whole = fs.solve(problem, np.zeros(D), method="newton")

    def stop(intermediate_result):
        if intermediate_result.nit == 2:
            raise StopIteration

    assert fs.solve(problem, np.zeros(D), callback=stop, **options).nit == 2
    assert (tmp_path / "c.npz").stat().st_size < 8 * N / 2  # no row state
    result = fs.solve(problem, np.zeros(D), **options)
    assert result.success
    assert result.nit == whole.nit
    np.testing.assert_allclose(result.x, whole.x, atol=1e-10)
    assert result.history[1] == whole.history[1]
    with pytest.raises(ValueError, match="of another solve: b differ"):
        fs.solve(
            fs.SoftResProblem(da.from_array(A, chunks=(800, D)), da.from_array(b[::-1], chunks=800)),
            np.zeros(D),
            **options,
        )


@pytest.mark.slow
def test_a_dataframe_brings_its_features_by_name(rng):
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    A, b = data(rng, PTR, 0.0)
    names = [f"x{j}" for j in range(D)]
    table = pd.DataFrame(A, columns=names).assign(
        share=b, market=np.repeat(np.arange(PTR.size - 1), np.diff(PTR))
    )
    table = dd.from_pandas(table, npartitions=4)
    there = fs.SoftResProblem(table[names], table["share"], groups=table["market"], skip=0.0)
    here = fs.SoftResProblem(A, b, group_ptr=PTR, skip=0.0)
    assert there.feature_names == names
    x = np.zeros(D)
    np.testing.assert_allclose(fs.solve(there, x).x, fs.solve(here, x).x, atol=1e-9)


def test_a_partition_that_changes_its_length_is_an_error(rng):
    """And not a kernel that reads beside it."""
    A, b = data(rng)
    length = [800]
    blocks = [delayed(lambda i: A[i : i + length[0]], pure=False)(i) for i in range(0, N, 800)]
    rows = [min(800, N - i) for i in range(0, N, 800)]
    there = da.concatenate(
        [da.from_delayed(block, (n, D), np.float64) for block, n in zip(blocks, rows, strict=True)]
    )
    problem = fs.SoftResProblem(there, b)
    problem.at(np.zeros(D))
    length[0] = 799
    with pytest.raises(
        ValueError, match="a partition of A has 799 rows, and had 800 when the problem was made"
    ):
        problem.at(np.zeros(D))


class TestBadInput:
    def test_partitions_of_unknown_length(self, rng):
        A, b = data(rng)
        filtered = da.from_array(A, chunks=(800, D))
        filtered = filtered[filtered[:, 0] > 0]
        with pytest.raises(
            ValueError, match=r"partition 0 of A has an unknown number of rows: call A\.compute_chunk_sizes"
        ):
            fs.SoftResProblem(filtered, b)
        with pytest.raises(
            ValueError, match=r"partition 0 of b has an unknown number of rows: call b\.compute_chunk"
        ):
            fs.SoftResProblem(
                da.from_array(A, chunks=(800, D)), da.from_array(b, chunks=9)[da.from_array(b, chunks=9) > 0]
            )

    def test_a_client_that_never_met_its_scheduler(self, rng):
        """It stays Dask's current one; work given to it would never be done."""
        from dask.distributed import Client, get_client

        A, b = data(rng)
        with pytest.raises(ValueError, match="unknown address scheme"):
            Client("nonsense://x", timeout=0.5)
        try:
            with pytest.raises(RuntimeError, match="current client of Dask has no scheduler"):
                fs.SoftResProblem(da.from_array(A, chunks=(800, D)), b)
        finally:
            get_client().close()

    def test_entries_that_are_not_finite(self, rng):
        A, b = data(rng)
        bad = A.copy()
        bad[1734, 2] = np.nan
        with pytest.raises(ValueError, match=r"got nan at row 1734, column 2 \(row 134 of partition 2\)"):
            fs.SoftResProblem(da.from_array(bad, chunks=(800, D)), b)
        wrong = b.copy()
        wrong[900] = np.inf
        with pytest.raises(
            ValueError, match=r"b must be finite, got inf at row 900 \(row 100 of partition 1\)"
        ):
            fs.SoftResProblem(da.from_array(A, chunks=(800, D)), da.from_array(wrong, chunks=N))

    def test_arguments(self, rng):
        A, b = data(rng)
        D_A = da.from_array(A, chunks=(800, D))
        with pytest.raises(TypeError, match="b is missing"):
            fs.SoftResProblem(D_A)
        with pytest.raises(TypeError, match="mask must hold booleans"):
            fs.SoftResProblem(D_A, b, mask=np.ones(N))
        with pytest.raises(ValueError, match="mask leaves out group 1"):
            fs.SoftResProblem(D_A, b, mask=np.abs(np.arange(N) - 14.5) > 5, group_ptr=[0, 10, 20, N])
        with pytest.raises(TypeError, match="memory_limit is for A in files"):
            fs.SoftResProblem(D_A, b, memory_limit="1GB")
        with pytest.raises(ValueError, match="one entry for each row of A"):
            fs.SoftResProblem(D_A, da.from_array(b[:-1], chunks=100))
        with pytest.raises(ValueError, match="two-dimensional"):
            fs.SoftResProblem(D_A[:, 0], b)
        with pytest.raises(ValueError, match="group 1 is empty"):
            fs.SoftResProblem(D_A, b, group_ptr=[0, 10, 10, N])


CLUSTER = """if True:
    import os, pickle, signal, sys, time
    import numpy as np
    import dask.array as da
    import fastsoftres as fs
    from dask.distributed import Client, LocalCluster
    from fastsoftres.cluster import engine
    from fastsoftres.solvers import small

    small.ENTRIES = 0  # the loop for rows anywhere

    def problem_of(n, d=6, chunks=6):
        rng = np.random.default_rng(n)
        A = rng.standard_normal((n, d))
        b = fs.softres(A @ rng.standard_normal(d)) * rng.uniform(0.7, 1.3, n)
        b = np.abs(b) / np.abs(b).sum()
        rows = n // chunks
        there = fs.SoftResProblem(da.from_array(A, chunks=(rows, d)), da.from_array(b, chunks=rows))
        return fs.SoftResProblem(A, b), there

    def sent():
        return sum(client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total).values())

    def main():
        {body}

    if __name__ == "__main__":
        with LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster:
            with Client(cluster) as client:
                main()
"""


def on_cluster(body):
    return run_python(CLUSTER.replace("{body}", body.replace("\n", "\n        ")), timeout=560)


@pytest.mark.slow
def test_three_workers_and_one_of_them_killed():
    """The same result before, while a worker dies in mid-solve, and when it is back."""
    on_cluster("""
here, there = problem_of(9_000)
wanted = fs.solve(here, np.zeros(6), method="newton")
result = fs.solve(there, np.zeros(6), method="newton")
assert result.success and result.nit == wanted.nit >= 3, (result.nit, wanted.nit)
assert np.abs(result.x - wanted.x).max() <= 1e-10
pids = client.run(os.getpid)
victim = sorted(pids.values())[0]
killed = []
def kill(intermediate_result):
    if intermediate_result.nit == 2:
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)
result = fs.solve(there, np.zeros(6), method="newton", callback=kill)
assert killed == [victim]
assert result.success and result.nit == wanted.nit
assert np.abs(result.x - wanted.x).max() <= 1e-10
client.wait_for_workers(3, timeout=60)
assert victim not in client.run(os.getpid).values()
for problem in (there, problem_of(9_000)[1]):
    again = fs.solve(problem, np.zeros(6), method="newton")
    assert np.abs(again.x - wanted.x).max() <= 1e-10
""")


@pytest.mark.slow
def test_what_travels_does_not_grow_with_the_rows():
    """Bytes that workers send and tasks carry in an iteration, at n and 20 n rows in as many partitions."""
    out = on_cluster("""
carried = [0]
plain = engine.Workers.map
def counted(self, function, arguments, results=1):
    for each in arguments:
        for value in each:
            if not hasattr(value, "key"):
                carried[0] += len(pickle.dumps(value))
    return plain(self, function, arguments, results)
engine.Workers.map = counted
for n in (6_000, 120_000):
    _, there = problem_of(n)
    marks = []
    def mark(intermediate_result):
        marks.append((sent(), carried[0]))
    fs.solve(there, np.zeros(6), method="newton", callback=mark)
    steps = np.diff(np.array(marks), axis=0)[:2].sum(axis=1)
    print(n, *steps)
""")
    small, large = (np.array(line.split(), float) for line in out.strip().splitlines()[-2:])
    per_iteration, rows = large[1:].mean(), large[0]
    assert per_iteration < 8 * rows / 4  # one n-vector alone would be four times that
    assert per_iteration < 1.5 * small[1:].mean()
