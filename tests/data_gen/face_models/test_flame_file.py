"""FLAME's files: read without chumpy, never executed, and refused by name when they hold anything else."""

import copyreg
import os
import pickle  # noqa: TID251
import struct
import tracemalloc

import numpy as np
import pytest
import scipy.sparse

from data_gen.face_models import flame_file, flame_pickle
from tests.data_gen.face_models.flame_like import Chumpy, pickled

VERTICES = 90


def content() -> dict[str, np.ndarray]:
    """FLAME's keys and shapes on a cloud of points; vertices 40..64 and 65..89 are eyes."""
    rng = np.random.default_rng(0)
    weights = np.zeros((VERTICES, 5))
    weights[:40, 1] = weights[40:65, 3] = weights[65:, 4] = 1.0
    regressor = np.zeros((5, VERTICES))
    regressor[np.arange(5), [0, 7, 7, 50, 80]] = [1.0, 0.25, 0.5, 1.0, 1.0]
    return {
        "v_template": rng.uniform(-0.15, 0.15, (VERTICES, 3)),
        "shapedirs": rng.normal(0, 1e-3, (VERTICES, 3, 400)),
        "posedirs": rng.normal(0, 1e-3, (VERTICES, 3, 36)),
        "f": rng.integers(0, VERTICES, (60, 3)).astype(np.uint32),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
    }


def check(arrays, expected):
    np.testing.assert_array_equal(arrays.template, expected["v_template"])
    np.testing.assert_array_equal(arrays.faces, expected["f"])
    np.testing.assert_allclose(arrays.modes[7], expected["shapedirs"][..., 7], rtol=1e-6)
    assert arrays.modes.shape == (300, VERTICES, 3)
    np.testing.assert_array_equal(arrays.eyes[0], np.arange(40, 65))
    np.testing.assert_array_equal(arrays.eyes[1], np.arange(65, 90))


def test_reads_what_python_2_and_chumpy_wrote(tmp_path):
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickled(content()))
    assert b"chumpy.ch\nCh" in path.read_bytes() and b"scipy.sparse.csc\ncsc_matrix" in path.read_bytes()
    check(flame_file.read(path), content())
    assert flame_file.read(path).embedding is None


@pytest.mark.parametrize("protocol", range(6))
def test_reads_pickles_of_plain_arrays_of_every_protocol(tmp_path, protocol):
    path = tmp_path / "flame2023.pkl"
    values = content() | {"J_regressor": scipy.sparse.csr_matrix(content()["J_regressor"]), "bs_style": "lbs"}
    values["v_template"] = np.asfortranarray(values["v_template"])
    values["weights"] = values["weights"].astype(">f4")
    path.write_bytes(pickle.dumps(values, protocol))
    check(flame_file.read(path), content())


def test_sparse_matrices_become_dense_ones(tmp_path):
    matrix = scipy.sparse.random_array((6, 9), density=0.4, rng=np.random.default_rng(1))
    for sparse in (scipy.sparse.csc_array(matrix), scipy.sparse.csr_array(matrix)):
        path = tmp_path / "matrix.pkl"
        path.write_bytes(pickle.dumps({"m": sparse}, 2))
        np.testing.assert_allclose(flame_pickle.load(path)["m"], matrix.toarray())


def test_reads_npz(tmp_path):
    np.savez(tmp_path / "flame2023.npz", **content())
    check(flame_file.read(tmp_path / "flame2023.npz"), content())


def test_reads_the_landmarks_beside_the_model(tmp_path):
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickled(content()))
    weights = np.random.default_rng(0).dirichlet(np.ones(3), 51)
    embedding = {"lmk_face_idx": np.arange(51), "lmk_b_coords": weights}
    (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps(embedding, 2))
    triangles, read = flame_file.read(path).embedding
    np.testing.assert_array_equal(triangles, np.arange(51))
    np.testing.assert_array_equal(read, weights)
    (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps(embedding | {"lmk_face_idx": np.full(51, 60)}))
    with pytest.raises(ValueError, match="lmk_face_idx holds 60; expected faces of the model, 0..59"):
        flame_file.read(path)


