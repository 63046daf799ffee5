"""Changes of accounts on their way to their `Registration`."""
# pyright: reportPrivateUsage=false

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringback._ringback import RegistrationView
    from ringback.accounts import Registration
    from ringback.coordinator import SessionCoordinator


def changed(
    coordinator: "SessionCoordinator", number: int, view: "RegistrationView", state: str
) -> "Registration | None":
    """Whom it is about, which has been told. Called from the drain, on the loop."""
    registration = coordinator._registrations.get(number)
    if registration is None:
        return None
    registration._update(view, state)
    if state == "unregistered":
        coordinator._registrations.pop(number, None)
    return registration
