"""Studio: what every page works on, and the seams that tests put something else into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from personatune.generation.contestant import Contestant
from personatune.jobs.queue import Job, JobQueue
from personatune.persona import Persona
from personatune.studio.forecasts import Forecasts
from personatune.studio.voices import OpenVoice, Tell, Voices
from personatune.studio.workspace import Workspace


@dataclass(frozen=True)
class Studio:
    """The workspace, the queue of long commands, and the voices in memory."""

    workspace: Workspace
    """The folder whose sub-folders are personas."""
    queue: JobQueue
    """Long commands, machine-wide."""
    voices: Voices
    """Contestants that answer as evaluations do, for judging."""
    talkers: Voices
    """Contestants for chat: through the fast engine where there is no GPU, as in the terminal."""
    forecasts: Forecasts
    """What trainings would take."""

    @classmethod
    def at(cls, folder: Path, *, open_voice: OpenVoice | None = None, jobs: Path | None = None) -> Studio:
        """The studio of a workspace folder, or of the folder around a persona.

        `open_voice` is what opens a contestant, `jobs` where the queue lies; tests give their own.
        """
        queue = JobQueue(jobs)
        voices, talkers = Voices(open_voice or _open_voice), Voices(open_voice or _open_talker)
        return cls(Workspace.at(folder), queue, voices, talkers, Forecasts(queue))

    def add_job(self, persona: Persona, argv: Sequence[str]) -> Job:
        """Put a long command into the queue; what the studio computes by itself makes way for it at once."""
        job = self.queue.add(persona.folder, argv)
        self.forecasts.make_way()
        return job


def _open_voice(persona: Persona, which: str, _tell: Tell) -> Contestant:
    from personatune.generation.contestants import open_contestant

    return open_contestant(persona, which)


def _open_talker(persona: Persona, which: str, tell: Tell) -> Contestant:
    from personatune.export import voice

    return voice.opened(persona, which, voice.Wish(), voice.Listener(lambda what, _fraction: tell(what), tell))
