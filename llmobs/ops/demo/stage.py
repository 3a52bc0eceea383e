"""What the demo plays on: the platform as `up` runs it, and the simulator as its providers."""

import errno
import socket
from dataclasses import dataclass, field

from llmobs.core.env import Place
from llmobs.ops.demo import configuration
from llmobs.ops.demo.children import Child, run_command, wait_until_ready

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for. `most`: of each trace; `seconds`: that the trace's hour is compressed to."""

    web_port: int = 8000
    gateway_port: int = 4000
    simulator_port: int = 4100
    is_live: bool = False
    most: int | None = None
    seconds: float = 45.0
    history_spans: int = 100_000


@dataclass(slots=True)
class Stage:
    """A running platform with its simulator (`simulator_url` "" with real providers)."""

    place: Place
    wishes: Wishes
    keys: dict[str, str] = field(repr=False)
    simulator_url: str = ""
    _children: list[Child] = field(default_factory=list)

    @classmethod
    def prepare(cls, place: Place, wishes: Wishes) -> "Stage":
        return cls(place, wishes, configuration.keys(place))

    @property
    def gateway(self) -> tuple[str, int]:
        return HOST, self.wishes.gateway_port

    @property
    def dashboard_url(self) -> str:
        return f"http://{HOST}:{self.wishes.web_port}/"

    @property
    def ended(self) -> str:
        """The name of a process that is no more, "" while all run."""
        return next((child.name for child in self._children if not child.is_running), "")

    def start(self) -> None:
        """Start everything. Raises ChildError."""
        if not self.wishes.is_live:
            simulator = self._child("the simulator", ["simulate", "--port", str(self._simulator_port())])
            self.simulator_url = simulator.wait_for("answers on ").partition("answers on ")[2].partition(",")[0]
        ports = ["--web-port", str(self.wishes.web_port), "--gateway-port", str(self.wishes.gateway_port)]
        platform = self._child("the platform", ["up", *ports])
        platform.wait_for("llmobs is up")
        wait_until_ready(f"http://{HOST}:{self.wishes.gateway_port}/readyz", platform)
        wait_until_ready(f"{self.dashboard_url}readyz", platform)

    def stop(self) -> None:
        """End what was started, last first."""
        while self._children:
            self._children.pop().stop()

    def configure(self, trial_limit_nanousd: int) -> None:
        """Apply the configuration file. Raises ChildError."""
        live = self.wishes.is_live
        providers = configuration.Providers.live() if live else configuration.Providers.simulated(self.simulator_url)
        file = self.place.folder / "demo.yaml"
        file.write_text(configuration.filled_in(providers, trial_limit_nanousd))
        self.command(["apply", str(file)])

    def command(self, arguments: list[str], good: tuple[int, ...] = (0,)) -> str:
        """Run one of our commands on this platform. Raises ChildError."""
        return run_command(arguments, self._env(), good)

    def _child(self, name: str, arguments: list[str]) -> Child:
        child = Child(name, arguments, self._env())
        self._children.append(child)
        return child

    def _env(self) -> dict[str, str]:
        return {"LLMOBS_DATA": str(self.place.folder), **configuration.environment(self.keys)}

    def _simulator_port(self) -> int:
        """The wished one; any free one when another simulator has it. Nobody but this demo needs to know it."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.wishes.simulator_port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                return 0
        return self.wishes.simulator_port
