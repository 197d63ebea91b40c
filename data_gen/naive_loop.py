"""The generator as one would write it first, with pyrender: what `benchmark` compares the real one with.

It paints the same textures, deforms the same faces and writes the same outputs, frame by frame: a new mesh for every
picture, one call of pyrender's renderer for each of colour, heatmap and frontal heatmap. Wrinkles and the key light's
shadows it leaves out, and hair hides nothing in its heatmaps, which makes it faster than it would be.
"""

import functools

import numpy as np

from data_gen import camera as cameras
from data_gen import egl, face_models, lens, lighting, plan, record, rig, rooms
from data_gen.camera import Camera
from data_gen.face_models import FaceModel
from data_gen.generator_config import GeneratorConfig
from data_gen.heatmap import displacement, visible_landmarks
from data_gen.scene import Scene, identity, stream
from data_gen.stage_times import clock
from data_gen.textures import HairMesh, Texture, paint

FRAMES = 12  # of each identity are drawn, evenly; the loop has no cost per identity but its texture and its room


def identity_seconds(config: GeneratorConfig, index: int) -> float:
    """Processor seconds that all frames of an identity take, judged by some of them."""
    loop = _loop(config.face_model, config.image_size)
    person = identity(config.dataset_seed, index)
    seeds = plan.example_seeds(config.dataset_seed, index, config.plan)
    scenes = [plan.scene(seed) for seed in seeds[:: max(len(seeds) // FRAMES, 1)]]
    with clock() as shared:
        texture = paint(config.texture_backend, person, loop.model, config.texture_size)
        neutral, surroundings = loop.model.neutral(person), rooms.panorama(person.seed, scenes[0].room)
    with clock() as drawn:
        for scene in scenes:
            loop.frame(scene, neutral, texture, surroundings)
    return shared() + drawn() * len(seeds) / len(scenes)


class NaiveLoop:
    """Draws frames of a face model at one size, each from nothing.

    Its process must draw nothing else: where pyrender's renderer ends, it ends every context of the process.
    """

    def __init__(self, model: FaceModel, size: int):
        egl.open_context(size)  # sets the platform, and says what is missing where there is none
        import pyrender

        self._pyrender, self.model, self._size = pyrender, model, size
        self._renderer = pyrender.OffscreenRenderer(size, size)
        topology = model.topology
        corners, indices = np.unique(
            np.stack([topology.faces, topology.uv_faces], -1).reshape(-1, 2), axis=0, return_inverse=True
        )
        self._vertex, self._uvs, self._triangles = corners[:, 0], topology.uvs[corners[:, 1]], indices.reshape(-1, 3)

    def frame(self, scene: Scene, neutral: np.ndarray, texture: Texture, surroundings: rooms.Panorama) -> dict:
        """One frame of a scene: encoded pictures and landmarks, as `record.example` takes them.

        `neutral` (V, 3) mm, texture and surroundings are those of the scene's identity.
        """
        model, person, size = self.model, scene.identity, self._size
        topology = model.topology
        pain = model.deform(person, rig.shape_weights(scene.aus, scene.asymmetry))
        face = model.deform(person, rig.shape_weights(scene.aus, scene.asymmetry, dict(scene.others)))
        heat = displacement(neutral, pain, topology)
        camera = cameras.aim(scene.view, neutral[topology.landmarks], size)
        picture = self._color(face, texture, camera, scene, rooms.behind(surroundings, scene.view, size))
        values, depth = self._heat(face, heat, camera)
        frontal, _ = self._heat(face, heat, cameras.aim(cameras.FRONTAL, neutral[topology.landmarks], size))
        xy, visible = visible_landmarks(face[topology.landmarks], camera, np.where(depth > 0, depth, np.inf))
        return {
            "image": record.jpeg(
                lens.develop(picture, scene.lens, stream(scene.seed, "noise")), scene.lens.jpeg_quality
            ),
            "heatmap": record.png(values),
            "heatmap_frontal": record.png(frontal),
            "mask": record.png(depth > 0),
            "landmarks": xy,
            "landmarks_visible": visible,
        }

    def _color(self, face: np.ndarray, texture: Texture, camera: Camera, scene: Scene, room: np.ndarray) -> np.ndarray:
        pyrender, lights = self._pyrender, lighting.rig(scene.light, camera)
        image = pyrender.Texture(source=texture.albedo, source_channels="RGB")
        material = pyrender.MetallicRoughnessMaterial(
            baseColorTexture=image, metallicFactor=0.0, roughnessFactor=0.5, doubleSided=True
        )
        stage = pyrender.Scene(bg_color=(0, 0, 0, 0), ambient_light=lights.above)
        stage.add(self._mesh(face, material=material, texcoord_0=self._uvs))
        if texture.hair is not None:
            stage.add(self._hair(face, texture.hair))
        for direction, color in zip(lights.directions, lights.colors, strict=True):
            stage.add(pyrender.DirectionalLight(color, intensity=3.0), pose=_towards(direction))
        drawn, depth = self._draw(stage, camera, pyrender.RenderFlags.RGBA)
        alpha = np.maximum(drawn[..., 3] / 255.0, depth > 0)[..., None]
        return (drawn[..., :3] * alpha + room * (1 - alpha)).astype(np.uint8)

    def _heat(self, face: np.ndarray, heat: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        colors = np.repeat(heat[self._vertex, None], 4, axis=1).astype(np.float32)
        colors[:, 3] = 1.0
        stage = self._pyrender.Scene(bg_color=(0, 0, 0, 0))
        stage.add(self._mesh(face, color_0=colors))
        drawn, depth = self._draw(stage, camera, self._pyrender.RenderFlags.FLAT)
        return drawn[..., 0] / 255.0, depth

    def _hair(self, face: np.ndarray, hair: HairMesh):
        """The wisps as ribbons."""
        pyrender, (wisps, nodes) = self._pyrender, hair.positions.shape[:2]
        centers = hair.positions + (hair.binding @ (face - self.model.topology.template)).reshape(hair.positions.shape)
        side = np.cross(np.gradient(centers, axis=1), hair.normals)
        side *= 0.5 * hair.widths[:, None, None] / np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-6)
        positions = np.stack([centers - side, centers + side], 2)  # [W, S, 2, 3]
        uvs = np.empty((wisps, nodes, 2, 2))
        uvs[..., 0], uvs[..., 1] = hair.columns[:, None], np.linspace(1, 0, nodes)[:, None]
        quads = 2 * np.arange(nodes - 1)[:, None] + np.array([0, 1, 2, 2, 1, 3])
        triangles = 2 * nodes * np.arange(wisps)[:, None] + quads.ravel()
        image = pyrender.Texture(source=np.clip(hair.texture, 0, 1), source_channels="RGBA")
        material = pyrender.MetallicRoughnessMaterial(baseColorTexture=image, alphaMode="BLEND", doubleSided=True)
        primitive = pyrender.Primitive(
            positions=positions.reshape(-1, 3),
            normals=np.repeat(hair.normals.reshape(-1, 3), 2, axis=0),
            texcoord_0=uvs.reshape(-1, 2),
            indices=triangles.reshape(-1, 3),
            material=material,
        )
        return pyrender.Mesh([primitive])

    def _mesh(self, face: np.ndarray, **attributes):
        import trimesh

        normals = trimesh.Trimesh(face, self.model.topology.faces, process=False).vertex_normals
        primitive = self._pyrender.Primitive(
            positions=face[self._vertex], normals=normals[self._vertex], indices=self._triangles, **attributes
        )
        return self._pyrender.Mesh([primitive])

    def _draw(self, stage, camera: Camera, flags: int) -> tuple[np.ndarray, np.ndarray]:
        yfov = float(np.radians(camera.fov))
        stage.add(
            self._pyrender.PerspectiveCamera(yfov=yfov, aspectRatio=1.0, znear=50.0, zfar=5000.0), pose=camera.pose
        )
        return self._renderer.render(stage, flags=flags)


def _towards(direction: np.ndarray) -> np.ndarray:
    """(4, 4) pose of a lamp that shines from `direction`."""
    right = np.cross((0.0, 1.0, 0.0), direction)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(direction, right), direction], -1)
    return pose


@functools.cache
def _loop(face_model: str, size: int) -> NaiveLoop:
    return NaiveLoop(face_models.load(face_model), size)
