"""
What every server here can do, whether it is our process or somebody else's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class ServerUnavailable(RuntimeError):
    """
    A server is not installed or does not start; the message says what to do about it.
    """


class Server(ABC):
    """
    Each method returns when what it says is true: the server answers, hangs, or is gone.
    """

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None:
        """
        End the server in good order. Its data stay until `close`.
        """

    @abstractmethod
    def pause(self) -> None:
        """
        Let the server hang: it accepts connections and answers nothing.
        """

    @abstractmethod
    def resume(self) -> None: ...

    @abstractmethod
    def kill(self) -> None:
        """
        End the server at once, without a chance to write anything.
        """

    def restart(self) -> None:
        """
        Stop and start again, on the same port.
        """
        self.stop()
        self.start()

    @abstractmethod
    def close(self) -> None:
        """
        Stop, and remove all that the server wrote.
        """

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
