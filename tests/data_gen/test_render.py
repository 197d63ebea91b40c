"""Pixels against geometry: what the projection says must be where the rasteriser put it."""

import dataclasses
import gc
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from data_gen import camera as cameras
from data_gen import face_models, scene, visibility
from data_gen.face_models import MATERIALS, Topology
from data_gen.render import Renderer
from data_gen.textures import HairMesh, Texture, paint

ROOT = Path(__file__).resolve().parents[2]
SIZE = 128
LIGHT = scene.Light(key_azimuth=0, key_elevation=20, key=1.0, fill=0.5, ambient=0.5, kelvin=5500)
BLUE = np.full((SIZE, SIZE, 3), (10, 20, 200), np.uint8)


@pytest.fixture(scope="module")
def model():
    return face_models.load("procedural")


@pytest.fixture(scope="module")
def renderer(model):
    with Renderer(model.topology, SIZE) as renderer:
        renderer.set_texture(Texture(np.full((64, 64, 3), 200, np.uint8)))
        yield renderer


@pytest.fixture(scope="module")
def camera(model):
    view = scene.View(id=0, yaw=25.0, pitch=5.0, fov=24.0, fill=0.8)
    return cameras.aim(view, model.topology.template[model.topology.landmarks], SIZE)


def sheet(z: float, half: float, x: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A square facing +z."""
    corners = np.array(
        [[x - half, -half, z], [x + half, -half, z], [x + half, half, z], [x - half, half, z]], np.float32
    )
    return corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def flat_topology(squares: list, materials: list[str]) -> Topology:
    vertices = np.concatenate([corners for corners, _ in squares])
    faces = np.concatenate([faces + 4 * i for i, (_, faces) in enumerate(squares)]).astype(np.int32)
    uvs = np.tile(np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32), (len(squares), 1))
    kinds = np.repeat([MATERIALS.index(m) for m in materials], 2).astype(np.int8)
    return Topology(faces, uvs, faces, kinds, np.zeros(68, np.int32), vertices)


def straight_camera(size: int = SIZE) -> cameras.Camera:
    pose = np.eye(4)
    pose[2, 3] = 1000.0
    return cameras.Camera(pose, 20.0, size)


def test_field_puts_every_visible_vertex_on_its_pixel(model, renderer, camera):
    """Fields that hold each vertex's own projected x and y must read back as the pixel's position."""
    vertices = model.topology.template
    xy, depth = cameras.project(camera, vertices.astype(np.float64))
    for axis in (0, 1):
        field = renderer.field(vertices, xy[:, axis].astype(np.float32), camera)
        centers = np.indices((SIZE, SIZE))[1 - axis] + 0.5
        error = np.abs(field.values - centers)[field.mask]
        assert np.median(error) < 0.02  # the rest: silhouettes, and perspective inside a triangle
        assert np.quantile(error, 0.99) < 0.5
    ahead = renderer.field(vertices, depth.astype(np.float32), camera)
    np.testing.assert_allclose(ahead.values[ahead.mask], ahead.depth[ahead.mask], rtol=1e-4)


def test_square_covers_exactly_its_pixels():
    """40 x 20 mm seen from 1000 mm: edges by the pinhole formula, with half-integer pixel centres and y down."""
    corners, faces = sheet(0.0, 1.0)
    corners = corners * (40, 20, 1) + np.array([30, 15, 0], np.float32)
    topology = flat_topology([(corners, faces)], ["skin"])
    camera = straight_camera()
    with Renderer(topology, SIZE) as renderer:
        field = renderer.field(corners, np.ones(4, np.float32), camera)
    focal = SIZE / 2 / np.tan(np.radians(10)) / 1000
    center = np.arange(SIZE) + 0.5
    columns = (center > SIZE / 2 + focal * -10) & (center < SIZE / 2 + focal * 70)
    rows = (center > SIZE / 2 - focal * 35) & (center < SIZE / 2 + focal * 5)
    np.testing.assert_array_equal(field.mask, rows[:, None] & columns)
    np.testing.assert_array_equal(field.values, field.mask.astype(np.float32))


def test_nearer_surface_hides_the_farther_and_depth_says_so():
    near, far = sheet(100.0, 20.0), sheet(0.0, 60.0)
    topology = flat_topology([far, near], ["skin", "eye"])
    vertices = topology.template
    with Renderer(topology, SIZE) as renderer:
        field = renderer.field(vertices, np.repeat([1.0, 0.25], 4).astype(np.float32), straight_camera())
    middle, beside = (SIZE // 2, SIZE // 2), (SIZE // 2, SIZE // 2 + 15)
    assert field.values[middle] == 0.25 and field.depth[middle] == pytest.approx(900, abs=0.01)
    assert field.values[beside] == 1.0 and field.depth[beside] == pytest.approx(1000, abs=0.01)
    assert field.values[0, 0] == 0 and not field.mask[0, 0] and np.isinf(field.depth[0, 0])


def test_field_is_linear_and_fine():
    """A ramp reads back as a ramp, without gamma, light or 8-bit steps."""
    corners, faces = sheet(0.0, 100.0)
    with Renderer(flat_topology([(corners, faces)], ["skin"]), SIZE) as renderer:
        field = renderer.field(corners, ((corners[:, 0] + 100) / 200).astype(np.float32), straight_camera())
    row = field.values[SIZE // 2][field.mask[SIZE // 2]]
    np.testing.assert_allclose(np.diff(row), np.diff(row).mean(), atol=1e-5)


def test_skin_seen_from_behind_is_not_drawn_but_a_lash_is():
    for material, drawn in (("skin", False), ("eye", False), ("lash", True), ("mouth", True)):
        corners, faces = sheet(0.0, 50.0)
        topology = flat_topology([(corners, faces[:, ::-1])], [material])
        with Renderer(topology, SIZE) as renderer:
            mask = renderer.field(corners, np.ones(4, np.float32), straight_camera()).mask
        assert mask.any() == drawn, material


def test_color_and_field_cover_the_same_pixels(model, renderer, camera):
    vertices = model.topology.template
    picture = renderer.color(vertices, camera, LIGHT, BLUE)
    mask = renderer.field(vertices, np.zeros(len(vertices), np.float32), camera).mask
    is_background = (picture == BLUE).all(-1)
    assert (is_background & mask)[1:-1, 1:-1].sum() <= 2  # a lash thinner than a sample
    outside = ~mask & ~is_background
    assert outside.sum() < 0.03 * mask.sum()  # antialiased silhouettes reach half a pixel out
    grown = np.pad(mask, 1)
    grown = np.any(
        [grown[1 + dy : SIZE + 1 + dy, 1 + dx : SIZE + 1 + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0
    )
    assert not (outside & ~grown).any()


def test_light_comes_from_where_the_scene_says(model, renderer, camera):
    front = cameras.aim(cameras.FRONTAL, model.topology.template[model.topology.landmarks], SIZE)
    vertices = model.topology.template
    for azimuth, brighter in ((50.0, "right"), (-50.0, "left")):
        light = scene.Light(azimuth, 10, 1.2, 0.2, 0.2, 5500)
        picture = renderer.color(vertices, front, light, BLUE * 0).astype(float).mean(-1)
        left, right = picture[:, : SIZE // 2].sum(), picture[:, SIZE // 2 :].sum()
        assert (right > 1.1 * left) if brighter == "right" else (left > 1.1 * right)


def test_warm_light_is_redder(model, renderer, camera):
    warm, cool = (
        renderer.color(model.topology.template, camera, scene.Light(0, 20, 1, 0.5, 0.5, kelvin), BLUE * 0).astype(float)
        for kelvin in (3800, 7500)
    )
    assert warm[..., 0].sum() / warm[..., 2].sum() > 1.05 * cool[..., 0].sum() / cool[..., 2].sum()


def test_no_light_changes_at_texture_seams():
    """Two coplanar squares that share an edge but not their texture coordinates look like one."""
    vertices = np.array([[-60, -60, 0], [0, -60, 0], [60, -60, 0], [-60, 60, 0], [0, 60, 20], [60, 60, 0]], np.float32)
    faces = np.array([[0, 1, 4], [0, 4, 3], [1, 2, 5], [1, 5, 4]], np.int32)
    shared = (vertices[:, :2] / 150 + 0.5).astype(np.float32)
    split = np.concatenate([shared, shared + np.float32(0.01)])
    split_faces = faces.copy()
    split_faces[2:] += 6
    pictures = []
    for uvs, uv_faces in ((shared, faces), (split, split_faces)):
        topology = Topology(faces, uvs, uv_faces, np.zeros(4, np.int8), np.zeros(68, np.int32), vertices)
        with Renderer(topology, SIZE) as renderer:
            renderer.set_texture(Texture(np.full((8, 8, 3), 180, np.uint8)))
            pictures.append(renderer.color(vertices, straight_camera(), LIGHT, BLUE).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_texture_is_upright():
    """Row 0 of the texture is v = 1, the top of the square."""
    corners, faces = sheet(0.0, 60.0)
    albedo = np.zeros((64, 64, 3), np.uint8)
    albedo[:32], albedo[32:, :32] = (255, 0, 0), (0, 255, 0)
    with Renderer(flat_topology([(corners, faces)], ["skin"]), SIZE) as renderer:
        renderer.set_texture(Texture(albedo, roughness=np.full((64, 64), 255, np.uint8)))
        picture = renderer.color(corners, straight_camera(), LIGHT, BLUE).astype(int)
    up, low_left, low_right = picture[50, 64], picture[80, 50], picture[80, 78]
    assert up[0] > 3 * up[1] and low_left[1] > 3 * low_left[0] and low_right.max() < 60


def test_camera_of_another_size_is_refused(model, renderer, camera):
    small = cameras.Camera(camera.pose, camera.fov, 64)
    with pytest.raises(ValueError, match="camera is for 64 pixels; expected 128"):
        renderer.field(model.topology.template, np.zeros(len(model.topology.template), np.float32), small)


def test_visibility_is_what_the_shape_hides():
    """A wall stands on a floor: before it the floor sees less of the sky on the wall's side than on the other."""
    floor = np.array([[-100, 0, 100], [100, 0, 100], [100, 0, -100], [-100, 0, -100], [0, 0, 15]], np.float32)
    wall = np.array([[-100, 0, 0], [100, 0, 0], [100, 80, 0], [-100, 80, 0]], np.float32)
    faces = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4], [5, 6, 7], [5, 7, 8], [7, 6, 5], [8, 7, 5]], np.int32)
    uvs = np.zeros((9, 2), np.float32)
    topology = Topology(faces, uvs, faces, np.zeros(8, np.int8), np.zeros(68, np.int32), np.concatenate([floor, wall]))
    with Renderer(topology, 32) as renderer:
        seen = visibility.bake(topology, np.tile([0.0, 1, 0], (9, 1)), renderer.heights)
    away, towards, up = (seen[4, 0] + seen[4, 1:] @ np.array(d) for d in ([0, 0.7, 0.7], [0, 0.7, -0.7], [0, 1.0, 0]))
    assert away > 0.9 and towards < 0.45 and away > up > towards
    assert seen[0, 0] + seen[0, 2] > 0.85  # a far corner sees the zenith


