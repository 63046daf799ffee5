"""Handlers: what a program does about calls. `CallHandler` is the base class; the others are ready-made."""

from ringback.handlers.auto_answer import AutoAnswerHandler
from ringback.handlers.base import CallHandler
from ringback.handlers.composite import CompositeHandler
from ringback.handlers.queue import QueueHandler
from ringback.handlers.routing import RoutingHandler

__all__ = ["AutoAnswerHandler", "CallHandler", "CompositeHandler", "QueueHandler", "RoutingHandler"]