class Evil:
    """Asks to be rebuilt by a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def attacks(victim) -> dict[str, bytes]:
    """Pickles that would make a file if they were executed."""
    code = f"open({str(victim)!r}, 'w').close()"
    plain = {
        "os.system": Evil(os.system, (f"touch {victim}",)),
        "eval": Evil(eval, (code,)),
        "exec": Evil(exec, (code,)),
        "getattr": Evil(getattr, ("", "format")),
        "numpy.load": Evil(np.load, (str(victim), None, True)),
    }
    found = {name: pickle.dumps(content() | {"shapedirs": evil}, 2) for name, evil in plain.items()}
    found["inside an array"] = pickle.dumps({"v_template": np.array([plain["os.system"]], object)}, 2)
    shell = b"cposix\nsystem\n"
    found["copyreg makes it"] = b"\x80\x02ccopy_reg\n_reconstructor\n(" + shell + b"c__builtin__\nobject\nNtR."
    found["hidden in chumpy's state"] = b"\x80\x02cchumpy.ch\nCh\n)\x81}U\x01x" + shell + b"(U\x04true\x85R" + b"sb."
    found["under a dotted name"] = b"\x80\x04\x8c\x05numpy\x8c\x0etesting.os.sys\x93)R."
    found["numpy's test runner"] = b"cnumpy.testing._private.utils\nrunstring\n(Vopen\n}tR."
    found["extension code"] = b"\x80\x02\x82\x01)R."
    return found


@pytest.mark.parametrize("name", attacks("x"))
def test_a_pickle_that_asks_for_anything_but_arrays_is_refused_and_not_executed(tmp_path, name):
    victim = tmp_path / "executed"
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(attacks(victim)[name])
    if name == "extension code":
        copyreg.add_extension("os", "system", 1)
    try:
        with pytest.raises(ValueError, match=r"generic_model\.pkl"):
            flame_file.read(path)
    finally:
        if name == "extension code":
            copyreg.remove_extension("os", "system", 1)
    assert not victim.exists()


def test_the_attacks_of_these_tests_are_real(tmp_path):
    victim = tmp_path / "executed"
    pickle.loads(attacks(victim)["os.system"])
    assert victim.exists()


def test_the_refusal_names_what_the_file_asked_for(tmp_path):
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(attacks(tmp_path / "x")["os.system"])
    with pytest.raises(ValueError, match=r"asks for (posix|nt)\.system; .* not executed"):
        flame_file.read(path)


def test_a_dtype_that_lies_about_its_memory_is_refused(tmp_path):
    """NumPy's own unpickling would take the bytes for pointers to objects."""
    path = tmp_path / "a.pkl"
    path.write_bytes(
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x01\x85"
        b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x08AAAAAAAAtb."
    )
    with pytest.raises(flame_pickle.Refused, match="an array of O8"):
        flame_pickle.load(path)


@pytest.mark.parametrize("cut", [0, 1, 100, 5_000, -1])
def test_a_file_cut_short_is_an_error_in_a_sentence(tmp_path, cut):
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickled(content())[:cut])
    with pytest.raises(ValueError, match=r"generic_model\.pkl holds no arrays, or is cut short"):
        flame_file.read(path)


