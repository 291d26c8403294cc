"""scheduleNotification: declined; this executor ends with its turn."""

from isthmus.contract.contract_pb2 import ScheduleNotification, ScheduleNotificationResponse
from isthmus.executor.action import ActionKind, Machine


async def run(message: ScheduleNotification, machine: Machine) -> ScheduleNotificationResponse:
    """Decline. The capability `schedule_notification` is not declared."""
    del message, machine
    return ScheduleNotificationResponse(reason="This executor keeps no timers.")


ACTION = ActionKind(field="scheduleNotification", effect="read", run=run)
