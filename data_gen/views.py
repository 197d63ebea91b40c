"""Where the cameras of a session stand: one frontal, one to either side, each a little off its mark."""

from data_gen.scene import View, stream

VIEW_YAWS = (0.0, -40.0, 40.0)  # degrees; positive: the camera stands on the subject's left
VIEWS = len(VIEW_YAWS)
YAW_JITTER, PITCH_JITTER, ROLL_JITTER = 6.0, 7.0, 6.0  # degrees, either way
FOV = (18.0, 30.0)  # degrees: a portrait lens, 0.6 to 1.2 m away
FILL = (0.66, 0.76)  # share of the picture's height: leaves room for a dropped jaw


def view(identity_seed: int, number: int) -> View:
    """Camera `number` (0 frontal, 1 on the subject's right, 2 on the left) of a person's session.

    Raises:
      ValueError: if there is no such camera.
    """
    if not 0 <= number < VIEWS:
        raise ValueError(f"view is {number}; expected 0..{VIEWS - 1}.")
    return _jittered(identity_seed, f"view {number}", number, VIEW_YAWS[number])


def clip_view(identity_seed: int, clip: int) -> View:
    """The one camera of a clip: each of the three places in turn, with a jitter of its own."""
    number = (0, 2, 0, 1)[clip % 4]  # frontal half of the time
    return _jittered(identity_seed, f"clip view {clip}", number, VIEW_YAWS[number])


def _jittered(seed: int, purpose: str, number: int, yaw: float) -> View:
    rng = stream(seed, purpose)
    return View(
        id=number,
        yaw=float(yaw + rng.uniform(-YAW_JITTER, YAW_JITTER)),
        pitch=float(rng.uniform(-PITCH_JITTER, PITCH_JITTER)),
        fov=float(rng.uniform(*FOV)),
        fill=float(rng.uniform(*FILL)),
        roll=float(rng.uniform(-ROLL_JITTER, ROLL_JITTER)),
    )