def test_a_damaged_file_never_ends_in_another_error(tmp_path):
    rng = np.random.default_rng(0)
    small = {key: value for key, value in content().items() if value.size < 1000}
    wholes = [np.frombuffer(data, np.uint8) for data in (pickled(small), pickle.dumps(small, 0), pickle.dumps(small))]
    path = tmp_path / "generic_model.pkl"
    for whole in 200 * wholes:
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        with pytest.raises(ValueError, match=r"generic_model\.pkl"):
            flame_file.read(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_npz_never_ends_in_another_error(tmp_path, save):
    small = {key: value for key, value in content().items() if value.size < 1000}
    path = tmp_path / "flame2023.npz"
    save(path, **small)
    rng, whole = np.random.default_rng(0), path.read_bytes()
    for _ in range(300):
        damaged = np.frombuffer(whole, np.uint8)[: rng.integers(len(whole) // 2, len(whole) + 1)].copy()
        damaged[rng.integers(0, len(damaged), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        with pytest.raises(ValueError, match=r"flame2023\.npz"):
            flame_file.read(path)


def test_an_npz_may_hold_things_that_are_not_used(tmp_path):
    """Some writers keep the sparse matrix as an object; it stays unread."""
    values = content() | {"J_regressor": np.array([scipy.sparse.csc_array(content()["J_regressor"])], object)}
    np.savez(tmp_path / "flame2023.npz", **values)
    check(flame_file.read(tmp_path / "flame2023.npz"), content())


def test_objects_in_an_npz_are_refused(tmp_path):
    victim = tmp_path / "executed"
    evil = np.array([Evil(os.system, (f"touch {victim}",))], object)
    np.savez(tmp_path / "a.npz", **content() | {"shapedirs": evil})
    with pytest.raises(ValueError, match="holds no arrays"):
        flame_file.read(tmp_path / "a.npz")
    assert not victim.exists()


WRONG = {
    "SMPL's vertices": ({"v_template": np.zeros((6890, 3))}, "shapedirs has shape .* expected \\(6890, 3, any\\)"),
    "flat vertices": ({"v_template": np.zeros((VERTICES, 2))}, "v_template has shape .* expected \\(any, 3\\)"),
    "few modes": ({"shapedirs": np.zeros((VERTICES, 3, 10))}, "shapedirs has 10 columns; expected at least 300"),
    "another body": ({"weights": np.zeros((VERTICES, 24))}, "weights has 24 joints; expected the 5 of FLAME"),
    "pose of another body": ({"posedirs": np.zeros((VERTICES, 3, 207))}, "posedirs has shape .* expected .*36"),
    "faces beyond": ({"f": np.full((3, 3), 90)}, "f holds 90; expected indices of vertices, 0..89"),
    "no number": ({"weights": np.full((VERTICES, 5), np.nan)}, "weights is empty or not finite"),
    "millimetres": ({"v_template": 1000 * content()["v_template"]}, "tall; expected a head in metres"),
    "a text": ({"f": "faces"}, "f is str; expected an array of numbers"),
    "no eyes": ({"weights": np.full((VERTICES, 5), 0.2)}, "ties 0 and 0 vertices .* expected two eyeballs"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_flame_model_is_refused_by_key(tmp_path, name):
    change, message = WRONG[name]
    path = tmp_path / "model.pkl"
    path.write_bytes(pickled(content() | change))
    with pytest.raises(ValueError, match=message):
        flame_file.read(path)


@pytest.mark.parametrize("key", flame_file.USED)
def test_a_missing_key_is_named(tmp_path, key):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickled({k: v for k, v in content().items() if k != key}))
    with pytest.raises(ValueError, match=f"has no '{key}'"):
        flame_file.read(path)


def test_says_where_to_get_a_model(tmp_path, monkeypatch):
    monkeypatch.delenv("PAINJAX_FLAME_FILE", raising=False)
    with pytest.raises(FileNotFoundError, match=r"Register at https://flame\.is\.tue\.mpg\.de.*PAINJAX_FLAME_FILE"):
        flame_file.find_file()
    monkeypatch.setenv("PAINJAX_FLAME_FILE", str(tmp_path / "nothing.pkl"))
    with pytest.raises(FileNotFoundError, match=r"nothing\.pkl, which does not exist"):
        flame_file.find_file()
    monkeypatch.setenv("PAINJAX_FLAME_FILE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"a folder without a FLAME model; looked for .*generic_model\.pkl"):
        flame_file.find_file()
    for name in ("male_model.pkl", "generic_model.pkl", "flame2023_Open.pkl"):  # later ones are preferred
        (tmp_path / name).touch()
        assert flame_file.find_file() == tmp_path / name


def test_a_value_of_chumpy_may_itself_be_chumpys(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickled({"shapedirs": Chumpy(Chumpy(np.arange(3.0)))}))
    np.testing.assert_array_equal(flame_pickle.load(path)["shapedirs"], [0.0, 1.0, 2.0])


@pytest.mark.parametrize(("module", "name"), flame_pickle._NAMES)
def test_nothing_that_a_file_may_name_can_be_written_to(tmp_path, module, name):
    """BUILD sets attributes on whatever lies on the stack, functions and classes of the reader included."""
    path = tmp_path / "a.pkl"
    state = pickle.dumps((None, {"__defaults__": (1,), "arguments": ()}), 2)[2:-1]
    path.write_bytes(b"\x80\x02c" + f"{module}\n{name}\n".encode() + state + b"b0}.")
    with pytest.raises(ValueError, match="filled as if it were a record"):
        flame_pickle.load(path)


def test_what_refers_to_itself_many_times_takes_no_time(tmp_path):
    """A hundred lists, each of which holds the one before twice, are a list of 2^100 numbers."""
    path, shared, key = tmp_path / "generic_model.pkl", [1.0], ()
    for _ in range(100):
        shared, key = [shared, shared], (key, key)
    path.write_bytes(pickle.dumps({"v_template": shared}, 2))
    with pytest.raises(ValueError, match="v_template is list; expected an array"):
        flame_file.read(path)
    path.write_bytes(b"\x80\x02}" + pickle.dumps(key, 2)[2:-1] + b"Ns.")  # hashing it would never end
    assert flame_pickle.load(path) == {}
    path.write_bytes(b"\x80\x02]q\x00h\x00a.")  # a list of itself
    with pytest.raises(ValueError, match="no pickle of arrays"):
        flame_pickle.load(path)


HUGE = {
    "memo": b"\x80\x02}r\xff\xff\xff\x7f.",
    "memo of protocol 0": b"}p4000000000\n.",
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 42) + b"abc.",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 42) + b"abc.",
    "text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 42) + b"abc.",
    "text of Python 2": b"\x80\x02T\xff\xff\xff\x7fabc.",
    "negative": b"\x80\x02T\xff\xff\xff\xffabc.",
    "integer": b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 42) + b"}.",
}


@pytest.mark.parametrize("name", HUGE)
def test_a_size_beyond_the_file_takes_no_memory(tmp_path, name):
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(HUGE[name])
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"generic_model\.pkl"):
        flame_file.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_many_arrays_of_the_same_bytes_and_sparse_ones_of_any_size_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.pkl"
    data = pickle.dumps(np.zeros(125_000), 2)[2:-1]
    path.write_bytes(b"\x80\x02(" + data + b"l.")
    assert flame_pickle.load(path)[0].shape == (125_000,)
    monkeypatch.setattr(flame_pickle, "ARRAYS", 3_000_000)
    path.write_bytes(b"\x80\x02(" + 4 * data + b"l.")
    with pytest.raises(ValueError, match="arrays of more than 3,000,000 bytes"):
        flame_pickle.load(path)
    for shape in ((1 << 20, 1 << 20), (-1, -(1 << 40))):
        sparse = scipy.sparse.csc_array(np.eye(1))
        sparse._shape = shape
        path.write_bytes(pickle.dumps({"m": sparse}, 2))
        with pytest.raises(ValueError, match="arrays of more than"):
            flame_pickle.load(path)


def test_reads_protocol_0_of_python_2(tmp_path):
    """As pickle.dump(np.array([1, 200, 0x0a5c27], '<i4'), file) of Python 2 writes it."""
    path = tmp_path / "a.pkl"
    path.write_bytes(
        b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n"
        b"(I1\n(I3\ntp6\ncnumpy\ndtype\np7\n(S'i4'\np8\nI0\nI1\ntp9\nRp10\n"
        b"(I3\nS'<'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\n"
        b'S"\\x01\\x00\\x00\\x00\\xc8\\x00\\x00\\x00\'\\\\\\n\\x00"\np13\ntp14\nb.'
    )
    np.testing.assert_array_equal(flame_pickle.load(path), [1, 200, 0x0A5C27])
