"""The Hugging Face hub: a repository, pinned to a commit, downloaded file by file or from the cache.

The one place that needs huggingface_hub. Its cache and its environment variables (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE)
hold as everywhere.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from absl import logging

from painjax.errors import UserError
from painjax.model_folder import sha256

_MAIN = "main"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The files `names` of a repository at `commit`, to which `revision` (a branch, tag or commit) led.

    offline: only the cache is to be used. checksums: SHA-256 by name, as the hub lists them for its large files.
    """

    repository: str
    revision: str
    commit: str
    names: tuple[str, ...]
    offline: bool
    checksums: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(cls, repository: str, revision: str | None = None, offline: bool = False) -> "Snapshot":
        """Looks a repository up, on the hub or (without network, or `offline`) in the cache.

        Raises:
          UserError: in a sentence for each thing that can be wrong.
        """
        library = _library()
        if offline or library.is_offline_mode():
            return cls._cached(repository, revision, "the network is switched off (--offline or HF_HUB_OFFLINE)")
        with _errors(repository, revision):
            try:
                info = library.HfApi().model_info(repository, revision=revision, files_metadata=True)
                names = tuple(file.rfilename for file in info.siblings)
                checksums = {file.rfilename: file.lfs.sha256 for file in info.siblings if file.lfs}
                return cls(repository, revision or _MAIN, info.sha, names, False, checksums)
            except library.errors.HfHubHTTPError:
                raise
            except (library.errors.HTTPError, ConnectionError) as error:
                found = cls._cached(repository, revision, f"the hub cannot be reached ({error})")
                logging.warning("The hub cannot be reached; using %s at %s from the cache.", repository, found.commit)
                return found

    @classmethod
    def _cached(cls, repository: str, revision: str | None, why: str) -> "Snapshot":
        library = _library()
        try:
            # No pattern: the folder of the snapshot, whatever part of it has been downloaded.
            folder = library.snapshot_download(repository, revision=revision, local_files_only=True, allow_patterns=[])
        except library.errors.HFValidationError as error:
            raise UserError(f"{repository!r} is no id of a repository on the hub: {error}") from error
        except FileNotFoundError as error:
            raise UserError(
                f"{repository}{f' at {revision}' if revision else ''} has not been downloaded before, and {why}. Run "
                "the command once with network, or download the files elsewhere and give their folder."
            ) from error
        folder = Path(folder)
        names = tuple(path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
        return cls(repository, folder.name, folder.name, names, True)

    def fetch(self, name: str) -> Path:
        """The path of a file in the cache, downloaded if it is not there.

        Raises:
          UserError: if it cannot be had.
        """
        library = _library()
        with _errors(self.repository, self.commit):
            try:
                # By the revision, not the commit: so the cache remembers where it led, for when there is no network.
                path = library.hf_hub_download(
                    self.repository, name, revision=self.revision, local_files_only=self.offline
                )
            except library.errors.LocalEntryNotFoundError as error:
                why = "has not been downloaded before" if self.offline else f"cannot be had: {_first_line(error)}"
                raise UserError(
                    f"{name} of {self.repository} at {self.commit} {why}. Run the command again with network, or "
                    "download the files elsewhere and give their folder."
                ) from error
        if self.commit not in Path(path).parts:
            raise UserError(
                f"{self.repository} has changed while it was downloaded. Run the command again, with "
                f"--revision={self.commit} for the files of before."
            )
        if name in self.checksums and sha256(path) != self.checksums[name]:
            raise UserError(
                f"{path} is damaged: its SHA-256 is not the {self.checksums[name][:12]}... that the hub lists "
                f"for {name} of {self.repository}. Delete the file and run the command again."
            )
        return Path(path)


@contextlib.contextmanager
def _errors(repository: str, revision: str | None) -> Iterator[None]:
    """Says in a sentence what the hub refused."""
    errors = _library().errors
    page = f"https://huggingface.co/{repository}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"{repository} is gated: its licence must be accepted first. Open {page}, accept the terms, then log in "
            "with `huggingface-cli login` (or `hf auth login`), or set HF_TOKEN to a token of that account."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"There is no repository {repository} on the hub that you may see ({page}). Check its spelling; if it is "
            "private, log in with `huggingface-cli login` or set HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{repository} has no revision {revision!r}; {page}/commits/main lists them.") from error
    except errors.EntryNotFoundError as error:
        raise UserError(f"{repository} at {revision} lacks a file that it lists: {_first_line(error)}") from error
    except errors.HFValidationError as error:
        raise UserError(f"{repository!r} is no id of a repository on the hub: {_first_line(error)}") from error
    except errors.HfHubHTTPError as error:
        raise UserError(f"The hub refused {repository}: {_first_line(error)} Try again later.") from error
    except errors.HTTPError as error:
        raise UserError(
            f"The connection to the hub broke off ({_first_line(error)}). Run the command again; files that are "
            "complete are kept."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _library() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise UserError(
            "Weights on the hub need huggingface_hub: pip install 'painjax[hub]'. Or download the files with a browser "
            "and give their folder."
        ) from error
    return huggingface_hub