def test_what_stands_in_the_key_light_casts_a_shadow_with_soft_edges():
    """A square 60 mm before a grid, lit from the left: its shadow lies where the light's direction puts it."""
    side = np.linspace(-100, 100, 41, dtype=np.float32)
    grid = np.stack([*np.meshgrid(side, side), np.zeros((41, 41), np.float32)], -1).reshape(-1, 3)
    cell = (np.arange(40)[:, None] * 41 + np.arange(40)).reshape(-1, 1)
    faces = np.concatenate([cell + (0, 1, 42), cell + (0, 42, 41)]).astype(np.int32)
    square, more = sheet(60.0, 15.0)
    vertices, faces = np.concatenate([grid, square]), np.concatenate([faces, more + len(grid)]).astype(np.int32)
    uvs, materials = np.zeros((len(vertices), 2), np.float32), np.zeros(len(faces), np.int8)
    topology = Topology(faces, uvs, faces, materials, np.zeros(68, np.int32), vertices)
    picture = {}
    with Renderer(topology, SIZE) as renderer:
        renderer.set_texture(Texture(np.full((8, 8, 3), 180, np.uint8)))
        for azimuth in (-45, 45):
            light = scene.Light(key_azimuth=azimuth, key_elevation=0, key=1.5, fill=0.0, ambient=0.2, kelvin=5500)
            picture[azimuth] = renderer.color(vertices, straight_camera(), light, BLUE).astype(float).mean(-1)
    per_mm = SIZE / 2 / np.tan(np.radians(10)) / 1000
    row, right, left = SIZE // 2, *(int(SIZE / 2 + s * 60 * per_mm) for s in (1, -1))
    assert picture[-45][row, right] < 0.7 * picture[45][row, right]  # light from -x: the shadow at +60 mm
    assert picture[45][row, left] < 0.7 * picture[-45][row, left]
    assert picture[-45][row, left] == pytest.approx(picture[45][row, right], rel=0.1)
    edge = picture[-45][row, right : right + int(30 * per_mm)]
    assert (np.diff(edge) > -2).all() and np.diff(edge).max() < 0.6 * np.ptp(edge)  # fades over several pixels


