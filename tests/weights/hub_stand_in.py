"""A hub without network: huggingface_hub itself, with its HTTP answered here as the real hub answers."""

import hashlib
import importlib

import huggingface_hub
import huggingface_hub.errors

COMMIT = "a" * 40
# The library's own HTTP package: httpx in its version 1, httpx2 in its version 2.
_http = importlib.import_module(huggingface_hub.errors.HTTPError.__module__.split(".")[0])


class Hub:
    """Repositories {id: {file: bytes}} at one commit; `asked` are the requests; set `refuses` to what it answers."""

    def __init__(self, repositories: dict[str, dict[str, bytes]]):
        self.repositories = repositories
        self.asked: list[str] = []
        self.refuses = ""

    def client(self):
        return _http.Client(transport=_http.MockTransport(self._answer))

    def _answer(self, request):
        path = request.url.path
        self.asked.append(f"{request.method} {path}")
        if self.refuses == "network":
            raise _http.ConnectError("Name or service not known")
        listing = path.startswith("/api/models/")
        repository = "/".join(path.removeprefix("/api/models/").strip("/").split("/")[:2])
        files = self.repositories.get(repository)
        if files is None:
            return _http.Response(401, headers={"X-Error-Code": "RepoNotFound"})
        if self.refuses == "gated" and not listing:
            return _http.Response(403, headers={"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        if self.refuses == "down":
            return _http.Response(400, headers={"X-Error-Message": "The hub is being repaired."})
        if listing:
            revision = path.split("/revision/")[-1] if "/revision/" in path else "main"
            if revision not in ("main", "v1", COMMIT):
                return _http.Response(404, headers={"X-Error-Code": "RevisionNotFound"})
            siblings = [{"rfilename": name} | _large(name, data) for name, data in files.items()]
            return _http.Response(200, json={"id": repository, "sha": COMMIT, "siblings": siblings})
        name = path.split("/resolve/")[-1].split("/", 1)[1]
        if name not in files:
            return _http.Response(404, headers={"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{abs(hash(name))}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(files[name]))}
        return _http.Response(200, content=b"" if request.method == "HEAD" else files[name], headers=headers)


def _large(name: str, data: bytes) -> dict:
    """What the hub lists of a file that it keeps in its large file storage."""
    if not name.endswith(".safetensors"):
        return {}
    return {"lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}}


def cached(cache, repository: str, files: dict[str, bytes], commit: str = COMMIT) -> None:
    """Lays files into the hub's cache as a download of `main` leaves them."""
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    for name, data in files.items():
        blob = root / "blobs" / name.replace("/", "_")
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(data)
        link = root / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