def test_hair_lies_in_the_shadow_of_the_head_and_of_hair_before_it(model):
    """Like locks, lit from the right: one before the others, one 40 mm behind it, one on the head's other side."""
    template, places = model.topology.template, np.array([[150.0, 0, 0], [110, 0, 0], [-140, 0, 0]])
    across, down = np.meshgrid(np.arange(-16.0, 17.0, 2.0), np.linspace(25.0, -25.0, 6), indexing="ij")
    lock = np.stack([-np.sqrt(0.5) * across, down, np.sqrt(0.5) * across], -1)  # [W, S, 3]
    light = scene.Light(key_azimuth=90, key_elevation=0, key=1.5, fill=0.0, ambient=0.05, kelvin=5500)

    def bright(shown: np.ndarray) -> np.ndarray:
        """Of the middles of some of the locks, one after the other."""
        positions = (lock + shown[:, None, None]).reshape(-1, 6, 3).astype(np.float32)
        count = len(positions)
        ones, out = np.ones(count, np.float32), np.sqrt(np.float32([0.5, 0, 0.5]))
        mesh = HairMesh(
            positions=positions, normals=np.tile(out, (count, 6, 1)), widths=4 * ones,
            columns=np.tile(np.float32([0, 1]), (count, 1)), light=ones, shine=ones, tone=ones,
            beard=np.zeros(count, bool), hangs=np.ones((count, 6), bool),
            binding=scipy.sparse.csr_array((count * 6, len(template))), texture=np.full((4, 4, 4), [0.2, 0.2, 0.2, 1]),
        )  # fmt: skip
        renderer.set_texture(Texture(np.full((8, 8, 3), 180, np.uint8), hair=mesh))
        picture = renderer.color(template, straight_camera(), light, BLUE).astype(float).mean(-1)
        column, row = cameras.project(straight_camera(), shown)[0].astype(int).T
        return picture[row, column]

    with Renderer(model.topology, SIZE) as renderer:
        alone = bright(places[:1])
        first, behind, beyond = bright(places)
    assert first == pytest.approx(alone[0], rel=0.02)  # it does not lie in its own shadow
    assert max(behind, beyond) < 0.6 * first
    assert min(behind, beyond) > 0  # there is light from around


def test_painted_slopes_lean_the_surface_along_u_and_v():
    """A slope along +u catches light from +x, one along +v light from +y: as a tilted plane would."""
    corners, faces = sheet(0.0, 60.0)
    with Renderer(flat_topology([(corners, faces)], ["skin"]), SIZE) as renderer:
        for slope, light in (((230, 128), (60.0, 0.0)), ((128, 230), (0.0, 60.0))):
            bright = {}
            for sign in (1, -1):
                texel = np.where(np.array(slope) == 128, 128, 128 + sign * (np.array(slope) - 128))
                surface = np.zeros((8, 8, 3), np.uint8)
                surface[..., :2] = texel
                renderer.set_texture(
                    Texture(np.full((8, 8, 3), 120, np.uint8), np.full((8, 8), 255, np.uint8), surface)
                )
                lamp = scene.Light(*light, key=1.0, fill=0.0, ambient=0.1, kelvin=5500)
                bright[sign] = renderer.color(corners, straight_camera(), lamp, BLUE)[SIZE // 2, SIZE // 2].mean()
            assert bright[1] > 1.5 * bright[-1]


def test_a_pose_serves_all_views_and_gives_the_same_pixels(model, renderer, camera):
    vertices = model.topology.template
    other = vertices + np.float32(3.0)
    pose, moved = renderer.pose(vertices), renderer.pose(other)
    first = renderer.color(pose, camera, LIGHT, BLUE)
    assert (renderer.color(moved, camera, LIGHT, BLUE) != first).any()
    np.testing.assert_array_equal(renderer.color(pose, camera, LIGHT, BLUE), first)
    np.testing.assert_array_equal(renderer.color(vertices, camera, LIGHT, BLUE), first)


def test_hair_looks_the_same_whatever_was_drawn_before(model, renderer, camera):
    person = scene.identity(0, 2)  # long hair
    texture, rest = paint("procedural", person, model, 128), model.neutral(person)
    moved = rest + np.float32([0, 0, 2])
    renderer.set_texture(texture, rest)
    fresh, fresh_mask = renderer.color(moved, camera, LIGHT, BLUE), renderer.field(moved, moved[:, 0], camera).mask
    renderer.set_texture(texture, rest)
    renderer.field(rest, rest[:, 0], camera)
    np.testing.assert_array_equal(renderer.field(moved, moved[:, 0], camera).mask, fresh_mask)
    np.testing.assert_array_equal(renderer.color(moved, camera, LIGHT, BLUE), fresh)
    renderer.set_texture(dataclasses.replace(texture, hair=None), rest)
    bald = renderer.field(moved, moved[:, 0], camera).mask
    assert (bald & ~fresh_mask).sum() > 0.02 * bald.sum()  # hair hides some of the head
    assert not (fresh_mask & ~bald).any()


def test_a_size_that_the_driver_refuses_is_named_and_harms_no_other_renderer(camera):
    corners, faces = sheet(0.0, 50.0)
    topology = flat_topology([(corners, faces)], ["skin"])
    with Renderer(topology, SIZE) as renderer:
        before = renderer.color(corners, camera, LIGHT, BLUE)
        for size in (100_000, -4):
            with pytest.raises(RuntimeError, match=f"{size} x {size} pixels .*: choose a smaller size or a smaller"):
                Renderer(topology, size)
            gc.collect()  # pyrender's destructor ends a display
        np.testing.assert_array_equal(renderer.color(corners, camera, LIGHT, BLUE), before)
        with Renderer(topology, SIZE) as another:
            np.testing.assert_array_equal(another.color(corners, camera, LIGHT, BLUE), before)
        np.testing.assert_array_equal(renderer.color(corners, camera, LIGHT, BLUE), before)


def test_a_closed_renderer_says_so(camera):
    corners, faces = sheet(0.0, 50.0)
    renderer = Renderer(flat_topology([(corners, faces)], ["skin"]), SIZE)
    renderer.close()
    with pytest.raises(RuntimeError, match="closed"):
        renderer.color(corners, camera, LIGHT, BLUE)


_HASH = """
import hashlib, numpy as np
from data_gen import camera, face_models, plan, rooms, scene
from data_gen.render import Renderer
from data_gen.textures import paint
model, person = face_models.load("procedural"), scene.identity(3, 1)
s = plan.scenes(3, 1)[1]
vertices = model.neutral(person)
with Renderer(model.topology, 96) as renderer:
    renderer.set_texture(paint("procedural", person, model, 128))
    c = camera.aim(s.view, vertices[model.topology.landmarks], 96)
    picture = renderer.color(vertices, c, s.light, rooms.behind(rooms.panorama(person.seed, s.room), s.view, 96))
    field = renderer.field(vertices, vertices[:, 0] / 200 + 0.5, c)
print(hashlib.sha256(picture.tobytes() + field.values.tobytes() + field.depth.tobytes()).hexdigest())
"""


def test_same_picture_in_every_process():
    def run(seed: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        return subprocess.run(
            [sys.executable, "-c", _HASH], env=environment, capture_output=True, text=True, check=True
        ).stdout

    first = run("1")
    assert len(first.strip()) == hashlib.sha256().digest_size * 2
    assert run("2") == first


@pytest.mark.parametrize(
    ("prepare", "environment"),
    [
        ("import sys; sys.modules['pyrender'] = None", {}),
        ("", {"__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent/no_driver.json"}),
        ("", {"LIBGL_DRIVERS_PATH": "/nonexistent", "LIBGL_ALWAYS_SOFTWARE": "1"}),
    ],
    ids=["no pyrender", "no EGL device", "no OpenGL driver"],
)
def test_without_opengl_the_message_says_what_to_install(prepare, environment):
    code = f"""{prepare}
import numpy as np
from data_gen.face_models import Topology
from data_gen.render import Renderer
t = np.array([[0, 1, 2]], np.int32)
uvs, kinds, landmarks = np.zeros((3, 2), np.float32), np.zeros(1, np.int8), np.zeros(68, np.int32)
Renderer(Topology(t, uvs, t, kinds, landmarks, np.eye(3, dtype=np.float32)), 32)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: No offscreen OpenGL")
    assert "pip install 'painjax[generate]'" in last
    assert "apt-get install libegl1 libgl1 libgl1-mesa-dri libgles2" in last


def test_needs_no_libraries_of_a_display():
    """As on a fresh server: pyrender imports its viewer, whose window would look for them."""
    code = """
import ctypes
load = ctypes.cdll.LoadLibrary
def without_display(name):
    if "libX" in name:
        raise OSError(f"{name} is hidden")
    return load(name)
ctypes.cdll.LoadLibrary = without_display
from data_gen import egl
platform, _ = egl.open_context(8)
egl.close_context(platform)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYGLET_HEADLESS"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
